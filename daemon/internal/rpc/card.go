package rpc

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/policy"
	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

type cardService struct {
	inkanpb.UnimplementedCardServiceServer
	s *Server
}

// VerifyPin implements inkanpb.CardServiceServer.
func (v cardService) VerifyPin(ctx context.Context, req *inkanpb.VerifyPinRequest) (*inkanpb.VerifyPinResponse, error) {
	card, err := v.s.cfg.Broker.VerifyPIN(ctx, asks(ctx, req), token.CardID(req.GetCardId()))
	if err != nil {
		return nil, err
	}
	return &inkanpb.VerifyPinResponse{Pin: protoPIN(card.PIN)}, nil
}

// ChangePin implements inkanpb.CardServiceServer.
func (v cardService) ChangePin(ctx context.Context, req *inkanpb.ChangePinRequest) (*inkanpb.ChangePinResponse, error) {
	card, err := v.s.cfg.Broker.ChangePIN(ctx, asks(ctx, req), token.CardID(req.GetCardId()))
	if err != nil {
		return nil, err
	}
	return &inkanpb.ChangePinResponse{Pin: protoPIN(card.PIN)}, nil
}

// Unlock implements inkanpb.CardServiceServer.
func (v cardService) Unlock(ctx context.Context, req *inkanpb.UnlockRequest) (*inkanpb.UnlockResponse, error) {
	card, warnings, err := v.s.cfg.Broker.Unlock(ctx, asks(ctx, req), token.CardID(req.GetCardId()))
	if err != nil {
		return nil, err
	}
	resp := &inkanpb.UnlockResponse{Pin: protoPIN(card.PIN), UnlockCode: protoPIN(card.Unlock)}
	for _, w := range warnings {
		resp.Warnings = append(resp.Warnings, catalogue.Code(catalogue.Find(string(w))))
	}
	return resp, nil
}

// Acknowledge implements inkanpb.CardServiceServer.
func (v cardService) Acknowledge(ctx context.Context, req *inkanpb.AcknowledgeRequest) (*inkanpb.AcknowledgeResponse, error) {
	administrator := req.GetReason() != ""
	if who, _ := peer.FromContext(ctx); !v.s.cfg.Policy.Roles(subject(who)).Has(v.s.acknowledger(administrator)) {
		return nil, token.Errorf(token.KindCallerNotAllowed, "a signer confirms in the trusted prompt, an administrator gives a reason").
			InJapanese("署名者は入力画面で確認し、管理者は理由を添えてください").With("uid", strconv.FormatUint(uint64(who.UID), 10))
	}
	card, err := v.s.cfg.Broker.Acknowledge(ctx, asks(ctx, req), token.CardID(req.GetCardId()), administrator, req.GetReason())
	if err != nil {
		return nil, err
	}
	return &inkanpb.AcknowledgeResponse{
		State: inkanpb.CardState(card.State), Pin: protoPIN(card.PIN), UnlockCode: protoPIN(card.Unlock),
	}, nil
}

// acknowledger is the role that an acknowledgement needs.
func (s *Server) acknowledger(administrator bool) policy.Role {
	if administrator {
		return policy.RoleAdministrator
	}
	return policy.RoleSigner
}

// StopHere implements inkanpb.CardServiceServer.
func (v cardService) StopHere(ctx context.Context, req *inkanpb.StopHereRequest) (*inkanpb.StopHereResponse, error) {
	defer v.s.wires.hurry()()
	record, err := v.s.cfg.Broker.StopHere(ctx, asks(ctx, req), broker.StopRequest{
		Card: token.CardID(req.GetCardId()), SerialTail: req.GetConfirmSerialTail(), Reason: req.GetReason(),
	})
	if err != nil {
		return nil, err
	}
	return &inkanpb.StopHereResponse{Record: record}, nil
}

type registerService struct {
	inkanpb.UnimplementedRegisterServiceServer
	s *Server
}

// defaultCards is the page size of ListCards when the caller names none.
const defaultCards = 64

// ListCards implements inkanpb.RegisterServiceServer.
func (v registerService) ListCards(ctx context.Context, req *inkanpb.ListCardsRequest) (*inkanpb.ListCardsResponse, error) {
	start, err := pageStart(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := uint64(req.GetPageSize())
	if size == 0 {
		size = defaultCards
	}
	cards, err := v.s.cfg.Broker.Cards(ctx)
	if err != nil {
		return nil, err
	}
	resp := &inkanpb.ListCardsResponse{}
	for position := start; position < uint64(len(cards)); position++ {
		if position == start+size {
			resp.NextPageToken = strconv.FormatUint(position, 10)
			break
		}
		resp.Cards = append(resp.Cards, v.s.protoRegistered(cards[position]))
	}
	return resp, nil
}

// Lift implements inkanpb.RegisterServiceServer.
func (v registerService) Lift(ctx context.Context, req *inkanpb.LiftRequest) (*inkanpb.LiftResponse, error) {
	record, err := v.s.cfg.Broker.Lift(ctx, asks(ctx, req), token.CardID(req.GetCardId()), req.GetReason())
	if err != nil {
		return nil, err
	}
	return &inkanpb.LiftResponse{Record: record}, nil
}

// protoRegistered converts a card of the register.
func (s *Server) protoRegistered(c broker.Registered) *inkanpb.RegisteredCard {
	out := &inkanpb.RegisteredCard{
		Id: string(c.ID), Serial: c.Serial, Application: c.Application, Virtual: c.Virtual, Company: c.Company,
		FirstSeen: timestamppb.New(c.FirstSeen), LastSeen: timestamppb.New(c.LastSeen),
		Present: c.Present, State: inkanpb.CardState(c.State),
	}
	if c.Stop != nil {
		out.Stop = &inkanpb.Stop{
			Time: timestamppb.New(c.Stop.Time), Uid: c.Stop.UID, Reason: c.Stop.Reason, Record: c.Stop.Record,
		}
	}
	for _, key := range c.Keys {
		if cert := s.protoCertificate(certificateOf(key)); cert != nil && len(out.Certificates) < maxCertificates {
			out.Certificates = append(out.Certificates, cert)
		}
	}
	return out
}

// maxCertificates is the rule of RegisteredCard.certificates.
const maxCertificates = 64

func certificateOf(key register.Key) token.Key {
	return token.Key{ID: key.ID, Slot: key.Slot, Label: key.Label, SPKI: key.SPKI, Certificate: key.Certificate}
}

// protoPIN converts what is believed of a secret's tries.
func protoPIN(b pinguard.Belief) *inkanpb.PinStatus {
	left := clamp32(b.Left)
	out := &inkanpb.PinStatus{
		TriesLeft: &left, TriesKnown: b.Confirmed, Limit: clamp32(b.Limit),
		Unaccounted: clamp32(b.Unaccounted), Reinsert: b.Reinsert,
	}
	if b.Wait > 0 {
		out.Wait = durationpb.New(b.Wait)
	}
	return out
}

// protoCard converts a card.
func (s *Server) protoCard(c broker.CardStatus) *inkanpb.CardStatus {
	out := &inkanpb.CardStatus{
		Id: string(c.Identity.Card), Serial: c.Serial, Application: c.Application, Reader: c.Reader,
		State: inkanpb.CardState(c.State), Pin: protoPIN(c.PIN), UnlockCode: protoPIN(c.Unlock),
		Virtual: c.Virtual, Company: c.Company,
	}
	for _, k := range c.Keys {
		if cert := s.protoCertificate(k); cert != nil {
			out.Certificates = append(out.Certificates, cert)
		}
	}
	for _, problem := range c.Notices() {
		out.Notices = append(out.Notices, Notice(problem))
	}
	return out
}
