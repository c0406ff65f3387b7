package clienttest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/clienttest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestTheFakeIsAnInkandToItsClients(t *testing.T) {
	clienttest.Conformance(t, func(t *testing.T) client.Options { return clienttest.Start(t).Options() })
}

func TestAnswersAreScripted(t *testing.T) {
	s := clienttest.Start(t)
	c := s.Client(t, nil)
	sign := func(ctx context.Context) (client.Signature, error) {
		return c.Sign(ctx, client.SignRequest{KeyID: "any", Algorithm: inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256, Digest: make([]byte, 32)})
	}
	s.Fail("Sign", inkanpb.Reason_REASON_PIN_WRONG, "tries_left", "2")
	s.Answer("Sign", &inkanpb.SignResponse{Signature: []byte{1}, Record: 7})
	s.Hang("Sign")
	_, err := sign(t.Context())
	if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, client.ErrPINWrong) || e.TriesLeft != 2 {
		t.Errorf("first: %v, want ErrPINWrong with 2 tries left", err)
	}
	if got, err := sign(t.Context()); err != nil || got.Record != 7 {
		t.Errorf("second: %v, %v; want record 7", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := sign(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("third: %v, want that the deadline passed", err)
	}
	if _, err := sign(t.Context()); !errors.Is(err, client.ErrKeyNotFound) {
		t.Errorf("fourth: %v, want what the fake does by itself", err)
	}
	if s.Calls() != 4 {
		t.Errorf("%d calls, want 4", s.Calls())
	}
}

func TestTheCardAndTheServiceComeAndGo(t *testing.T) {
	s := clienttest.Start(t)
	c := s.Client(t, clienttest.PIN(clienttest.CardPIN))
	s.TakeCardOut()
	if keys, err := c.Keys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("without a card: %d keys, %v", len(keys), err)
	}
	s.PutCardIn()
	s.SetTries(0, 10)
	if _, err := c.VerifyPIN(t.Context(), clienttest.CardID); !errors.Is(err, client.ErrCardLocked) {
		t.Errorf("got %v, want ErrCardLocked", err)
	}
	s.Stop()
	if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrServiceUnreachable) {
		t.Errorf("got %v, want ErrServiceUnreachable", err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	for u, err := range c.Watch(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Status != nil {
			break // it is back
		}
	}
	if _, err := c.VerifyPIN(t.Context(), clienttest.CardID); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}
