package faults

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/failpoint"
)

// mistakes are what the mutant does wrong: each a file below daemon, and what
// stands there in the place of what.
func mistakes() [][3]string {
	return [][3]string{
		{
			"internal/pinguard/journal.go", // a try is spent without being written down
			"if _, err := j.file.WriteAt(b, at); err != nil {",
			"if s.kind == kindDebit {\n} else if _, err := j.file.WriteAt(b, at); err != nil {",
		},
		{
			"internal/broker/operation.go", // a signature is released without a record
			"	if outcome == nil && op.releases {",
			"	if outcome == nil && op.releases && attempt == nil {\n		op.done = intent.Sequence\n		return nil\n	}\n	if outcome == nil && op.releases {",
		},
		{
			"state.go", // two may hold the lock
			"syscall.LOCK_EX|syscall.LOCK_NB", "syscall.LOCK_SH|syscall.LOCK_NB",
		},
	}
}

// buildMutant makes an inkand with the mistakes.
func buildMutant(t *testing.T, tags string) string {
	t.Helper()
	dir := t.TempDir()
	replaced := map[string]string{}
	for i, m := range mistakes() {
		path, err := filepath.Abs(filepath.Join("..", m[0]))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte(m[1])) {
			t.Fatalf("%s has no %q any more", m[0], m[1])
		}
		replaced[path] = filepath.Join(dir, string(rune('a'+i))+".go")
		if err := os.WriteFile(replaced[path], bytes.Replace(text, []byte(m[1]), []byte(m[2]), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return buildWith(t, tags, "-overlay", filepath.Join(dir, "overlay.json"))
}

func buildWith(t *testing.T, tags string, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "inkand")
	args := slices.Concat([]string{"build", "-trimpath", "-buildvcs=false", "-tags", tags, "-o", path}, flags, []string{"../cmd/inkand"})
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
		t.Fatalf("building inkand: %v\n%s", err, out)
	}
	return path
}

// wantBroken checks that an invariant was found broken.
func wantBroken(t *testing.T, r *Run, want Invariant) {
	t.Helper()
	if r.faults == 0 {
		t.Error("no fault was injected")
	}
	if !slices.ContainsFunc(r.violations, func(v string) bool { return strings.HasPrefix(v, string(want)) }) {
		t.Errorf("want %q broken, found %q", want, r.violations)
	}
}

func TestAMistakeIsFoundByEachClassThatKills(t *testing.T) {
	release, mutant, mutantWithPoints := buildWith(t, ""), buildMutant(t, ""), buildMutant(t, "faults")
	t.Run("F1", func(t *testing.T) {
		r, _ := testRun(t)
		r.Daemon, r.Release = mutantWithPoints, release
		s := sceneOf(t, "sign-9a", "right", failpoint.SecretSent)
		missed, err := s.killEverywhere(t.Context(), r, func() string { return filepath.Join(t.TempDir(), "house") }, 0)
		if err != nil || len(missed) > 0 {
			t.Fatalf("%v, missed %v", err, missed)
		}
		wantBroken(t, r, I1)
	})
	t.Run("F1 misses what is not reached", func(t *testing.T) {
		r, _ := testRun(t)
		r.Daemon, r.Release = mutantWithPoints, release
		s := sceneOf(t, "sign-9e", "right", failpoint.SecretSent) // it sends no PIN
		missed, err := s.killEverywhere(t.Context(), r, func() string { return filepath.Join(t.TempDir(), "house") }, 0)
		if err != nil || len(missed) != 1 || r.faults != 0 {
			t.Errorf("missed %v, %v, %d faults; want one missed and no fault", missed, err, r.faults)
		}
	})
	t.Run("F2", func(t *testing.T) {
		r, _ := testRun(t)
		r.Release = mutant
		// The VERIFY, which is synced before the card compares.
		at := target{kind: "fdatasync state/virtual-card/truth.jsonl", nth: 1, after: true}
		if what, err := r.killAtCall(t.Context(), filepath.Join(r.Dir, "house"), at); err != nil || what != at.kind {
			t.Fatalf("killed at %q, %v", what, err)
		}
		wantBroken(t, r, I1)
	})
	t.Run("F3", func(t *testing.T) {
		r, _ := testRun(t)
		r.Release = mutant
		_ = r.crowdedHouse(t.Context(), filepath.Join(r.Dir, "house"), 3, r.Random) // how it ends is up to the mutant
		if r.faults == 0 || len(r.violations) == 0 {
			t.Errorf("%d faults, found %q", r.faults, r.violations)
		}
	})
	t.Run("F16", func(t *testing.T) {
		r, _ := testRun(t)
		r.Release = mutant
		race := race{name: "one state directory", code: exitOtherState, says: "INK-5004"}
		if err := race.run(t.Context(), r, filepath.Join(r.Dir, "house")); err != nil {
			t.Fatal(err)
		}
		wantBroken(t, r, I8)
	})
}

// sceneOf returns a scene with these points alone.
func sceneOf(t *testing.T, act, card string, at ...failpoint.Point) scene {
	t.Helper()
	for _, s := range scenes(Nightly) {
		if s.act.name == act && s.card.name == card {
			s.points = at
			return s
		}
	}
	t.Fatalf("there is no %s with a %s card", act, card)
	return scene{}
}
