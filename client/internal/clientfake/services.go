package clientfake

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// started is the fixed time at which every fake starts.
func started() *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC))
}

// GetStatus implements StatusService.
func (s *Server) GetStatus(context.Context, *inkanpb.GetStatusRequest) (*inkanpb.GetStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &inkanpb.GetStatusResponse{Status: s.statusLocked()}, nil
}

// GetVersion implements StatusService.
func (s *Server) GetVersion(context.Context, *inkanpb.GetVersionRequest) (*inkanpb.GetVersionResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &inkanpb.GetVersionResponse{Version: "v0.0.0-fake", ApiLevel: s.level}, nil
}

// Diagnose implements StatusService: all is well below the card.
func (s *Server) Diagnose(context.Context, *inkanpb.DiagnoseRequest) (*inkanpb.DiagnoseResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	step := func(layer inkanpb.Layer, result inkanpb.StepResult, subject, found string) *inkanpb.DiagnoseStep {
		return &inkanpb.DiagnoseStep{Layer: layer, Result: result, Subject: subject, En: found, Ja: found}
	}
	const ok = inkanpb.StepResult_STEP_RESULT_OK
	steps := []*inkanpb.DiagnoseStep{
		step(inkanpb.Layer_LAYER_SERVICE, ok, "", "inkand"),
		step(inkanpb.Layer_LAYER_PCSCD, ok, "", ""),
		step(inkanpb.Layer_LAYER_READER, ok, Reader, ""),
	}
	if s.problem == 0 {
		steps = append(steps, step(inkanpb.Layer_LAYER_CARD, ok, Reader, ""), step(inkanpb.Layer_LAYER_APPLICATION, ok, CardID, "PIV"),
			step(inkanpb.Layer_LAYER_KEYS, ok, CardID, "3"), step(inkanpb.Layer_LAYER_CERTIFICATES, ok, CardID, "9a, 9c, 9e"),
			step(inkanpb.Layer_LAYER_PIN, ok, CardID, "10 / 10"), step(inkanpb.Layer_LAYER_JOURNAL, ok, "", ""), step(inkanpb.Layer_LAYER_LOG, ok, "", "7"))
		if s.hidden {
			for i, hidden := range steps {
				if l := hidden.GetLayer(); l >= inkanpb.Layer_LAYER_KEYS && l <= inkanpb.Layer_LAYER_PIN {
					steps[i] = step(l, inkanpb.StepResult_STEP_RESULT_NOT_REACHED, "", "hidden")
				}
			}
		}
		return &inkanpb.DiagnoseResponse{Steps: steps}, nil
	}
	bad := step(inkanpb.Layer_LAYER_CARD, inkanpb.StepResult_STEP_RESULT_FAILED, "", "")
	en, ja := catalogue.In("en", s.problem, nil), catalogue.In("ja", s.problem, nil)
	bad.Code, bad.En, bad.NextEn, bad.Ja, bad.NextJa = catalogue.Code(s.problem), en.Message, en.Next, ja.Message, ja.Next
	steps = append(steps, bad)
	for l := inkanpb.Layer_LAYER_APPLICATION; l <= inkanpb.Layer_LAYER_PIN; l++ {
		steps = append(steps, step(l, inkanpb.StepResult_STEP_RESULT_NOT_REACHED, "", ""))
	}
	steps = append(steps, step(inkanpb.Layer_LAYER_JOURNAL, ok, "", ""), step(inkanpb.Layer_LAYER_LOG, ok, "", "7"))
	return &inkanpb.DiagnoseResponse{Steps: steps}, nil
}

// WatchStatus implements StatusService.
func (s *Server) WatchStatus(_ *inkanpb.WatchStatusRequest, stream grpc.ServerStreamingServer[inkanpb.WatchStatusResponse]) error {
	for {
		s.mu.Lock()
		r := &inkanpb.WatchStatusResponse{Sequence: s.sequence, Status: s.statusLocked()}
		changed := s.changed
		s.mu.Unlock()
		if err := stream.Send(r); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (s *Server) statusLocked() *inkanpb.Status {
	cards := []*inkanpb.CardStatus{s.cardLocked()}
	if s.hidden || s.card.gone {
		cards = nil
	}
	id := CardID
	if s.card.gone {
		id = ""
	}
	return &inkanpb.Status{
		Service: &inkanpb.ServiceStatus{
			Version: "v0.0.0-fake", StartedAt: started(), Virtual: true,
			PinMemory: "mlock", PeerCheck: "pidfd", VirtualHint: Hint,
		},
		Readers: []*inkanpb.ReaderStatus{{Name: Reader, CardPresent: !s.card.gone, Virtual: true, CardId: id}},
		Cards:   cards,
	}
}

// ListKeys implements SigningService, one key a page.
func (s *Server) ListKeys(_ context.Context, q *inkanpb.ListKeysRequest) (*inkanpb.ListKeysResponse, error) {
	s.mu.Lock()
	hidden, gone := s.hidden, s.card.gone
	s.mu.Unlock()
	if gone {
		return &inkanpb.ListKeysResponse{}, nil
	}
	if hidden {
		return nil, StatusError(inkanpb.Reason_REASON_CALLER_NOT_ALLOWED, "uid", "1001", "detail", "not in group inkan")
	}
	at, _ := strconv.Atoi(q.GetPageToken())
	if at >= len(s.Keys) {
		return &inkanpb.ListKeysResponse{}, nil
	}
	return &inkanpb.ListKeysResponse{Keys: []*inkanpb.Key{s.Keys[at].Proto}, NextPageToken: strconv.Itoa(at + 1)}, nil
}

// GetCertificate implements SigningService.
func (s *Server) GetCertificate(_ context.Context, q *inkanpb.GetCertificateRequest) (*inkanpb.GetCertificateResponse, error) {
	k, err := s.key(q.GetKeyId())
	if err != nil {
		return nil, err
	}
	c := proto.CloneOf(k.Proto.GetCertificate())
	c.Der = k.DER
	return &inkanpb.GetCertificateResponse{Certificate: c}, nil
}

func (s *Server) key(id string) (Key, error) {
	s.mu.Lock()
	gone := s.card.gone
	s.mu.Unlock()
	if gone {
		return Key{}, StatusError(inkanpb.Reason_REASON_KEY_NOT_FOUND, "key", id)
	}
	for _, k := range s.Keys {
		if k.Proto.GetId() == id {
			return k, nil
		}
	}
	return Key{}, StatusError(inkanpb.Reason_REASON_KEY_NOT_FOUND, "key", id)
}

// Sign implements SigningService.
func (s *Server) Sign(ctx context.Context, q *inkanpb.SignRequest) (*inkanpb.SignResponse, error) {
	k, err := s.key(q.GetKeyId())
	if err != nil {
		return nil, err
	}
	hash, opts := options(q.GetAlgorithm())
	if len(q.GetDigest()) != hash.Size() {
		return nil, StatusError(inkanpb.Reason_REASON_DIGEST_LENGTH, "algorithm", q.GetAlgorithm().String(),
			"got", strconv.Itoa(len(q.GetDigest())), "want", strconv.Itoa(hash.Size()))
	}
	if k.Proto.GetPinPolicy() != inkanpb.PinPolicy_PIN_POLICY_NEVER {
		if err := s.usePIN(ctx, question{purpose: "sign", label: k.Proto.GetLabel(), documents: []string{q.GetDocumentName()}}); err != nil {
			return nil, err
		}
	}
	signature, err := k.Private.Sign(rand.Reader, q.GetDigest(), opts)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	record := s.record(&inkanpb.Record{
		Kind: inkanpb.RecordKind_RECORD_KIND_RESULT, Operation: "sign", Outcome: "OK", KeyId: q.GetKeyId(),
		Algorithm: q.GetAlgorithm().String(), Digest: q.GetDigest(), DocumentName: q.GetDocumentName(),
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return &inkanpb.SignResponse{Signature: signature, Record: record, Warnings: s.warnings}, nil
}

func options(a inkanpb.Algorithm) (crypto.Hash, crypto.SignerOpts) {
	hash := []crypto.Hash{crypto.SHA512, crypto.SHA256, crypto.SHA384}[a%3]
	if a >= inkanpb.Algorithm_ALGORITHM_RSA_PSS_SHA256 && a <= inkanpb.Algorithm_ALGORITHM_RSA_PSS_SHA512 {
		return hash, &rsa.PSSOptions{Hash: hash, SaltLength: rsa.PSSSaltLengthEqualsHash}
	}
	return hash, hash
}

func (s *Server) record(r *inkanpb.Record) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Sequence, r.Time = uint64(len(s.records)+1), started()
	r.CardId, r.Virtual = CardID, true
	r.Uid, r.Pid, r.Program = proto.Uint32(1000), 4242, "/usr/bin/inkan"
	r.TriesLeft = proto.Uint32(s.card.tries)
	s.records = append(s.records, r)
	return r.Sequence
}

// List implements AuditService, two records a page unless the newest are
// asked for.
func (s *Server) List(_ context.Context, q *inkanpb.ListRequest) (*inkanpb.ListResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.GetNewest() && q.GetPageToken() == "" {
		from := max(0, len(s.records)-int(q.GetPageSize()))
		return &inkanpb.ListResponse{Records: s.records[from:]}, nil
	}
	from, _ := strconv.Atoi(q.GetPageToken())
	to := min(from+2, len(s.records))
	r := &inkanpb.ListResponse{Records: s.records[min(from, to):to]}
	if to < len(s.records) {
		r.NextPageToken = strconv.Itoa(to)
	}
	return r, nil
}
