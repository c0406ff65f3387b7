package faults

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/inkan-project/inkan/daemon/faults/house"
)

// Sizes of F3.
const (
	crowdSize   = 6  // callers at once
	houseKills  = 20 // then the crowd moves on: a truth log is read whole
	leastUptime = 20 * time.Millisecond
	mostUptime  = 2 * time.Second
	startTime   = 60 * time.Millisecond // about as long as a start takes
)

// killUnderLoad is F3: a crowd signs, verifies, changes PINs, stops and lifts,
// and inkand is killed at any moment, also while it starts.
func killUnderLoad(ctx context.Context, r *Run) error {
	kills := Pick(r.Tier, 50, 500, 10_000)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.NumCPU())
	for first := 0; first < kills; first += houseKills {
		own := rand.New(rand.NewPCG(r.Random.Uint64(), r.Random.Uint64())) //nolint:gosec // faults need no secrecy
		work.Go(func() error {
			dir := filepath.Join(r.Dir, fmt.Sprint(first))
			if err := r.crowdedHouse(ctx, dir, min(houseKills, kills-first), own); err != nil {
				return fmt.Errorf("house %d: %w", first, err)
			}
			return nil
		})
	}
	return work.Wait()
}

// crowdedHouse kills inkand in one house again and again.
func (r *Run) crowdedHouse(ctx context.Context, dir string, kills int, random *rand.Rand) error {
	h, err := house.New(house.Options{Dir: dir, Crowd: true})
	if err != nil {
		return err
	}
	where := "the start"
	for n := 0; ; n++ {
		c, err := h.Return(ctx, r.Release)
		if err != nil {
			return fmt.Errorf("coming back from %s: %w", where, err)
		}
		done, err := r.aliveUntilKilled(ctx, h, &c, random, &where, n == kills)
		c.Kill()
		r.report(filepath.Base(dir)+", "+where, c.Findings)
		if err != nil || done {
			return errors.Join(err, h.Remove())
		}
		r.Fault()
		where = fmt.Sprintf("kill %d", n) + where
		// Every third time the next start is killed, too.
		if n+1 < kills && random.IntN(3) == 0 {
			n++
			if err := r.killStart(ctx, h, random); err != nil {
				return err
			}
			where += " and one while it started"
		}
	}
}

// aliveUntilKilled checks inkand after its start, lets the crowd in and kills
// it, or leaves in order where it is the last time.
func (r *Run) aliveUntilKilled(ctx context.Context, h *house.House, c *house.Comeback, random *rand.Rand, where *string, last bool) (done bool, err error) {
	if c.Ready == 0 {
		return true, nil // it is a finding
	}
	if err := h.Free(ctx, c); err != nil {
		return false, fmt.Errorf("after %s: %w", *where, err)
	}
	found, err := h.Use(ctx, c.Card)
	if err != nil {
		return false, fmt.Errorf("using the card after %s: %w", *where, err)
	}
	c.Findings = append(c.Findings, found...)
	if last {
		return true, h.Leave(ctx, c)
	}
	r.report(*where, c.Findings)
	c.Findings = nil
	uptime := anyUptime(random)
	*where = fmt.Sprintf(" after %v", uptime)
	w := crowd{house: h, until: time.After(uptime), kill: c.Kill}
	found, err = w.live(ctx, random)
	c.Findings = found
	return false, err
}

// anyUptime is as likely to be below 200 ms as above.
func anyUptime(random *rand.Rand) time.Duration {
	span := math.Log(float64(mostUptime) / float64(leastUptime))
	return time.Duration(float64(leastUptime) * math.Exp(random.Float64()*span))
}

// killStart kills inkand while it starts or recovers.
func (r *Run) killStart(ctx context.Context, h *house.House, random *rand.Rand) error {
	if err := h.Look(); err != nil {
		return err
	}
	p, err := h.Launch(ctx, r.Release)
	if err != nil {
		return err
	}
	select {
	case <-time.After(time.Duration(random.Int64N(int64(startTime)))):
	case <-ctx.Done():
	}
	p.Kill()
	r.Fault()
	return ctx.Err()
}
