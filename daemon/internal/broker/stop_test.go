package broker_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
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

// A stop comes at each moment of a signature: nothing is released after it was
// acknowledged, and it is acknowledged only when what was released has left.
func TestNothingIsReleasedAfterAStopIsAcknowledged(t *testing.T) {
	for moment, released := range map[string]bool{"IDENTIFY": false, "log-intent": false, "VERIFY": false, "SIGN": false, "log-result": true} {
		t.Run(moment, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, nil)
				var left []func()
				h.caller.AfterSend = func(f func()) { left = append(left, f) }
				acknowledged := h.stopAt(t, moment)
				sig, err := h.sign(t, "9a")
				if want := map[bool]token.Kind{false: token.KindCardStoppedHere}[released]; token.KindOf(err) != want || (sig.Bytes != nil) != released {
					t.Errorf("Sign: %d bytes, %v; want %q", len(sig.Bytes), err, want)
				}
				synctest.Wait()
				if released {
					select {
					case err := <-acknowledged:
						t.Errorf("the stop was acknowledged (%v) while a signature had not left", err)
					default:
					}
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
				if moment == "IDENTIFY" && h.truth(t).Verifies != 0 {
					t.Error("a stopped card was sent a PIN")
				}
			})
		})
	}
}

// stopAt has the card stopped at an event, and goes on when the stop has begun.
func (h *house) stopAt(t *testing.T, moment string) (acknowledged chan error) {
	acknowledged = make(chan error, 1)
	var once sync.Once
	h.events.fail = moment
	h.events.at = func() {
		once.Do(func() {
			serial := h.card().Serial
			go func() {
				_, err := h.stop(t.Context(), serial[len(serial)-4:])
				acknowledged <- err
			}()
			for h.Status(t.Context()).Cards[0].State != token.CardStoppedHere {
				runtime.Gosched()
			}
		})
	}
	return acknowledged
}

// The stop comes while the person types: what was typed is not sent.
func TestAStopThatComesWhileThePersonTypesKeepsThePINHere(t *testing.T) {
	h := newHouse(t, nil)
	h.agent.before = func() {
		if _, err := h.stop(t.Context(), ""); err != nil {
			t.Error(err)
		}
	}
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindCardStoppedHere || h.truth(t).Verifies != 0 || h.left() != 10 {
		t.Errorf("Sign: %v, %d VERIFYs, %d tries left", err, h.truth(t).Verifies, h.left())
	}
}

// Another release of the same card, and one of another card, are told apart.
func TestAStopWaitsForEveryReleaseOfItsCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		var left []func()
		h.caller.AfterSend = func(f func()) { left = append(left, f) }
		for range 2 {
			if _, err := h.sign(t, "9a"); err != nil {
				t.Fatal(err)
			}
		}
		acknowledged := make(chan error, 1)
		go func() {
			_, err := h.stop(t.Context(), "")
			acknowledged <- err
		}()
		for i, f := range left {
			synctest.Wait()
			select {
			case err := <-acknowledged:
				t.Fatalf("acknowledged (%v) while %d signatures had not left", err, len(left)-i)
			default:
			}
			f()
			f() // once more changes nothing
		}
		if err := <-acknowledged; err != nil {
			t.Error(err)
		}
	})
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
	if _, err := h.stop(t.Context(), ""); token.KindOf(err) != token.KindAuditUnavailable {
		t.Errorf("StopHere again: %v, want AUDIT_UNAVAILABLE: it is still not written", err)
	}
	if s := h.Status(t.Context()).Cards[0]; s.State != token.CardStoppedHere {
		t.Errorf("state %d, want stopped here all the same", s.State)
	}
}

func TestALiftIsInForceAfterARestart(t *testing.T) {
	h := newHouse(t, nil)
	if _, err := h.stop(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Lift(t.Context(), h.caller, h.id(), "found"); err != nil {
		t.Fatal(err)
	}
	again := broker.New(broker.Config{
		Cards: h.cards, Prompter: &h.agent, Register: registered{h.cards}, Wrong: wrongPINs{}, Guard: h.guard, Log: h.log, Now: time.Now,
	})
	if err := again.Recover(t.Context(), pinguard.Recovery{}, "test"); err != nil {
		t.Fatal(err)
	}
	if s := again.Status(t.Context()).Cards[0]; s.State != token.CardReady {
		t.Errorf("state %d, want ready", s.State)
	}
}
