package broker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// A short wait is waited out before the person is asked; a longer one is
// refused, with its length, and nobody is asked.
func TestAShortWaitIsWaitedOutAndALongOneRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.waits, h.agent.digits = true, "000001"
		try := func(uid uint32, digits string) (took time.Duration, err error) {
			h.caller.UID, h.agent.digits = uid, digits
			begin := time.Now()
			_, err = h.sign(t, "9a")
			return time.Since(begin), err
		}
		for i, wait := range []time.Duration{0, 2 * time.Second, 5 * time.Second} {
			if took, err := try(uint32(i), string(rune('1'+i))+"00007"); token.KindOf(err) != token.KindPINWrong || took != wait {
				t.Errorf("try %d: %v after %v, want PIN_WRONG after %v", i+1, err, took, wait)
			}
		}
		if err := h.Inserted(t.Context(), h.id()); err != nil {
			t.Fatal(err)
		}
		asked := len(h.agent.asked)
		took, err := try(9, "900007")
		e, ok := errors.AsType[*token.Error](err)
		if !ok || e.Kind != token.KindTryLater || e.Meta["seconds"] != "15" || e.Meta["tries_left"] != "7" || took != 0 {
			t.Errorf("the fourth: %v after %v, want TRY_LATER in 15 seconds at once", err, took)
		}
		if len(h.agent.asked) != asked || h.truth(t).Verifies != 3 {
			t.Errorf("%d questions and %d VERIFYs: somebody was asked during the wait", len(h.agent.asked), h.truth(t).Verifies)
		}
	})
}

func TestACallThatEndsDuringItsWaitAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.waits, h.agent.digits = true, "000001"
		if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINWrong {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := h.VerifyPIN(ctx, h.caller, h.id())
		if token.KindOf(err) != token.KindCallEnded || len(h.agent.asked) != 1 {
			t.Errorf("VerifyPIN: %v after %d questions, want CALL_ENDED", err, len(h.agent.asked))
		}
	})
}

func TestAGateThatClosesDuringTheWaitAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, nil)
		h.waits, h.agent.digits = true, "000001"
		if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINWrong {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { h.spend(t, token.SecretPIN, token.VerdictBlocked, 1) })
		if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindCardLocked || len(h.agent.asked) != 1 {
			t.Errorf("Sign: %v after %d questions, want CARD_LOCKED after one", err, len(h.agent.asked))
		}
	})
}

// What closed while the person typed is closed: the secret is not sent.
func TestAGateThatClosesWhileThePersonTypesKeepsTheSecretHere(t *testing.T) {
	h := newHouse(t, nil)
	h.agent.before = func() { // the same user is wrong twice at another window
		h.agent.before = nil
		for _, uid := range []uint32{1000, 1000} {
			h.wrongBy(t, uid)
		}
	}
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindReinsertNeeded || h.truth(t).Verifies != 0 {
		t.Errorf("Sign: %v after %d VERIFYs, want REINSERT_NEEDED and none", err, h.truth(t).Verifies)
	}
}

// wrongBy spends a try of a user.
func (h *house) wrongBy(t *testing.T, uid uint32) {
	t.Helper()
	a, err := h.guard.Debit(pinguard.Account{Card: h.id(), Secret: token.SecretPIN, Limit: 10}, pinguard.Who{UID: uid}, pinguard.AuditMark{})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.guard.Settle(a, token.Verdict{Kind: token.VerdictWrong}, pinguard.AuditMark{}); err != nil {
		t.Fatal(err)
	}
}
