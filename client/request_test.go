package client_test

import (
	"context"
	"errors"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/clientfake"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// counting counts how often it is asked.
type counting struct {
	client.PINSource
	asked *int
}

func (s counting) PIN(ctx context.Context, p client.Prompt, buf []byte) (int, error) {
	*s.asked++
	return s.PINSource.PIN(ctx, p, buf)
}

func TestAnAnswerThatWasLostIsAskedForAndNothingIsDoneTwice(t *testing.T) {
	fake := startFake(t)
	asked := 0
	c := dial(t, fake, client.Options{Language: "en", PIN: counting{digits(6), &asked}})
	key := fake.Keys[0].Proto
	for method, call := range map[string]func() error{
		"Sign": func() error {
			s, err := c.Sign(t.Context(), client.SignRequest{KeyID: key.GetId(), Algorithm: key.GetAlgorithms()[0], Digest: make([]byte, 32)})
			if err == nil && len(s.Bytes) == 0 {
				return errors.New("no signature")
			}
			return err
		},
		"VerifyPin": func() error { _, err := c.VerifyPIN(t.Context(), clientfake.CardID); return err },
	} {
		t.Run(method, func(t *testing.T) {
			before := fake.Done(method)
			asked = 0
			fake.LoseNext(method, clientfake.LoseAnswer)
			if err := call(); err != nil || fake.Done(method) != before+1 || asked > 1 {
				t.Errorf("answer lost: %v, done %d times, asked %d times; want it once", err, fake.Done(method)-before, asked)
			}
			asked = 0
			fake.LoseNext(method, clientfake.LoseRequest)
			err := call()
			if !errors.Is(err, client.ErrServiceUnreachable) || !errors.Is(err, client.ErrRequestNotKnown) || fake.Done(method) != before+1 || asked != 0 {
				t.Errorf("request lost: %v, done %d times, asked %d times; want that it was not done", err, fake.Done(method)-before, asked)
			}
		})
	}
}

func TestWhatSpendsNothingIsSentAgain(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{Language: "en"})
	for what := clientfake.LoseRequest; what <= clientfake.LoseAnswer; what++ {
		before := fake.Done("StopHere")
		fake.LoseNext("StopHere", what)
		_, err := c.StopHere(t.Context(), clientfake.CardID, clientfake.Serial[28:], "lost")
		if err != nil || fake.Done("StopHere") != before+1 {
			t.Errorf("lost %d: %v, done %d times, want once", what, err, fake.Done("StopHere")-before)
		}
	}
}

func TestAProgramCanNameItsRequestAndAskForTheAnswerLater(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{Language: "en", PIN: digits(6)})
	key := fake.Keys[0].Proto
	q := client.SignRequest{KeyID: key.GetId(), Algorithm: key.GetAlgorithms()[0], Digest: make([]byte, 32), RequestID: "bid-1", Repeat: true}
	if _, err := c.Sign(t.Context(), q); !errors.Is(err, client.ErrRequestNotKnown) {
		t.Errorf("before: %v, want ErrRequestNotKnown", err)
	}
	q.Repeat = false
	first, err := c.Sign(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	q.Repeat = true
	if again, err := c.Sign(t.Context(), q); err != nil || again.Record != first.Record {
		t.Errorf("after: record %d, %v; want record %d", again.Record, err, first.Record)
	}
}

func TestARefusalIsNoReasonToAskAgain(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{Language: "en"})
	calls := fake.Calls()
	fake.FailNext("VerifyPin", clientfake.StatusError(inkanpb.Reason_REASON_PIN_WRONG, "tries_left", "9"))
	if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); !errors.Is(err, client.ErrPINWrong) || fake.Calls() != calls+1 {
		t.Errorf("%v after %d calls, want PIN_WRONG after one", err, fake.Calls()-calls)
	}
}

func TestWithoutPatienceALostCallIsNotAskedForAgain(t *testing.T) {
	fake := startFake(t)
	c := dial(t, fake, client.Options{Language: "en", PIN: digits(6), Comeback: -1})
	calls := fake.Calls()
	fake.LoseNext("VerifyPin", clientfake.LoseAnswer)
	if _, err := c.VerifyPIN(t.Context(), clientfake.CardID); !errors.Is(err, client.ErrServiceUnreachable) || fake.Calls() != calls+1 {
		t.Errorf("%v after %d calls, want ErrServiceUnreachable after one", err, fake.Calls()-calls)
	}
}
