package pinguard

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inkan-project/inkan/token"
)

// What comes between a try and its verdict: an administrator, an insertion in
// another reader, a card that counts less.

func TestAnAdministratorWhoComesBetweenATryAndItsVerdictClosesNoGate(t *testing.T) {
	for what, between := range map[string]func(*desk) error{
		"an administrator": func(d *desk) error { return d.Acknowledge(cardA, true, AuditMark{}) },
		"an insertion":     func(d *desk) error { return d.Inserted(cardA, AuditMark{}) },
	} {
		for verdict, tries := range map[token.VerdictKind]int{token.VerdictOK: 10, token.VerdictWrong: 9, token.VerdictNone: 9} {
			d := newDesk(t)
			a, err := d.Debit(pin(10), program, AuditMark{})
			if err != nil {
				t.Fatal(err)
			}
			if err := between(d); err != nil {
				t.Fatal(err)
			}
			if err := d.Settle(a, token.Verdict{Kind: verdict}, AuditMark{}); err != nil {
				t.Fatal(err)
			}
			d.restart()
			if got := d.Belief(pin(10)).Left; got != tries {
				t.Errorf("%s, then %s: %d tries left, want %d", what, verdict, got, tries)
			}
			d.pass(time.Minute)
			d.refuses(what+", then "+verdict.String()+": the next try of a program", d.Admit(pin(10), program), "")
		}
	}
}

func TestACardThatCountsLessBetweenATryAndItsVerdictKeepsTheTryOpen(t *testing.T) {
	d := newDesk(t)
	a, err := d.Debit(pin(10), person, AuditMark{})
	if err != nil {
		t.Fatal(err)
	}
	lower := pin(10)
	lower.OnCard = token.KnownTries(5)
	if was, err := d.Lower(lower, AuditMark{}); !was || err != nil {
		t.Fatalf("Lower: %t, %v", was, err)
	}
	d.restart() // a crash
	if len(d.rec.Dangling) != 1 || d.rec.Dangling[0].Attempt != a.Number() {
		t.Errorf("recovery %+v, want attempt %d without a verdict", d.rec, a.Number())
	}
	if b := d.Belief(pin(10)); b.Left != 5 || b.Unaccounted != 1 {
		t.Errorf("belief %+v, want 5 left and 1 unaccounted for", b)
	}
}

// The log has a record for each slot, also for one that came too late to say
// anything.
func TestALowerCountThatIsKnownAlreadyLeavesAMark(t *testing.T) {
	d := newDesk(t)
	if was, err := d.Lower(pin(10), AuditMark{Rows: 7, Own: 1}); was || err != nil {
		t.Fatalf("Lower: %t, %v", was, err)
	}
	d.restart()
	if d.rec.LastAudit.Rows != 7 {
		t.Errorf("the journal knows of %d records, want 7", d.rec.LastAudit.Rows)
	}
}

func TestARenewedJournalLeavesThreeTriesOfAnyCard(t *testing.T) {
	fsys := newMemoryFS()
	if _, err := Renew(fsys, wallClock(), 0, 1); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int]int{1: 1, 2: 2, 3: 3, 4: 3, 10: 3, 15: 3} {
		g, _ := open(t, fsys.left())
		acc := pin(limit)
		for n := want; n > 0; n-- {
			if got := g.Belief(acc).Left; got != n {
				t.Fatalf("limit %d: %d tries left, want %d", limit, got, n)
			}
			a, err := g.Debit(acc, freely, AuditMark{})
			if err != nil {
				t.Fatalf("limit %d: %v", limit, err)
			}
			if err := g.Settle(a, token.Verdict{Kind: token.VerdictWrong}, AuditMark{}); err != nil {
				t.Fatal(err)
			}
		}
		if b := g.Belief(acc); b.State != token.CardLocked {
			t.Errorf("limit %d: %+v after %d wrong ones, want locked", limit, b, want)
		}
	}
}

func TestARenewedCountFollowsTheCardDownwardsAndARightPINUpwards(t *testing.T) {
	fsys := newMemoryFS()
	if _, err := Renew(fsys, wallClock(), 0, 1); err != nil {
		t.Fatal(err)
	}
	g, _ := open(t, fsys)
	acc := pin(5)
	acc.OnCard = token.KnownTries(2)
	if was, err := g.Lower(acc, AuditMark{}); !was || err != nil {
		t.Fatalf("Lower: %t, %v", was, err)
	}
	acc.OnCard = token.Tries{}
	g, _ = open(t, fsys.left())
	if got := g.Belief(acc).Left; got != 2 {
		t.Errorf("%d tries left after the card said 2", got)
	}
	a, err := g.Debit(acc, freely, AuditMark{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Settle(a, token.Verdict{Kind: token.VerdictOK}, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	if got := g.Belief(acc).Left; got != 5 {
		t.Errorf("%d tries left after a right PIN, want all 5", got)
	}
}

func TestATryWithoutAVerdictWaitsAndIsNoWrongOne(t *testing.T) {
	d := newDesk(t)
	for i, v := range []token.VerdictKind{token.VerdictNone, token.VerdictNone, token.VerdictWrong, token.VerdictWrong} {
		if err := d.try(pin(10), Who{UID: uint32(i)}, v); err != nil {
			t.Fatalf("try %d: %v", i+1, err)
		}
		d.refuses("right after a try that ended "+v.String(), d.Admit(pin(10), Who{UID: 9}), token.KindTryLater)
		d.pass(time.Minute)
	}
	d.refuses("after two without a verdict and two wrong ones", d.Admit(pin(10), Who{UID: 9}), "")
}

func TestARefusalSaysHowLongToWaitAndHowManyTriesAreLeft(t *testing.T) {
	d := newDesk(t)
	if err := d.try(pin(10), person, token.VerdictWrong); err != nil {
		t.Fatal(err)
	}
	for _, seconds := range []string{"2", "2", "1", "1"} { // a second that has begun counts
		e, ok := errors.AsType[*token.Error](d.Admit(pin(10), other))
		if !ok || e.Kind != token.KindTryLater || e.Meta["tries_left"] != "9" || e.Meta["seconds"] != seconds {
			t.Errorf("with %v to wait: %+v, want %s seconds and 9 tries left", d.Belief(pin(10)).Wait, e, seconds)
		}
		d.pass(500 * time.Millisecond)
	}
	d.refuses("in time", d.Admit(pin(10), other), "")
}

func TestAfterACrashTheNextTryWaits(t *testing.T) {
	d := newDesk(t)
	if _, err := d.Debit(pin(10), person, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	d.restart()
	d.refuses("right after the crash", d.Admit(pin(10), person), token.KindTryLater)
	d.pass(2 * time.Second)
	d.refuses("in time", d.Admit(pin(10), person), "")
	d.pass(time.Second)
	if got := d.Belief(pin(10)).Wait; got != 0 {
		t.Errorf("%v to wait when the time is over", got)
	}
}

// Tries that were used elsewhere are no reason to wait here.
func TestTriesUsedElsewhereMakeNobodyWait(t *testing.T) {
	d := newDesk(t)
	lower := pin(10)
	lower.OnCard = token.KnownTries(6)
	if _, err := d.Lower(lower, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	d.restart()
	d.refuses("the next try", d.Admit(pin(10), person), "")
}

func TestWhyACardIsRefusedIsSaid(t *testing.T) {
	mem := newMemoryFS()
	_, _ = open(t, mem)
	copied, _ := open(t, mem.copied())
	silent, _ := open(t, newMemoryFS())
	for range silentLimit {
		spend(t, silent, cardA, token.VerdictNone)
	}
	for g, word := range map[*Guard]string{copied: "copy", silent: "three tries"} {
		for _, err := range []error{g.Admit(pin(10), person), g.Belief(pin(10)).Refusal()} {
			if e, ok := errors.AsType[*token.Error](err); !ok || !strings.Contains(e.Meta["detail"], word) {
				t.Errorf("%v, want something about %q", err, word)
			}
		}
	}
	d := newDesk(t)
	for uid := range uint32(3) {
		if err := d.try(pin(3), Who{UID: uid}, token.VerdictWrong); err != nil {
			t.Fatal(err)
		}
		d.pass(time.Minute)
	}
	if err := d.Belief(pin(3)).Refusal(); err != nil {
		t.Errorf("a locked card: %v: an insertion would not help", err)
	}
	if d.IsHeld(cardA, false) || !d.IsHeld(cardA, true) {
		t.Error("three wrong ones are for an administrator to acknowledge, and for nobody else")
	}
}

func TestACompactedJournalHasRoom(t *testing.T) {
	g, _, err := Open(Config{FS: newMemoryFS(), Now: wallClock, Slots: 4})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		spend(t, g, token.CardID("piv-"+string(rune('a'+i))), token.VerdictWrong)
	}
	compactions := 0
	for range 21 {
		before := g.journal.capacity
		if g.journal.full() {
			compactions++
		}
		mark(t, g, 0)
		if g.journal.used > g.journal.capacity || g.journal.capacity < before {
			t.Fatalf("%d of %d slots used", g.journal.used, g.journal.capacity)
		}
	}
	if compactions > 2 {
		t.Errorf("%d compactions for 21 writes", compactions)
	}
}

func TestASlotOfNoKindIsUnreadable(t *testing.T) {
	for _, kind := range []slotKind{0, kindAdministrator + 1, 0xFF} {
		b, err := slot{kind: kind, sequence: 7, card: cardA}.encode()
		if err != nil {
			t.Fatal(err)
		}
		if s, err := decode(b); err == nil {
			t.Errorf("a slot of kind %d was read: %+v", kind, s)
		}
	}
	many := make([]user, maxUsers+1)
	if _, err := (slot{kind: kindDebit, card: cardA, count: count{users: many}}).encode(); err == nil {
		t.Error("a slot with more users than fit was written")
	}
}

func TestARightPINDoesNotOpenACrowdedGate(t *testing.T) {
	d := newDesk(t)
	for uid := range uint32(maxUsers + 1) {
		if err := errors.Join(d.try(pin(10), Who{UID: uid}, token.VerdictWrong), d.try(pin(10), freely, token.VerdictOK)); err != nil {
			t.Fatal(err)
		}
	}
	d.refuses("another user", d.Admit(pin(10), Who{UID: 9000}), token.KindReinsertNeeded)
	if !d.Belief(pin(10)).Reinsert {
		t.Error("nobody is told that the card must be inserted again")
	}
}

// Many at once get no more than they would one after the other.
func TestManyAtOnceSpendNoMoreThanTheGatesAllow(t *testing.T) {
	var at atomic.Int64
	clock := func() Boot { return Boot{ID: [16]byte{1}, Since: time.Duration(at.Add(int64(time.Hour)))} } // no wait is left
	g, _, err := Open(Config{FS: newMemoryFS(), Now: wallClock, Slots: 16, Boot: clock})
	if err != nil {
		t.Fatal(err)
	}
	var all, programs atomic.Int32
	var users [5]atomic.Int32
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			who := Who{UID: uint32(i % len(users)), Program: i%3 == 0}
			for {
				a, err := g.Debit(pin(10), who, AuditMark{})
				if token.KindOf(err) == token.KindInternal { // another one's try has no verdict yet
					runtime.Gosched()
					continue
				}
				if err != nil { // a gate
					return
				}
				all.Add(1)
				users[who.UID].Add(1)
				if who.Program {
					programs.Add(1)
				}
				if err := g.Settle(a, token.Verdict{Kind: token.VerdictWrong}, AuditMark{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if all.Load() != maxStreak || programs.Load() > maxProgram {
		t.Errorf("%d tries, %d by programs; want %d and at most %d", all.Load(), programs.Load(), maxStreak, maxProgram)
	}
	for uid := range users {
		if n := users[uid].Load(); n > maxUser {
			t.Errorf("user %d made %d tries", uid, n)
		}
	}
	if got := g.Belief(pin(10)).Left; got != 10-maxStreak {
		t.Errorf("%d tries left, want %d", got, 10-maxStreak)
	}
}
