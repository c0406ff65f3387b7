package faults

import (
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon/faults/crashdisk"
	"github.com/inkan-project/inkan/daemon/faults/tracelog"
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
	if _, err := journalLosesPower(r, 1, 3, disk); err != nil {
		t.Fatal(err)
	}
	must(t, r, I1)
}

// withInkand gives a run the released program.
func withInkand(t *testing.T, r *Run) {
	t.Helper()
	r.Release = filepath.Join(t.TempDir(), "inkand")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", r.Release, "../cmd/inkand").CombinedOutput()
	if err != nil {
		t.Fatalf("building inkand: %v\n%s", err, out)
	}
}

func TestALogThatIsNotSyncedIsNoticed(t *testing.T) {
	r := quiet(t)
	withInkand(t, r)
	rec, err := record(t.Context(), r, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := databaseLosesPower(t.Context(), r, rec, 20); err != nil {
		t.Fatal(err)
	}
	if len(r.violations) > 0 {
		t.Errorf("violations: %s", r.violations[0])
	}
	rec.calls = slices.DeleteFunc(rec.calls, func(c tracelog.Call) bool {
		return c.Kind == tracelog.Sync && strings.HasSuffix(c.Path, ".db-wal")
	})
	if err := databaseLosesPower(t.Context(), r, rec, 50); err != nil {
		t.Fatal(err)
	}
	must(t, r, I9)
	must(t, r, I3)
}
