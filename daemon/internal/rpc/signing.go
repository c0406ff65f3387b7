package rpc

import (
	"context"
	"strconv"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// defaultKeys is the page size of ListKeys when the caller names none.
const defaultKeys = 64

type signingService struct {
	inkanpb.UnimplementedSigningServiceServer
	s *Server
}

// ListKeys implements inkanpb.SigningServiceServer.
func (v signingService) ListKeys(ctx context.Context, req *inkanpb.ListKeysRequest) (*inkanpb.ListKeysResponse, error) {
	start, err := pageStart(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := uint64(req.GetPageSize())
	if size == 0 {
		size = defaultKeys
	}
	resp := &inkanpb.ListKeysResponse{}
	position := uint64(0)
	for _, card := range v.s.cfg.Broker.Status(ctx).Cards {
		for _, key := range card.Keys {
			if position >= start && position < start+size {
				resp.Keys = append(resp.Keys, v.s.protoKey(key, card.Card))
			}
			position++
		}
	}
	if position > start+size {
		resp.NextPageToken = strconv.FormatUint(start+size, 10)
	}
	return resp, nil
}

// GetCertificate implements inkanpb.SigningServiceServer.
func (v signingService) GetCertificate(ctx context.Context, req *inkanpb.GetCertificateRequest) (*inkanpb.GetCertificateResponse, error) {
	key, _, err := v.s.cfg.Broker.Key(ctx, token.KeyID(req.GetKeyId()))
	if err != nil {
		return nil, err
	}
	cert := v.s.protoCertificate(key)
	if cert == nil {
		return nil, token.NewError(token.KindNoCertificate, "key", req.GetKeyId())
	}
	cert.Der = key.Certificate
	return &inkanpb.GetCertificateResponse{Certificate: cert}, nil
}

// Sign implements inkanpb.SigningServiceServer.
func (v signingService) Sign(ctx context.Context, req *inkanpb.SignRequest) (*inkanpb.SignResponse, error) {
	alg, err := algorithm(req.GetAlgorithm())
	if err != nil {
		return nil, err
	}
	sig, err := v.s.cfg.Broker.Sign(ctx, asks(ctx, req), broker.SignRequest{
		Key: token.KeyID(req.GetKeyId()), Algorithm: alg, Digest: req.GetDigest(), DocumentName: req.GetDocumentName(),
	})
	if err != nil {
		return nil, err
	}
	return &inkanpb.SignResponse{Signature: sig.Bytes, Record: sig.Record, Warnings: warnings(sig)}, nil
}

// warnings are what to know although it was signed.
func warnings(sig broker.Signature) []string {
	if sig.Warning == 0 {
		return nil
	}
	return []string{catalogue.Code(inkanpb.Reason_REASON_REVOCATION_UNKNOWN)}
}

// pageStart reads a page token of ours.
func pageStart(pageToken string) (uint64, error) {
	if pageToken == "" {
		return 0, nil
	}
	start, err := strconv.ParseUint(pageToken, 10, 32)
	if err != nil {
		return 0, token.Errorf(token.KindRequestInvalid, "page_token: not one that this service made")
	}
	return start, nil
}
