package pinguard

import (
	"testing"
	"time"

	"github.com/inkan-project/inkan/token"
)

// The wall clock is written down and decides nothing: the same tries give the
// same answers whatever it says, with a restart between each.
func TestJumpsOfTheClockChangeNoTry(t *testing.T) {
	const year = 365 * 24 * time.Hour
	verdicts := []token.VerdictKind{
		token.VerdictWrong, token.VerdictNone, token.VerdictWrong, token.VerdictOK, token.VerdictNone,
		token.VerdictWrong, token.VerdictNone, token.VerdictNone, token.VerdictNone, token.VerdictWrong,
	}
	run := func(jump func(i int) time.Duration) (all []Belief) {
		mem, now := newMemoryFS(), wallClock()
		for i, v := range verdicts {
			now = now.Add(jump(i))
			boot := func() Boot { return Boot{ID: [16]byte{1}, Since: time.Duration(i+1) * time.Second} }
			g, _, err := Open(Config{FS: mem, Now: func() time.Time { return now }, Slots: 8, Boot: boot})
			if err != nil {
				t.Fatal(err)
			}
			if a, err := g.Debit(pin(10), freely, AuditMark{}); err == nil {
				if err := g.Settle(a, token.Verdict{Kind: v}, AuditMark{}); err != nil {
					t.Fatal(err)
				}
			}
			all = append(all, g.Belief(pin(10)))
		}
		return all
	}
	want := run(func(int) time.Duration { return time.Second })
	for name, jump := range map[string]func(i int) time.Duration{
		"fifty years on":              func(int) time.Duration { return 50 * year },
		"fifty years back":            func(int) time.Duration { return -50 * year },
		"to and fro":                  func(i int) time.Duration { return time.Duration(1-2*(i%2)) * 50 * year },
		"before the beginning of all": func(i int) time.Duration { return -time.Duration(i) * 20 * year },
	} {
		for i, got := range run(jump) {
			if got != want[i] {
				t.Errorf("%s, try %d: %+v, want %+v", name, i+1, got, want[i])
			}
		}
	}
	if last := want[len(want)-1]; last.State != token.CardHeld || last.Left != 5 {
		t.Errorf("belief %+v at the end, want held with 5 left", last)
	}
}

// A thief, or an honest restore, puts yesterday's records in the place of
// today's, in which eight tries are spent.
func TestADayOldCopyHoldsTheCardAndBelievesItsLowerCount(t *testing.T) {
	disk := newMemoryFS()
	g, _ := open(t, disk)
	spend(t, g, cardA, token.VerdictOK)
	yesterday := disk.copied()
	for range 8 {
		spend(t, g, cardA, token.VerdictWrong)
	}
	g, rec := open(t, yesterday)
	onCard := pin(10)
	onCard.OnCard = token.KnownTries(2)
	if b := g.Belief(onCard); rec.Copied == "" || b.State != token.CardHeld || b.Held != HeldByCopy || b.Left != 2 {
		t.Errorf("recovery %+v, belief %+v, want held by the copy with 2 left", rec, b)
	}
	for what, who := range map[string]Who{"a person": person, "a program": program, "with --virtual": freely} {
		if _, err := g.Debit(onCard, who, AuditMark{}); token.KindOf(err) != token.KindCardHeld {
			t.Errorf("%s: %v, want CARD_HELD", what, err)
		}
	}
	if err := g.Acknowledge(cardA, false, AuditMark{}); err != nil {
		t.Fatal(err)
	}
	if was, err := g.Lower(onCard, AuditMark{}); !was || err != nil { // as at each use
		t.Fatalf("Lower: %t, %v", was, err)
	}
	g, rec = open(t, yesterday)
	if b := g.Belief(pin(10)); rec.Copied != "" || b.State != token.CardLow || b.Left != 2 {
		t.Errorf("recovery %+v, belief %+v, want low with 2 left, also when the card is not asked", rec, b)
	}
}
