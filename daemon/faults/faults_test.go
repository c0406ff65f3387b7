package faults

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// testRun is a run of a class in a test, and what it says.
func testRun(t *testing.T) (*Run, *bytes.Buffer) {
	t.Helper()
	said := &bytes.Buffer{}
	return &Run{Tier: Commit, Dir: t.TempDir(), Random: rand.New(rand.NewPCG(1, 2)), Log: said}, said
}
