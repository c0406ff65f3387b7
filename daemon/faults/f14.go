package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/inkan-project/inkan/daemon/faults/house"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
)

// clockJumps is F14: between any two calls the clock of the PC jumps by a second
// to 50 years, forth and back, into any zone and to dates that break programs.
// Tries, waits and refusals must be those of a PC whose clock is steady.
func clockJumps(ctx context.Context, r *Run) error {
	steady := &clocks{wall: time.Now(), moves: func(t time.Time) time.Time { return t }}
	expected, err := playWaits(ctx, r, filepath.Join(r.Dir, "steady"), steady, 1)
	if err != nil {
		return fmt.Errorf("with a steady clock: %w", err)
	}
	jumping := &clocks{wall: time.Now(), moves: func(t time.Time) time.Time {
		r.Fault()
		return jump(r.Random, t)
	}}
	rounds := Pick(r.Tier, 1000, 1000, 10_000)/(2*len(expected[0])) + 1 // a jump before each look
	played, err := playWaits(ctx, r, filepath.Join(r.Dir, "jumping"), jumping, rounds)
	if err != nil {
		return fmt.Errorf("with a clock that jumps: %w", err)
	}
	r.compareRounds(expected[0], played)
	return r.otherZones(ctx)
}

// compareRounds checks that the same was seen in each round.
func (r *Run) compareRounds(expected []string, played [][]string) {
	for n, round := range played {
		if !slices.Equal(round, expected) {
			r.Broken(I2, "round %d: with a clock that jumps\n    %s\n  with a steady one\n    %s",
				n, strings.Join(round, "\n    "), strings.Join(expected, "\n    "))
		}
	}
}

// jump moves a clock.
func jump(random *rand.Rand, t time.Time) time.Time {
	const year = 365 * 24 * time.Hour
	zones := []*time.Location{time.UTC, time.FixedZone("JST", 9*3600), time.FixedZone("", -12*3600), time.FixedZone("", 14*3600)}
	dates := []time.Time{
		time.Unix(1<<31-1, 999_999_999), time.Unix(1<<31, 0), // a signed 32-bit clock ends
		time.Unix(0, 0), time.Unix(-1, 0), time.Unix(1<<32, 0),
		time.Date(2028, 2, 29, 23, 59, 59, 0, time.UTC), time.Date(2016, 12, 31, 23, 59, 59, 999_999_999, time.UTC), // leap day, leap second
	}
	zone := zones[random.IntN(len(zones))]
	if random.IntN(8) == 0 {
		return dates[random.IntN(len(dates))].In(zone)
	}
	by := time.Second << random.IntN(31) // up to 34 years
	by += time.Duration(random.Int64N(int64(by)))
	by = min(by, 50*year)
	if random.IntN(2) == 0 {
		by = -by
	}
	// Never so far from today that it cannot be written in nanoseconds.
	if t = t.Add(by); t.Before(time.Unix(0, 0).Add(-50*year)) || t.After(time.Now().Add(100*year)) {
		t = time.Now().Add(by)
	}
	return t.In(zone)
}

// clocks are those of a PC: the wall clock, which jumps, and the one that waits
// are counted by, which only a test moves.
type clocks struct {
	moves func(time.Time) time.Time

	mu   sync.Mutex // guards the fields that follow
	wall time.Time
	boot pinguard.Boot
}

func (c *clocks) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *clocks) since() pinguard.Boot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boot
}

// move makes the wall clock jump.
func (c *clocks) move() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.moves(c.wall)
}

// pass lets time pass.
func (c *clocks) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boot.Since += d
	c.wall = c.wall.Add(d)
}

// reboot begins another boot.
func (c *clocks) reboot() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boot.ID[0]++
	c.boot.Since = time.Minute
}

// otherZones uses inkand as a process in other time zones, one of which is none.
func (r *Run) otherZones(ctx context.Context) error {
	for n, zone := range []string{"Asia/Tokyo", "America/St_Johns", "Nowhere/Atall", "<+14>-14", ":"} {
		h, err := house.New(house.Options{Dir: filepath.Join(r.Dir, fmt.Sprint("zone", n))})
		if err != nil {
			return err
		}
		p, err := h.Start(ctx, r.Release, "TZ="+zone)
		if err != nil {
			return err
		}
		r.Fault()
		c := house.Comeback{Process: p}
		if p.Ready == 0 {
			r.Broken(I8, "TZ=%s: inkand ended with %d: %s", zone, p.ExitCode(), p.Said())
			continue
		}
		found, err := h.UseNow(ctx)
		c.Findings = found
		err = errors.Join(err, h.Leave(ctx, &c))
		p.Kill()
		if err != nil {
			return fmt.Errorf("TZ=%s: %w", zone, err)
		}
		r.report("TZ="+zone, c.Findings)
	}
	return nil
}
