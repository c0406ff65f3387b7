package pcscdtest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
)

// What the fault catalogue (package faults) and this package agree on: F8 and
// F9 are tests here, for they need a pcscd of their own and a process that has
// never used another. Without these variables a test does a small share.
const (
	tierVariable = "INKAN_FAULTS_TIER" // c, n or r
	seedVariable = "INKAN_FAULTS_SEED"
)

// catalogue is one class of faults being run, and its count. It may be used by
// several goroutines.
type catalogue struct {
	t      *testing.T
	tier   string // "" = a small share
	seed   uint64
	random *rand.Rand // for the goroutine of the test

	mu     sync.Mutex // guards the fields that follow
	faults int
	broken int
}

// newCatalogue begins a class. Its last line, "faults=N violations=V", is
// written when the test ends.
func newCatalogue(t *testing.T) *catalogue {
	t.Helper()
	c := &catalogue{t: t, tier: os.Getenv(tierVariable), seed: 1}
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if c.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
	}
	c.random = rand.New(rand.NewPCG(c.seed, 9))
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		fmt.Printf("faults=%d violations=%d\n", c.faults, c.broken)
	})
	return c
}

// pick returns the value for the tier.
func pick[T any](c *catalogue, share, commit, nightly, release T) T {
	switch c.tier {
	case "c":
		return commit
	case "n":
		return nightly
	case "r":
		return release
	}
	return share
}

// fault counts a fault that was really injected.
func (c *catalogue) fault() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults++
}

// note notes what is broken.
func (c *catalogue) note(where string, found []finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range found {
		c.broken++
		fmt.Printf("VIOLATION I%d %s: %s\n", f.invariant, where, f.text)
		c.t.Errorf("I%d: %s: %s", f.invariant, where, f.text)
	}
}

// finding is an invariant of the fault catalogue that does not hold.
type finding struct {
	invariant int
	text      string
}

func found(invariant int, format string, args ...any) finding {
	return finding{invariant, fmt.Sprintf(format, args...)}
}
