package broker_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

func (h *house) stop(ctx context.Context, tail string) (uint64, error) {
	if tail == "" {
		serial := h.card().Serial
		tail = serial[len(serial)-4:]
	}
	return h.StopHere(ctx, h.caller, broker.StopRequest{Card: h.id(), SerialTail: tail, Reason: "紛失"})
}

func TestACardThatIsStoppedDoesNothingUntilItIsLifted(t *testing.T) {
	h := newHouse(t, nil)
	if _, err := h.stop(t.Context(), "none"); token.KindOf(err) != token.KindConfirmationRefused {
		t.Errorf("a stop that was not confirmed: %v", err)
	}
	record, err := h.stop(t.Context(), "")
	if err != nil || record == 0 {
		t.Fatalf("StopHere: %d, %v", record, err)
	}
	if again, err := h.stop(t.Context(), ""); err != nil || again != record {
		t.Errorf("StopHere again: %d, %v; want the first record %d", again, err, record)
	}
	prompts := len(h.agent.asked)
	for what, try := range map[string]func() error{
		"a signature":             func() error { _, err := h.sign(t, "9a"); return err },
		"a signature without PIN": func() error { _, err := h.sign(t, "9e"); return err },
		"proving the PIN":         func() error { _, err := h.VerifyPIN(t.Context(), h.caller, h.id()); return err },
		"changing the PIN":        func() error { _, err := h.ChangePIN(t.Context(), h.caller, h.id()); return err },
		"unlocking":               func() error { _, _, err := h.Unlock(t.Context(), h.caller, h.id()); return err },
		"acknowledging":           func() error { _, err := h.Acknowledge(t.Context(), h.caller, h.id(), true, "x"); return err },
	} {
		if err := try(); token.KindOf(err) != token.KindCardStoppedHere {
			t.Errorf("%s: %v, want CARD_STOPPED_HERE", what, err)
		}
	}
	if len(h.agent.asked) != prompts {
		t.Error("somebody was asked for the PIN of a stopped card")
	}
	if s := h.Status(t.Context()).Cards[0]; s.State != token.CardStoppedHere || s.Stop == nil || s.Stop.Reason != "紛失" {
		t.Errorf("state %d with %+v, want stopped here", s.State, s.Stop)
	}
	if _, err := h.Lift(t.Context(), h.caller, h.id(), "found"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.sign(t, "9a"); err != nil {
		t.Errorf("after the lift: %v", err)
	}
	if _, err := h.Lift(t.Context(), h.caller, h.id(), "found"); token.KindOf(err) != token.KindCardNotStopped {
		t.Errorf("lifting again: %v", err)
	}
	if _, err := h.Lift(t.Context(), h.caller, "piv-00", "found"); token.KindOf(err) != token.KindCardNotRegistered {
		t.Errorf("lifting a card never seen: %v", err)
	}
}

func TestAStopIsInForceAfterARestart(t *testing.T) {
	h := newHouse(t, nil)
	record, err := h.stop(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	again := broker.New(broker.Config{
		Cards: h.cards, Prompter: &h.agent, Register: registered{h.cards}, Wrong: wrongPINs{}, Guard: h.guard, Log: h.log, Now: time.Now,
	})
	if err := again.Recover(t.Context(), pinguard.Recovery{}, "test"); err != nil {
		t.Fatal(err)
	}
	h.Broker = again
	if s := h.Status(t.Context()).Cards[0]; s.State != token.CardStoppedHere || s.Stop.Record != record {
		t.Errorf("state %d with %+v, want the stop of record %d", s.State, s.Stop, record)
	}
}

// A stop comes at each moment of a signature: whatever is released was
// released before the stop was acknowledged.
func TestNothingIsReleasedAfterAStopIsAcknowledged(t *testing.T) {
	for _, moment := range []string{"IDENTIFY", "log-intent", "VERIFY", "SIGN", "log-result"} {
		t.Run(moment, func(t *testing.T) {
			h := newHouse(t, nil)
			acknowledged := make(chan error, 1)
			var once sync.Once
			h.events.fail = moment
			h.events.at = func() {
				once.Do(func() { // the event's lock is held: the stop runs beside
					begun := make(chan struct{})
					go func() {
						close(begun)
						_, err := h.stop(t.Context(), "")
						acknowledged <- err
					}()
					<-begun
				})
			}
			var left []func()
			h.caller.AfterSend = func(f func()) { left = append(left, f) }
			sig, err := h.sign(t, "9a")
			switch {
			case err == nil: // it was released, so the stop must still wait for it to leave
				select {
				case err := <-acknowledged:
					t.Errorf("the stop was acknowledged (%v) while a signature of %d bytes had not left", err, len(sig.Bytes))
				default:
				}
			case token.KindOf(err) != token.KindCardStoppedHere:
				t.Errorf("Sign: %v", err)
			}
			for _, f := range left {
				f()
			}
			if err := <-acknowledged; err != nil {
				t.Errorf("StopHere: %v", err)
			}
			if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindCardStoppedHere {
				t.Errorf("Sign after the stop: %v", err)
			}
		})
	}
}

func TestAStopThatCannotBeWrittenIsNotAcknowledged(t *testing.T) {
	h := newHouse(t, nil)
	h.events.fail = "log-event"
	if _, err := h.stop(t.Context(), ""); token.KindOf(err) != token.KindAuditUnavailable {
		t.Errorf("StopHere: %v, want AUDIT_UNAVAILABLE", err)
	}
	if _, err := h.sign(t, "9a"); err == nil {
		t.Error("a card signed whose stop was asked for")
	}
}
