package faults

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/inkan-project/inkan/daemon/faults/counter"
)

func TestAFailureThatNobodyNoticesIsNoticed(t *testing.T) {
	r := quiet(t)
	silent := failure{name: "a failure that is not told"}
	if err := eachOperationFails(t.Context(), r, 1, silent); err != nil {
		t.Fatal(err)
	}
	must(t, r, I8)
	for _, f := range failures() {
		r := quiet(t)
		if err := eachOperationFails(t.Context(), r, 1, f); err != nil {
			t.Fatal(err)
		}
		if len(r.violations) > 0 {
			t.Errorf("%s: violations: %s", f.name, r.violations[0])
		}
	}
}

// A card that is locked by nobody's fault is no failed write: whoever takes
// any error for the right one is told.
func TestCallsAfterAFailureAreJudged(t *testing.T) {
	r := quiet(t)
	withInkand(t, r)
	dir := t.TempDir()
	h := &failingHouse{run: r, at: counter.Place{Dir: dir}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := h.start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Open(ctx); err != nil {
		t.Fatal(err)
	}
	for failed := error(nil); failed == nil; { // until the card is locked
		failed = c.Verify(ctx, false)
	}
	if _, err := h.use(ctx, c, "a locked card", 1); err != nil {
		t.Fatal(err)
	}
	must(t, r, I8) // not INK-5001
	must(t, r, I1) // the unlock code reached the card
	h.told[""] = 1
	_, _, err = c.Close(true)
	if err = errors.Join(err, h.checkBooks(ctx, filepath.Join(dir, "state"), "a signature nobody made")); err != nil {
		t.Fatal(err)
	}
	must(t, r, I3)
}
