package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/inkan-project/inkan/daemon/faults/house"
	"github.com/inkan-project/inkan/daemon/internal/failpoint"
)

// The scenes of F1 are in f1scenes.go.

// killAtPoints is F1: each scene is rehearsed to see which failpoints it hits
// and how often; then it is played once for each point that it must hit, in a
// new house, and inkand dies there.
func killAtPoints(ctx context.Context, r *Run) error {
	var mu sync.Mutex // guards missed and number
	var missed []string
	number := 0
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.NumCPU())
	for seed := range Pick(r.Tier, 1, 3, 10) {
		for _, s := range scenes(r.Tier) {
			warm, pick := 0, uint64(0) // of the first seed: the first hit in a new house
			if seed > 0 {
				warm, pick = r.Random.IntN(3), r.Random.Uint64()
			}
			if s.firstOnly() {
				warm = 0
			}
			dir := func() string {
				mu.Lock()
				defer mu.Unlock()
				number++
				return filepath.Join(r.Dir, fmt.Sprint(number))
			}
			s.warm = warm
			work.Go(func() error {
				gone, err := s.killEverywhere(ctx, r, dir, pick)
				mu.Lock()
				defer mu.Unlock()
				missed = append(missed, gone...)
				if err != nil {
					return fmt.Errorf("%s, seed %d: %w", s, seed, err)
				}
				return nil
			})
		}
	}
	if err := work.Wait(); err != nil {
		return err
	}
	if len(missed) > 0 {
		slices.Sort(missed)
		return fmt.Errorf("points that were not reached: %s", strings.Join(missed, ", "))
	}
	return nil
}

// killEverywhere rehearses a scene and kills inkand at each of its points.
func (s scene) killEverywhere(ctx context.Context, r *Run, dir func() string, pick uint64) (missed []string, err error) {
	before, during, err := s.rehearse(ctx, r, dir())
	if err != nil {
		return nil, fmt.Errorf("rehearsing: %w", err)
	}
	for _, p := range s.points {
		point := string(p)
		if during[point] == 0 {
			missed = append(missed, fmt.Sprintf("%s at %s", s, point))
			continue
		}
		nth := before[point] + 1 + int(pick%uint64(during[point]))
		killed, err := s.kill(ctx, r, dir(), fmt.Sprintf("%s:%d", point, nth))
		if err != nil {
			return missed, fmt.Errorf("killing at %s:%d: %w", point, nth, err)
		}
		if !killed {
			missed = append(missed, fmt.Sprintf("%s at %s:%d", s, point, nth))
		}
	}
	return missed, nil
}

// play does the scene up to its last act in a house where inkand was just
// started, and then the act.
func (s scene) play(ctx context.Context, h *house.House, beforeAct func() error) error {
	v, err := h.Visit(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	for range s.warm {
		if err := v.Sign(ctx, "9e", ""); err != nil && !s.card.Behaviour.Silent {
			return fmt.Errorf("a signature before: %w", err)
		}
	}
	if s.act.first != nil {
		if err := s.act.first(ctx, v); err != nil {
			return fmt.Errorf("what comes before: %w", err)
		}
	}
	if err := beforeAct(); err != nil || s.act.boot {
		return err
	}
	if err := s.act.do(ctx, v, s.card); err != nil && !house.IsCut(err) && !s.refusal(err) {
		return fmt.Errorf("the act ended with: %w", err)
	}
	return nil
}

// crash is what a recovery recovers from: the card has a PIN and nobody knows
// its verdict.
func (s scene) crash(ctx context.Context, r *Run, h *house.House) error {
	if !s.act.boot || s.act.do == nil {
		return nil
	}
	p, err := h.Start(ctx, r.Daemon, "INKAN_FAILPOINT="+string(failpoint.SecretSent))
	if err != nil {
		return err
	}
	defer p.Kill()
	v, err := h.Visit(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	if err := s.act.do(ctx, v, s.card); !house.IsCut(err) {
		return fmt.Errorf("the crash before it did not come: %w", err)
	}
	if err := p.Wait(ctx, killTime); err != nil {
		return err
	}
	return h.Look()
}

// rehearse counts the hits of each point before the act and by it.
func (s scene) rehearse(ctx context.Context, r *Run, dir string) (before, during map[string]int, err error) {
	h, err := house.New(s.options(dir))
	if err != nil {
		return nil, nil, err
	}
	if err := s.crash(ctx, r, h); err != nil {
		return nil, nil, err
	}
	trace := filepath.Join(dir, "trace")
	p, err := h.Start(ctx, r.Daemon, "INKAN_FAILPOINT_TRACE="+trace)
	if err != nil {
		return nil, nil, err
	}
	defer p.Kill()
	if p.Ready == 0 {
		return nil, nil, fmt.Errorf("inkand did not start: %s", p.Said())
	}
	err = s.play(ctx, h, func() (err error) {
		if !s.act.boot {
			before, err = hits(trace)
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if code := p.Stop(ctx); code != 0 { // what runs after the answer is done then
		return nil, nil, fmt.Errorf("inkand stopped with %d: %s", code, p.Said())
	}
	all, err := hits(trace)
	if err != nil {
		return nil, nil, err
	}
	during = map[string]int{}
	for point, n := range all {
		during[point] = n - before[point]
	}
	for _, point := range stopPoints() { // a stop of the service has its record
		during[point]--
	}
	return before, during, h.Remove()
}

// stopPoints are hit once by an orderly stop.
func stopPoints() []string {
	return []string{string(failpoint.MarkAlone), string(failpoint.EventAlone)}
}

// hits counts the lines of a trace.
func hits(trace string) (map[string]int, error) {
	text, err := os.ReadFile(trace)
	if err != nil {
		return nil, err
	}
	n := map[string]int{}
	for point := range strings.FieldsSeq(string(text)) {
		n[point]++
	}
	return n, nil
}

// killTime is how soon inkand must have died at its point.
const killTime = 10 * time.Second

// kill plays the scene with a failpoint and checks what is left. It returns
// false where inkand did not die.
func (s scene) kill(ctx context.Context, r *Run, dir, at string) (bool, error) {
	h, err := house.New(s.options(dir))
	if err != nil {
		return false, err
	}
	if err := s.crash(ctx, r, h); err != nil {
		return false, err
	}
	p, err := h.Start(ctx, r.Daemon, "INKAN_FAILPOINT="+at)
	if err != nil {
		return false, err
	}
	defer p.Kill()
	if !s.act.boot {
		if p.Ready == 0 {
			return false, fmt.Errorf("inkand died before the act: %s", p.Said())
		}
		if err := s.play(ctx, h, func() error { return nil }); err != nil {
			return false, err
		}
	}
	if err := p.Wait(ctx, killTime); err != nil || !p.Killed() {
		return false, ctx.Err()
	}
	r.Fault()
	return true, r.comeBack(ctx, h, fmt.Sprintf("%s, %d before, INKAN_FAILPOINT=%s", s, s.warm, at))
}

// comeBack starts inkand after a fault, checks everything, signs once and
// stops it.
func (r *Run) comeBack(ctx context.Context, h *house.House, where string) error {
	c, err := h.Return(ctx, r.Release)
	if err != nil {
		return fmt.Errorf("coming back: %w", err)
	}
	defer c.Kill()
	if c.Ready > 0 {
		found, err := h.Use(ctx, c.Card)
		if err == nil {
			c.Findings = append(c.Findings, found...)
			err = h.Leave(ctx, &c)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("using the card afterwards: %w", err), errors.New(c.Said()))
		}
	}
	r.report(where, c.Findings)
	return h.Remove()
}

// report notes the invariants that a house found broken.
func (r *Run) report(where string, found house.Findings) {
	all := []Invariant{I1, I2, I3, I4, I5, I6, I7, I8, I9, I10}
	for _, f := range found {
		r.Broken(all[f.Invariant-1], "%s: %s", where, f.Text)
	}
}
