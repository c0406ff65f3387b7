// Package faults breaks inkand on purpose, in every way of the fault
// catalogue, and checks after each fault that nothing was lost that must not
// be: docs/testing.md says what the classes are.
//
// It guarantees that what it counts as a fault was really injected, and that a
// class which could not reach one of its faults fails. The referee is the
// virtual card's own truth log, never what inkand says. A caller runs it on a
// machine of its own: it kills, fills and pulls whatever it has started, and
// nothing else.
package faults

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Tier says how much is done (docs/testing.md).
type Tier string

// Tiers.
const (
	Commit  Tier = "c"
	Nightly Tier = "n"
	Release Tier = "r"
)

// Known reports whether t is one of the tiers.
func (t Tier) Known() bool { return t == Commit || t == Nightly || t == Release }

// Pick returns the value for the tier.
func Pick[T any](t Tier, commit, nightly, release T) T {
	switch t {
	case Nightly:
		return nightly
	case Release:
		return release
	case Commit:
	}
	return commit
}

// Invariant is what must hold after every fault.
type Invariant string

// Invariants of the fault catalogue.
const (
	I1  Invariant = "I1: no more secrets reached the card than tries were durable"
	I2  Invariant = "I2: never more tries are shown than the card has"
	I3  Invariant = "I3: what was released is what was recorded, and what the card signed"
	I4  Invariant = "I4: every intent ends as OK, FAILED or UNKNOWN"
	I5  Invariant = "I5: the log is whole"
	I6  Invariant = "I6: a card that is stopped here releases nothing"
	I7  Invariant = "I7: no secret is found outside of its page"
	I8  Invariant = "I8: it ends as documented, and a damaged file is kept"
	I9  Invariant = "I9: what was acknowledged survives"
	I10 Invariant = "I10: it serves again within two seconds"
	I11 Invariant = "I11: nobody keeps others from signing, and nothing is left of who has gone"
)

// Class is one kind of fault.
type Class struct {
	ID   string // "F1"
	Name string
	Run  func(context.Context, *Run) error
}

// Run is one class being run. Its methods may be used by many goroutines.
type Run struct {
	Tier    Tier
	Dir     string     // empty, this class's own, removed afterwards
	Daemon  string     // inkand with failpoints
	Release string     // inkand as it is released
	Random  *rand.Rand // of this class; the seed is printed
	Log     io.Writer

	mu         sync.Mutex // guards the fields that follow
	faults     int
	violations []string
}

// Fault counts a fault that was really injected.
func (r *Run) Fault() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults++
}

// Broken notes that an invariant does not hold.
func (r *Run) Broken(i Invariant, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprintf("%s: %s", i, fmt.Sprintf(format, args...))
	r.violations = append(r.violations, text)
	_, _ = fmt.Fprintln(r.Log, "  VIOLATION", text)
}

// Score is what a class found.
type Score struct {
	ID, Name           string
	Faults, Violations int
	Time               time.Duration
	Err                error // it could not do what it should
}

// Classes returns all classes, in their order.
func Classes() []Class {
	return []Class{
		{ID: "F1", Name: "kill -9 at each failpoint", Run: killAtPoints},
		{ID: "F2", Name: "kill at each write, sync and send", Run: killAtCalls},
		{ID: "F3", Name: "random kills under load", Run: killUnderLoad},
		{ID: "F4", Name: "power loss", Run: powerLoss},
		{ID: "F5", Name: "torn tails", Run: tornTails},
		{ID: "F6", Name: "bit rot", Run: bitRot},
		{ID: "F7", Name: "failing writes and syncs", Run: failingDisks},
		{ID: "F8", Name: "pcscd killed under load", Run: inTest(behindPCSCD, "TestF8")},
		{ID: "F9", Name: "readers and cards lost between commands", Run: inTest(behindPCSCD, "TestF9")},
		{ID: "F11", Name: "a thousand calls at once", Run: inTest(underLoad, "TestF11")},
		{ID: "F12", Name: "abuse of the socket", Run: inTest(underLoad, "TestF12")},
		{ID: "F14", Name: "clock jumps", Run: clockJumps},
		{ID: "F16", Name: "two inkand, copied and restored state", Run: twoDaemons},
	}
}

// Find returns the classes with these ids, all without any.
func Find(ids []string) ([]Class, error) {
	all := Classes()
	if len(ids) == 0 {
		return all, nil
	}
	var found []Class
	for _, id := range ids {
		i := slices.IndexFunc(all, func(c Class) bool { return c.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("there is no class %s", id)
		}
		found = append(found, all[i])
	}
	return found, nil
}

// String is the class's line on the scoreboard.
func (s Score) String() string {
	line := fmt.Sprintf("%-4s %-44s faults=%-7d violations=%-3d seconds=%.1f", s.ID, s.Name, s.Faults, s.Violations, s.Time.Seconds())
	if s.Err != nil {
		line += " error: " + s.Err.Error()
	}
	return line
}
