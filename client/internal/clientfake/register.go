package clientfake

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// OtherCardID is a card of the register that is never in the reader.
const OtherCardID = "piv-ffeeddccbbaa99887766554433221100"

// Acknowledge implements CardService.
func (s *Server) Acknowledge(ctx context.Context, q *inkanpb.AcknowledgeRequest) (*inkanpb.AcknowledgeResponse, error) {
	s.mu.Lock()
	held, tries := s.card.held, s.card.tries
	s.mu.Unlock()
	if !held {
		return nil, StatusError(inkanpb.Reason_REASON_CARD_NOT_HELD, "card", q.GetCardId())
	}
	if q.GetReason() == "" {
		if _, err := s.ask(ctx, question{
			secret: inkanpb.SecretKind_SECRET_KIND_NONE, purpose: "acknowledge",
			confirmation: strconv.Itoa(int(tries)), confirmationType: inkanpb.ConfirmationReason_CONFIRMATION_REASON_HELD,
		}); err != nil {
			return nil, err
		}
	}
	s.change(func(c *card) { c.held = false })
	s.done("acknowledge", q.GetReason())
	s.mu.Lock()
	defer s.mu.Unlock()
	return &inkanpb.AcknowledgeResponse{State: s.card.state(), Pin: s.pinLocked(), UnlockCode: s.unlockLocked()}, nil
}

// StopHere implements CardService.
func (s *Server) StopHere(_ context.Context, q *inkanpb.StopHereRequest) (*inkanpb.StopHereResponse, error) {
	if q.GetCardId() != CardID {
		return nil, StatusError(inkanpb.Reason_REASON_CARD_NOT_REGISTERED, "card", q.GetCardId())
	}
	if q.GetConfirmSerialTail() != Serial[len(Serial)-4:] {
		return nil, StatusError(inkanpb.Reason_REASON_CONFIRMATION_REFUSED)
	}
	number := s.done("stop-here", q.GetReason())
	s.change(func(c *card) {
		c.stop = &inkanpb.Stop{Time: started(), Uid: 1000, Reason: q.GetReason(), Record: number}
	})
	return &inkanpb.StopHereResponse{Record: number}, nil
}

// Lift implements RegisterService.
func (s *Server) Lift(_ context.Context, q *inkanpb.LiftRequest) (*inkanpb.LiftResponse, error) {
	s.mu.Lock()
	stopped := s.card.stop != nil
	s.mu.Unlock()
	if q.GetCardId() != CardID || !stopped {
		return nil, StatusError(inkanpb.Reason_REASON_CARD_NOT_STOPPED, "card", q.GetCardId())
	}
	s.change(func(c *card) { c.stop = nil })
	return &inkanpb.LiftResponse{Record: s.done("lift", q.GetReason())}, nil
}

// ListCards implements RegisterService, one card a page.
func (s *Server) ListCards(_ context.Context, q *inkanpb.ListCardsRequest) (*inkanpb.ListCardsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hidden {
		return nil, StatusError(inkanpb.Reason_REASON_CALLER_NOT_ALLOWED, "uid", "1001", "detail", "not in group inkan")
	}
	if q.GetPageToken() == "" {
		seen := s.cardLocked()
		return &inkanpb.ListCardsResponse{NextPageToken: "1", Cards: []*inkanpb.RegisteredCard{{
			Id: CardID, Serial: Serial, Application: "PIV", Virtual: true, Company: Company,
			FirstSeen: started(), LastSeen: started(), Present: !s.card.gone, State: seen.GetState(),
			Stop: s.card.stop, Certificates: seen.GetCertificates(),
		}}}, nil
	}
	return &inkanpb.ListCardsResponse{Cards: []*inkanpb.RegisteredCard{{
		Id: OtherCardID, Serial: OtherCardID[len("piv-"):], Application: "PIV", Company: "株式会社サンプル",
		FirstSeen: timestamppb.New(started().AsTime().AddDate(-1, 0, 0)), LastSeen: timestamppb.New(started().AsTime().AddDate(0, -1, 0)),
	}}}, nil
}
