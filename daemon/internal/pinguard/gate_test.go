package pinguard

import (
	"errors"
	"testing"
	"time"

	"github.com/inkan-project/inkan/token"
)

// desk is a guard with a clock that the test moves, which can be closed and
// opened again as after a crash or a restart of the PC.
type desk struct {
	*Guard
	t    *testing.T
	path string
	now  Boot
	rec  Recovery
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, path: t.TempDir(), now: Boot{ID: [16]byte{1}, Since: time.Hour}}
	d.open()
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func (d *desk) open() {
	d.t.Helper()
	var err error
	d.Guard, d.rec, err = Open(Config{FS: DirFS(d.path), Now: wallClock, Slots: 64, Boot: func() Boot { return d.now }})
	if err != nil {
		d.t.Fatalf("Open: %v", err)
	}
}

func (d *desk) restart() {
	d.t.Helper()
	_ = d.Close()
	d.open()
}

// reboot is a restart of the PC: the clock that waits are counted by begins
// again.
func (d *desk) reboot() {
	d.now = Boot{ID: [16]byte{d.now.ID[0] + 1}, Since: time.Minute}
	d.restart()
}

func (d *desk) pass(span time.Duration) { d.now.Since += span }

func pin(limit int) Account { return Account{Card: cardA, Secret: token.SecretPIN, Limit: limit} }

// try makes a try and settles it; it returns why it was refused.
func (d *desk) try(acc Account, who Who, verdict token.VerdictKind) error {
	d.t.Helper()
	a, err := d.Debit(acc, who, AuditMark{})
	if err != nil {
		return err
	}
	if err := d.Settle(a, token.Verdict{Kind: verdict}, AuditMark{}); err != nil {
		d.t.Fatalf("Settle: %v", err)
	}
	return nil
}

func (d *desk) refuses(what string, err error, want token.Kind) {
	d.t.Helper()
	if token.KindOf(err) != want {
		d.t.Errorf("%s: %v, want %q", what, err, want)
	}
}

var (
	person  = Who{UID: 1000}
	other   = Who{UID: 1001}
	program = Who{UID: 1000, Program: true}
)

func TestAfterThreeWrongInARowTheCardMustBeInsertedAgain(t *testing.T) {
	open := map[string]func(*desk) error{
		"an insertion":      func(d *desk) error { return d.Inserted(cardA, AuditMark{}) },
		"an administrator":  func(d *desk) error { return d.Acknowledge(cardA, true, AuditMark{}) },
		"nothing":           func(*desk) error { return nil },
		"a person's word":   func(d *desk) error { return d.Acknowledge(cardA, false, AuditMark{}) },
		"a restart":         func(d *desk) error { d.restart(); return nil },
		"a reboot":          func(d *desk) error { d.reboot(); return nil },
		"a day":             func(d *desk) error { d.pass(24 * time.Hour); return nil },
		"another card's":    func(d *desk) error { return d.Inserted(cardB, AuditMark{}) },
		"a new certificate": func(*desk) error { return nil }, // nothing but the identity counts
	}
	for what, try := range open {
		t.Run(what, func(t *testing.T) {
			d := newDesk(t)
			for uid := range uint32(3) {
				if err := d.try(pin(10), Who{UID: uid}, token.VerdictWrong); err != nil {
					t.Fatal(err)
				}
				d.pass(time.Minute)
			}
			d.refuses("the fourth", d.Admit(pin(10), Who{UID: 9}), token.KindReinsertNeeded)
			if !d.Belief(pin(10)).Reinsert || !d.IsGated(cardA) {
				t.Error("the gate is closed and nobody is told")
			}
			if err := try(d); err != nil {
				t.Fatal(err)
			}
			d.pass(time.Minute)
			want := token.KindReinsertNeeded
			if what == "an insertion" || what == "an administrator" {
				want = ""
			}
			d.refuses("after "+what, d.Admit(pin(10), Who{UID: 9}), want)
			if got := d.Belief(pin(10)).Left; got != 7 {
				t.Errorf("%d tries left after %s, want 7", got, what)
			}
		})
	}
}

func TestAProgramHasOneWrongTryForEachInsertionAndNeverTheLastThree(t *testing.T) {
	d := newDesk(t)
	if err := d.try(pin(10), program, token.VerdictWrong); err != nil {
		t.Fatal(err)
	}
	d.pass(time.Minute)
	d.refuses("a second", d.Admit(pin(10), program), token.KindPINSourceRefused)
	d.refuses("of another user", d.Admit(pin(10), Who{UID: 1001, Program: true}), token.KindPINSourceRefused)
	d.restart()
	d.refuses("after a restart", d.Admit(pin(10), program), token.KindPINSourceRefused)
	if err := d.try(pin(10), person, token.VerdictOK); err != nil {
		t.Fatalf("a person: %v", err)
	}
	d.refuses("after a right one in between", d.Admit(pin(10), program), token.KindPINSourceRefused)
	if err := d.Inserted(cardA, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := d.try(pin(10), program, token.VerdictOK); err != nil {
			t.Fatalf("right ones after an insertion: %v", err)
		}
	}
	d.refuses("the last three tries", d.Admit(pin(3), program), token.KindPINSourceRefused)
	d.refuses("the unlock code", d.Admit(Account{Card: cardA, Secret: token.SecretUnlockCode, Limit: 10}, program), token.KindPINSourceRefused)
}

func TestAUserHasTwoTriesForEachInsertionFromAnySource(t *testing.T) {
	d := newDesk(t)
	for _, who := range []Who{program, person} {
		if err := d.try(pin(10), who, token.VerdictWrong); err != nil {
			t.Fatal(err)
		}
		d.pass(time.Minute)
	}
	d.refuses("a third", d.Admit(pin(10), person), token.KindReinsertNeeded)
	d.reboot()
	d.pass(time.Minute)
	d.refuses("after a reboot", d.Admit(pin(10), person), token.KindReinsertNeeded)
	d.refuses("another user", d.Admit(pin(10), other), "")
	if err := d.try(pin(10), other, token.VerdictOK); err != nil {
		t.Fatal(err)
	}
	d.refuses("after another user's right one", d.Admit(pin(10), person), token.KindReinsertNeeded)
}

func TestMoreUsersThanASlotHoldsCloseTheGate(t *testing.T) {
	d := newDesk(t)
	for uid := range uint32(maxUsers) { // a right one of another user in between, so that none is in a row
		if err := errors.Join(d.try(pin(10), Who{UID: uid}, token.VerdictWrong), d.try(pin(10), Who{UID: 5000, Free: true}, token.VerdictOK)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.try(pin(10), Who{UID: 9000}, token.VerdictWrong); err != nil {
		t.Fatal(err)
	}
	d.pass(time.Minute)
	d.restart()
	d.refuses("yet another user", d.Admit(pin(10), Who{UID: 9001}), token.KindReinsertNeeded)
	if err := d.Inserted(cardA, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	d.refuses("after an insertion", d.Admit(pin(10), Who{UID: 9001}), "")
}

func TestTheDelayGrowsAndOutlivesARestartAndStartsAgainWithAReboot(t *testing.T) {
	d := newDesk(t)
	want := []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, time.Minute}
	for i, wait := range want {
		if err := d.try(pin(10), Who{UID: uint32(i)}, token.VerdictWrong); err != nil {
			t.Fatal(err)
		}
		if err := d.Inserted(cardA, AuditMark{}); err != nil { // it opens the gate and ends no wait
			t.Fatal(err)
		}
		d.pass(wait - time.Millisecond)
		d.restart()
		d.refuses("a moment too early", d.Admit(pin(10), other), token.KindTryLater)
		d.reboot()
		if got := d.Belief(pin(10)).Wait; got != wait {
			t.Errorf("after a reboot the wait is %v, want the full %v", got, wait)
		}
		d.pass(wait)
		d.refuses("in time", d.Admit(pin(10), other), "")
	}
	if err := d.try(pin(10), other, token.VerdictOK); err != nil {
		t.Fatal(err)
	}
	if got := d.Belief(pin(10)).Wait; got != 0 {
		t.Errorf("a wait of %v after a right PIN", got)
	}
}

func TestAClockThatGoesBackDoesNotShortenAWait(t *testing.T) {
	d := newDesk(t)
	if err := d.try(pin(10), person, token.VerdictWrong); err != nil {
		t.Fatal(err)
	}
	d.now.Since = time.Second // the same boot: it cannot be
	d.restart()
	if got := d.Belief(pin(10)).Wait; got != 2*time.Second {
		t.Errorf("the wait is %v, want the full 2s", got)
	}
}

func TestThreeInARowWithoutAVerdictHoldTheCardForEver(t *testing.T) {
	d := newDesk(t)
	for range silentLimit {
		if err := d.try(pin(10), person, token.VerdictNone); err != nil {
			t.Fatal(err)
		}
		d.pass(time.Hour)
		if err := d.Inserted(cardA, AuditMark{}); err != nil {
			t.Fatal(err)
		}
	}
	d.reboot()
	d.pass(24 * time.Hour)
	d.refuses("a person", d.Admit(pin(10), person), token.KindCardHeld)
	d.refuses("with --virtual", d.Admit(pin(10), freely), token.KindCardHeld)
	if b := d.Belief(pin(10)); b.State != token.CardHeld || b.Held != HeldBySilence || b.Left != 7 || b.Unaccounted != 3 {
		t.Errorf("belief %+v, want held with 7 left and 3 unaccounted for", b)
	}
	if err := d.Acknowledge(cardA, false, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	d.restart()
	d.pass(time.Minute)
	d.refuses("after a person's word", d.Admit(pin(10), person), "")
	if got := d.Belief(pin(10)).Left; got != 7 {
		t.Errorf("%d tries left, want 7: a person's word gives none back", got)
	}
}

func TestAWrongVerdictBreaksARowOfSilentOnes(t *testing.T) {
	d := newDesk(t)
	for _, v := range []token.VerdictKind{token.VerdictNone, token.VerdictNone, token.VerdictWrong, token.VerdictNone, token.VerdictNone} {
		if err := d.try(pin(10), freely, v); err != nil {
			t.Fatal(err)
		}
	}
	if b := d.Belief(pin(10)); b.State != token.CardReady || b.Left != 5 || b.Unaccounted != 4 {
		t.Errorf("belief %+v, want ready with 5 left and 4 unaccounted for", b)
	}
}

func TestACrashLoopHoldsTheCardAndDoesNotLockIt(t *testing.T) {
	d := newDesk(t)
	for range 50 { // killed right after each debit
		if _, err := d.Debit(pin(10), person, AuditMark{}); err != nil {
			d.refuses("a try", err, token.KindCardHeld)
		}
		d.reboot()
		d.pass(time.Hour)
		if err := d.Inserted(cardA, AuditMark{}); err != nil {
			t.Fatal(err)
		}
	}
	if b := d.Belief(pin(10)); b.State != token.CardHeld || b.Left != 7 {
		t.Errorf("belief %+v, want held with 7 left", b)
	}
}

func TestAnAcceptedUnlockCodeGivesThePINItsTriesBack(t *testing.T) {
	d := newDesk(t)
	code := Account{Card: cardA, Secret: token.SecretUnlockCode, Limit: 10}
	if err := d.try(pin(10), freely, token.VerdictBlocked); err != nil {
		t.Fatal(err)
	}
	if err := d.try(code, freely, token.VerdictWrong); err != nil {
		t.Fatal(err)
	}
	if p, c := d.Belief(pin(10)), d.Belief(code); StateOf(p, c) != token.CardLocked || c.Left != 9 {
		t.Errorf("state %d with %d left, want locked with 9", StateOf(p, c), c.Left)
	}
	if err := d.try(code, freely, token.VerdictOK); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if p, c := d.Belief(pin(10)), d.Belief(code); p.Left != 10 || c.Left != 10 || StateOf(p, c) != token.CardReady {
			t.Errorf("%d and %d tries left, want all", p.Left, c.Left)
		}
		d.restart()
	}
}

func TestAnAcceptedUnlockCodeOpensTheGatesOfThePIN(t *testing.T) {
	d := newDesk(t)
	for range 2 {
		if err := d.try(pin(10), person, token.VerdictWrong); err != nil {
			t.Fatal(err)
		}
		d.pass(time.Minute)
	}
	d.refuses("before", d.Admit(pin(10), person), token.KindReinsertNeeded)
	if err := d.try(Account{Card: cardA, Secret: token.SecretUnlockCode, Limit: 10}, person, token.VerdictOK); err != nil {
		t.Fatal(err)
	}
	d.restart()
	d.refuses("the holder's new PIN", d.Admit(pin(10), person), "")
}

func TestACardWithoutPINAndUnlockTriesIsDead(t *testing.T) {
	d := newDesk(t)
	code := Account{Card: cardA, Secret: token.SecretUnlockCode, Limit: 10}
	for range 10 {
		if err := d.try(code, freely, token.VerdictWrong); err != nil {
			t.Fatal(err)
		}
	}
	d.refuses("an eleventh unlock code", d.Admit(code, freely), token.KindUnlockCodeUsedUp)
	if got := StateOf(d.Belief(pin(10)), d.Belief(code)); got != token.CardReady {
		t.Errorf("state %d: a card whose PIN still works is usable", got)
	}
	if err := d.try(pin(10), freely, token.VerdictBlocked); err != nil {
		t.Fatal(err)
	}
	if got := StateOf(d.Belief(pin(10)), d.Belief(code)); got != token.CardDead {
		t.Errorf("state %d, want dead", got)
	}
}

func TestAVerdictThatCountsFewerTriesLowersOurs(t *testing.T) {
	d := newDesk(t)
	a, err := d.Debit(pin(10), freely, AuditMark{})
	if err != nil {
		t.Fatal(err)
	}
	verdict := token.Verdict{Kind: token.VerdictWrong, Tries: token.KnownTries(4)}
	if after := d.After(a, verdict); after.Left != 4 || !after.Elsewhere {
		t.Errorf("after it: %+v, want 4 left and used elsewhere", after)
	}
	if err := d.Settle(a, verdict, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	d.restart()
	if b := d.Belief(pin(10)); b.Left != 4 || !b.Elsewhere {
		t.Errorf("belief %+v, want 4 left and used elsewhere", b)
	}
	if err := d.try(pin(10), freely, token.VerdictOK); err != nil {
		t.Fatal(err)
	}
	if b := d.Belief(pin(10)); b.Elsewhere {
		t.Error("still told that it was used elsewhere")
	}
}
