package faults

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"github.com/inkan-project/inkan/daemon/faults/tally"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
)

func TestATornJournalIsJudgedByWhatWasAcknowledged(t *testing.T) {
	cases, err := tailsOfEachKind(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		r := quiet(t)
		c.start(r, c.image, "whole")
		torn := tears()[2].tear(r, c.image, c.used*slotSize-1, c.used*slotSize)
		if bytes.Equal(torn, c.image) { // the last byte of a hash is FF already
			torn = tears()[1].tear(r, c.image, c.used*slotSize-1, c.used*slotSize)
		}
		c.start(r, torn, "torn")
		if len(r.violations) > 0 {
			t.Errorf("violations: %s", r.violations[0])
		}
		// Had one more try reached the card than the journal has, each is seen.
		for _, pin := range tally.Accounts() {
			for range 2 {
				c.true.Debit(pin, pinguard.Who{})
				c.without.Debit(pin, pinguard.Who{})
			}
		}
		whole, damaged := quiet(t), quiet(t)
		c.start(whole, c.image, "whole")
		must(t, whole, I9)
		c.start(damaged, torn, "torn")
		if c.used > 1 { // a header that is torn is refused
			must(t, damaged, I2)
		}
	}
}

func TestADamagedDatabaseIsJudgedByWhatWasWritten(t *testing.T) {
	r := quiet(t)
	crashed, closed, err := dbCases(t.Context(), filepath.Join(r.Dir, "made"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*dbCase{crashed, closed} {
		if err := c.start(t.Context(), r, c, "whole"); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.violations) > 0 {
		t.Errorf("violations: %s", r.violations[0])
	}
	// A record, a card and a stop more than are there.
	for i, spoil := range map[Invariant]func(*facts){
		I5: func(f *facts) { f.Records[2].Detail = "another" },
		I6: func(f *facts) { f.Stopped = nil },
		I9: func(f *facts) { f.Cards[0].Keys = nil },
	} {
		r, other := quiet(t), *closed
		other.facts.Records, other.facts.Cards = slices.Clone(closed.facts.Records), slices.Clone(closed.facts.Cards)
		spoil(&other.facts)
		if err := other.start(t.Context(), r, closed, "whole"); err != nil {
			t.Fatal(err)
		}
		must(t, r, i)
	}
}
