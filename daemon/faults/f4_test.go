package faults

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon/faults/crashdisk"
)

// quiet returns a run that tells nobody.
func quiet(t *testing.T) *Run {
	t.Helper()
	return &Run{Tier: Commit, Dir: t.TempDir(), Random: rand.New(rand.NewPCG(1, 2)), Log: io.Discard}
}

// must fails the test unless a violation of i was counted.
func must(t *testing.T, r *Run, i Invariant) {
	t.Helper()
	for _, v := range r.violations {
		if strings.HasPrefix(v, string(i)) {
			return
		}
	}
	t.Errorf("nothing of %q was noted in %d violations", i, len(r.violations))
}

func TestAJournalKeepsWhatWasSynced(t *testing.T) {
	r := quiet(t)
	if _, err := journalLosesPower(r, 1, playSteps, crashdisk.New()); err != nil {
		t.Fatal(err)
	}
	if len(r.violations) > 0 {
		t.Errorf("violations: %s", r.violations[0])
	}
}

func TestADiskThatDoesNotSyncIsNoticed(t *testing.T) {
	r := quiet(t)
	disk := crashdisk.New()
	disk.Forgets = true
	if _, err := journalLosesPower(r, 1, 6, disk); err != nil {
		t.Fatal(err)
	}
	must(t, r, I1)
}
