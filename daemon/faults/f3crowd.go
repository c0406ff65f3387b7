package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon/faults/house"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
)

// crowd is several callers of one inkand until it is killed.
type crowd struct {
	house *house.House
	until <-chan time.Time
	kill  func()

	pins sync.RWMutex // held for writing while the PIN is changed
	// stops is odd from when a stop was acknowledged until a lift begins.
	stops atomic.Int64

	mu    sync.Mutex // guards found
	found house.Findings
}

// live lets everybody call until inkand is killed, and waits for their ends.
func (w *crowd) live(ctx context.Context, random *rand.Rand) (house.Findings, error) {
	var all []*house.Visitor
	defer func() {
		for _, v := range all {
			v.Close()
		}
	}()
	for range crowdSize {
		v, err := w.house.Visit(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	var calls sync.WaitGroup
	for i, v := range all {
		own := rand.New(rand.NewPCG(random.Uint64(), random.Uint64())) //nolint:gosec // faults need no secrecy
		calls.Go(func() {
			for !house.IsGone(w.call(ctx, v, own, i == 0)) && ctx.Err() == nil {
			}
		})
	}
	select {
	case <-w.until:
	case <-ctx.Done():
	}
	w.kill()
	calls.Wait()
	return w.found, ctx.Err()
}

// call does anything. Only the keeper changes the PIN, stops and lifts: what
// the card then has must be known.
func (w *crowd) call(ctx context.Context, v *house.Visitor, random *rand.Rand, keeper bool) error {
	if keeper {
		switch random.IntN(6) {
		case 0:
			return w.changePIN(ctx, v, random)
		case 1:
			return w.stopAndLift(ctx, v)
		case 2:
			return w.wrong(ctx, v, random)
		}
	}
	slots := []string{"9a", "9c", "9e"}
	w.pins.RLock()
	defer w.pins.RUnlock()
	before := w.stops.Load()
	if random.IntN(5) == 0 {
		return v.Verify(ctx, w.house.PINs()[0])
	}
	err := v.Sign(ctx, slots[random.IntN(len(slots))], w.house.PINs()[0])
	if err == nil && before%2 == 1 && w.stops.Load() == before {
		w.broken(6, "a card signed after its stop was acknowledged")
	}
	return err
}

func (w *crowd) broken(invariant int, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found = append(w.found, house.Finding{Invariant: invariant, Text: text})
}

// changePIN changes the PIN, by the unlock code each second time.
func (w *crowd) changePIN(ctx context.Context, v *house.Visitor, random *rand.Rand) error {
	w.pins.Lock()
	defer w.pins.Unlock()
	next := fmt.Sprintf("%d", 41_000_000+random.IntN(900_000)*7)
	if random.IntN(2) == 0 {
		return v.Unlock(ctx, pivcard.DemoUnlockCode, next)
	}
	return v.Change(ctx, w.house.PINs()[0], next)
}

// wrong enters a wrong PIN: six digits, which the right one never has.
func (w *crowd) wrong(ctx context.Context, v *house.Visitor, random *rand.Rand) error {
	w.pins.RLock()
	defer w.pins.RUnlock()
	return v.Verify(ctx, fmt.Sprintf("%06d", 700_000+random.IntN(100_000)))
}

// stopAndLift stops the card, sees that it signs no more, and lifts the stop.
func (w *crowd) stopAndLift(ctx context.Context, v *house.Visitor) error {
	if err := v.StopHere(ctx); err != nil {
		return err
	}
	w.stops.Add(1)
	err := v.Sign(ctx, "9e", "")
	w.stops.Add(1)
	if err == nil || !house.IsCut(err) && !errors.Is(err, client.ErrCardStoppedHere) {
		w.broken(6, fmt.Sprintf("right after a stop was acknowledged a signature ended with: %v", err))
	}
	if house.IsCut(err) {
		return err
	}
	return v.Lift(ctx)
}
