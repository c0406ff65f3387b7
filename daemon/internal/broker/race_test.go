package broker_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
)

// crowd answers every prompt with another wrong PIN, for many callers at once.
type crowd struct{ next atomic.Uint32 }

func (c *crowd) Ask(_ context.Context, req prompt.Request) (prompt.Answer, error) {
	pin, err := newPIN(fmt.Sprintf("9%05d", c.next.Add(1)))
	return prompt.Answer{PIN: pin, Source: prompt.SourcePrompt, Confirmation: req.Confirmation}, err
}

// heard is wrongPINs for many at once.
type heard struct {
	mu    sync.Mutex // guards wrong
	wrong wrongPINs
}

func (h *heard) Has(card token.CardID, secret token.Secret, pin *token.PIN) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wrong.Has(card, secret, pin)
}

func (h *heard) Add(card token.CardID, secret token.Secret, pin *token.PIN) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrong.Add(card, secret, pin)
}

func (h *heard) Forget(card token.CardID, secret token.Secret) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrong.Forget(card, secret)
}

func TestManyUsersAtOnceSpendNoMoreThanTheGatesAllow(t *testing.T) {
	h := newHouse(t, func(c *broker.Config) { c.Prompter, c.Wrong = &crowd{}, &heard{wrong: wrongPINs{}} })
	key := h.card().Keys[0]
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for uid := range uint32(5) {
		for range 4 {
			wg.Go(func() {
				caller := broker.Caller{UID: uid, Alive: func() error { return nil }}
				for range 10 {
					_, err := h.Sign(ctx, caller, broker.SignRequest{Key: key.ID, Algorithm: token.ECDSASHA256, Digest: make([]byte, 32)})
					if err == nil {
						t.Error("a wrong PIN signed")
					}
				}
			})
		}
	}
	wg.Wait()
	truth, left := h.truth(t), h.left()
	if truth.Verifies == 0 || truth.Verifies > 3 || left != 10-truth.Verifies {
		t.Errorf("the card saw %d VERIFYs and %d tries are left, want three at most and ten together", truth.Verifies, left)
	}
}

// A stop and a lift that cross each other end as the log says, or a stop that
// was acknowledged would be gone after a restart, or before it.
func TestStopsAndLiftsThatCrossEndAsTheLogSays(t *testing.T) {
	h := newHouse(t, nil)
	for range 100 {
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := h.stop(t.Context(), ""); err != nil {
				t.Errorf("StopHere: %v", err)
			}
		})
		wg.Go(func() { _, _ = h.Lift(t.Context(), h.caller, h.id(), "found") })
		wg.Wait()
		events, err := h.log.Events(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		newest := events[len(events)-1]
		if status := h.Status(t.Context()).Cards[0]; (newest.Operation == "stop-here") != (status.State == token.CardStoppedHere) {
			t.Fatalf("state %d, and the newest record says %q", status.State, newest.Operation)
		}
	}
}

// While a person reads what to confirm, somebody else does, and more tries are
// lost: this person has not seen them.
func TestAConfirmationThatCameTooLateAcknowledgesNothing(t *testing.T) {
	silence := func(h *house) { h.spend(t, token.SecretPIN, token.VerdictNone, 3) }
	for name, tt := range map[string]struct {
		again bool // held once more before the person confirms
		want  token.Kind
	}{
		"held again meanwhile":       {true, token.KindConfirmationRefused},
		"acknowledged by the others": {false, token.KindCardNotHeld},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			silence(h)
			h.agent.before = func() {
				if err := h.guard.Acknowledge(h.id(), true, pinguard.AuditMark{}); err != nil {
					t.Fatal(err)
				}
				if tt.again {
					silence(h)
				}
			}
			if _, err := h.Acknowledge(t.Context(), h.caller, h.id(), false, ""); token.KindOf(err) != tt.want {
				t.Errorf("Acknowledge: %v, want %s", err, tt.want)
			}
			if held := h.guard.IsHeld(h.id(), false); held != tt.again {
				t.Errorf("held %t, want %t", held, tt.again)
			}
		})
	}
}

// An administrator acknowledges at each moment of a program's signature: the
// tries are what the card says, and the program may go on.
func TestAnAdministratorMayComeAtEachMomentOfASignature(t *testing.T) {
	for _, moment := range []string{"IDENTIFY", "VERIFY", "SIGN"} {
		t.Run(moment, func(t *testing.T) {
			h := newHouse(t, func(c *broker.Config) { c.ProgramPINs = true })
			h.agent.source, h.agent.digits = prompt.SourceProgram, "000000"
			if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINWrong {
				t.Fatal(err)
			}
			h.agent.source = prompt.SourcePrompt
			h.agent.digits = pivcard.DemoPIN
			var once sync.Once
			h.events.fail = moment
			h.events.at = func() {
				once.Do(func() {
					if err := h.guard.Acknowledge(h.id(), true, pinguard.AuditMark{}); err != nil {
						t.Error(err)
					}
				})
			}
			if _, err := h.sign(t, "9a"); err != nil {
				t.Fatalf("Sign: %v", err)
			}
			h.agent.source = prompt.SourceProgram
			if _, err := h.sign(t, "9a"); err != nil {
				t.Errorf("the program, afterwards: %v", err)
			}
			if left := h.left(); left != 10 {
				t.Errorf("%d tries left, want all", left)
			}
		})
	}
}

func TestAStopShowsOverEachStateAndALiftShowsItAgain(t *testing.T) {
	for state, make := range map[token.CardState]func(*house){
		token.CardReady:  func(*house) {},
		token.CardLow:    func(h *house) { h.spend(t, token.SecretPIN, token.VerdictWrong, 8) },
		token.CardHeld:   func(h *house) { h.spend(t, token.SecretPIN, token.VerdictNone, 3) },
		token.CardLocked: func(h *house) { h.spend(t, token.SecretPIN, token.VerdictWrong, 10) },
		token.CardDead: func(h *house) {
			h.spend(t, token.SecretPIN, token.VerdictBlocked, 1)
			h.spend(t, token.SecretUnlockCode, token.VerdictWrong, 10)
		},
	} {
		h := newHouse(t, nil)
		make(h)
		is := func() token.CardState { return h.Status(t.Context()).Cards[0].State }
		if got := is(); got != state {
			t.Fatalf("state %d, want %d", got, state)
		}
		if _, err := h.stop(t.Context(), ""); err != nil || is() != token.CardStoppedHere {
			t.Errorf("from state %d: %v, state %d, want stopped here", state, err, is())
		}
		if _, err := h.Lift(t.Context(), h.caller, h.id(), "found"); err != nil || is() != state {
			t.Errorf("lifted: %v, state %d, want %d again", err, is(), state)
		}
	}
}

// TestAMalformedSecretSpendsNothingWithAnyCommand gives secrets that no card
// has to each command that takes one: all lengths, NUL, full-width digits.
func TestAMalformedSecretSpendsNothingWithAnyCommand(t *testing.T) {
	h := newHouse(t, freely)
	commands := map[string]struct {
		do   func() error
		want token.Kind
		ok   func(length int) bool
	}{
		"verify": {func() error { _, err := h.VerifyPIN(t.Context(), h.caller, h.id()); return err }, token.KindPINMalformed, nil},
		"change": {func() error { _, err := h.ChangePIN(t.Context(), h.caller, h.id()); return err }, token.KindPINMalformed, nil},
		"unlock": {func() error { _, _, err := h.Unlock(t.Context(), h.caller, h.id()); return err }, token.KindUnlockCodeMalformed, nil},
	}
	secrets := []string{"１２３４５６", "１２３", "12345\x00", "\x00\x00\x00\x00\x00\x00", "12345678\x00", "123456\n", "é12345", "\xff\xff\xff\xff\xff\xff"}
	for length := range 65 {
		if length < 6 || length > 8 {
			secrets = append(secrets, fmt.Sprintf("%0*d", length, 1)[:length])
		}
	}
	for name, c := range commands {
		for _, secret := range secrets {
			h.agent.digits, h.agent.next = secret, []string{"486159", "486159"}
			if err := c.do(); token.KindOf(err) != c.want {
				t.Errorf("%s with %d bytes %q: %v, want %s", name, len(secret), secret, err, c.want)
			}
		}
	}
	// The new PIN, too, with everything else right.
	for _, next := range append(secrets, "12345a", "abcdef") {
		for _, c := range []string{"change", "unlock"} {
			h.agent.digits, h.agent.next = pivcard.DemoPIN, []string{next, next}
			if c == "unlock" {
				h.agent.digits = pivcard.DemoUnlockCode
			}
			if err := commands[c].do(); token.KindOf(err) != token.KindNewPINRefused {
				t.Errorf("%s to %d bytes %q: %v, want NEW_PIN_REFUSED", c, len(next), next, err)
			}
		}
	}
	truth := h.truth(t)
	if truth.Verifies != 0 || truth.UnlockVerifies != 0 || truth.Changes != 0 || h.left() != 10 || h.unlockLeft() != 10 {
		t.Errorf("the card saw %d VERIFYs, %d unlock codes, %d changes; %d and %d tries left", truth.Verifies, truth.UnlockVerifies, truth.Changes, h.left(), h.unlockLeft())
	}
}
