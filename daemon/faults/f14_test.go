package faults

import (
	"strings"
	"testing"
	"time"
)

func TestAWaitThatAClockShortensIsFound(t *testing.T) {
	steady := &clocks{wall: time.Now(), moves: func(t time.Time) time.Time { return t }}
	r, said := testRun(t)
	expected, err := playWaits(t.Context(), r, t.TempDir(), steady, 1)
	if err != nil {
		t.Fatal(err)
	}
	if want := "too early: INK-1013, 9 left, wait 1ms"; !strings.Contains(strings.Join(expected[0], "\n"), want) {
		t.Errorf("a round is\n%s\nwant %q in it", strings.Join(expected[0], "\n"), want)
	}
	// As if waits were counted by the clock that jumps.
	jumping := &clocks{wall: time.Now()}
	jumping.moves = func(now time.Time) time.Time {
		jumping.boot.Since += time.Hour
		return now.Add(time.Hour)
	}
	played, err := playWaits(t.Context(), r, t.TempDir(), jumping, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.compareRounds(expected[0], played); len(r.violations) == 0 {
		t.Errorf("nothing was found:\n%s", said)
	}
}
