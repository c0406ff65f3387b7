package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon/faults/house"
)

// Exit codes that a second inkand may end with (inkand --help).
const (
	exitOtherState = 75 // the state directory is in use
	exitSocket     = 73 // the socket is
)

// twoDaemons is F16: two inkand at once on one state directory or one socket,
// what a dead one left, and copied state directories.
func twoDaemons(ctx context.Context, r *Run) error {
	races := []race{
		{name: "one state directory", code: exitOtherState, says: "INK-5004"},
		{name: "one state directory, after a kill", code: exitOtherState, says: "INK-5004", before: killed},
		{name: "one state directory, with a lock file of nobody", code: exitOtherState, says: "INK-5004", before: strangeLock},
		{name: "one socket", code: exitSocket, says: "INK-5013", apart: true},
	}
	for n := range Pick(r.Tier, 20, 100, 1000) {
		t := races[n%len(races)]
		if err := t.run(ctx, r, filepath.Join(r.Dir, fmt.Sprint("race", n))); err != nil {
			return fmt.Errorf("race %d, %s: %w", n, t.name, err)
		}
	}
	for n := range Pick(r.Tier, 2, 20, 100) {
		for _, c := range copies() {
			if err := c.run(ctx, r, filepath.Join(r.Dir, fmt.Sprint(strings.ReplaceAll(c.name, " ", "-"), n))); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// race is two inkand that start at once.
type race struct {
	name   string
	before func(context.Context, *Run, *house.House) error // nil = the house is new
	apart  bool                                            // each has a state directory of its own
	code   int                                             // the loser ends with this
	says   string                                          // and says this
}

func (t race) run(ctx context.Context, r *Run, dir string) error {
	h, err := house.New(house.Options{Dir: dir})
	if err != nil {
		return err
	}
	other := h
	if t.apart {
		if other, err = house.New(house.Options{Dir: filepath.Join(dir, "other"), Sockets: dir}); err != nil {
			return err
		}
	}
	if t.before != nil {
		if err := t.before(ctx, r, h); err != nil {
			return err
		}
	}
	houses := []*house.House{h, other}
	if r.Random.IntN(2) == 0 {
		houses[0], houses[1] = houses[1], houses[0]
	}
	var all []*house.Process
	defer func() {
		for _, p := range all {
			p.Kill()
		}
	}()
	for _, at := range houses {
		p, err := at.Launch(ctx, r.Release)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	r.Fault()
	for _, p := range all {
		if err := p.Await(ctx); err != nil {
			return err
		}
	}
	return t.judge(ctx, r, houses, all)
}

// judge checks that exactly one of two lives, that the other said why, and that
// the one that lives is served by its socket.
func (t race) judge(ctx context.Context, r *Run, houses []*house.House, all []*house.Process) error {
	won := 0
	if all[0].Ready == 0 {
		won = 1
	}
	winner, loser := all[won], all[1-won]
	switch {
	case winner.Ready == 0:
		r.Broken(I8, "%s: neither lives: exit codes %d and %d: %s", t.name, winner.ExitCode(), loser.ExitCode(), winner.Said())
		return nil
	case loser.Ready > 0:
		r.Broken(I8, "%s: both live", t.name)
		return nil
	case loser.ExitCode() != t.code || !strings.Contains(loser.Said(), t.says):
		r.Broken(I8, "%s: the loser ended with %d, want %d: %s", t.name, loser.ExitCode(), t.code, loser.Said())
	}
	c := house.Comeback{Process: winner}
	found, err := houses[won].UseNow(ctx)
	if err != nil {
		r.Broken(I8, "%s: the one that lives does not answer: %v", t.name, err)
		return nil
	}
	c.Findings = found
	if err := houses[won].Leave(ctx, &c); err != nil {
		return err
	}
	r.report(t.name, c.Findings)
	return errors.Join(houses[0].Remove(), houses[1].Remove())
}

// killed leaves what a killed inkand leaves: sockets and a lock file.
func killed(ctx context.Context, r *Run, h *house.House) error {
	p, err := h.Start(ctx, r.Release)
	if err != nil {
		return err
	}
	p.Kill()
	if _, err := os.Lstat(h.Socket()); err != nil {
		return fmt.Errorf("the killed inkand left no socket: %w", err)
	}
	return nil
}

// strangeLock leaves a lock file that says what is not so.
func strangeLock(_ context.Context, _ *Run, h *house.House) error {
	return os.WriteFile(filepath.Join(h.State(), "lock"), []byte("pid 1 boot of-another-time, and more than one line\nof it\n"), 0o600)
}

// heldByCopy checks that a card of a copied state directory spends no try
// until it is acknowledged, and that this is asked for once.
func (r *Run) heldByCopy(ctx context.Context, h *house.House, where string) error {
	return errors.Join(r.startOfCopy(ctx, h, where, true), r.startOfCopy(ctx, h, where, false))
}

// startOfCopy is the first or a later start in a copied state directory.
func (r *Run) startOfCopy(ctx context.Context, h *house.House, where string, first bool) error {
	c, err := h.Return(ctx, r.Release)
	if err != nil {
		return err
	}
	defer c.Kill()
	if c.Ready > 0 {
		if err := errors.Join(r.acknowledgeCopy(ctx, h, &c, first), h.Leave(ctx, &c)); err != nil {
			return err
		}
	}
	r.report(where, c.Findings)
	return nil
}

// acknowledgeCopy does it: a first start holds the card, a later one does not.
func (r *Run) acknowledgeCopy(ctx context.Context, h *house.House, c *house.Comeback, first bool) error {
	v, err := h.Visit(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	broken := func(format string, args ...any) {
		c.Findings = append(c.Findings, house.Finding{Invariant: 2, Text: fmt.Sprintf(format, args...)})
	}
	if first {
		before, err := h.Truth()
		if err != nil {
			return err
		}
		for _, use := range []func() error{
			func() error { return v.Sign(ctx, "9a", h.PINs()[0]) },
			func() error { return v.Verify(ctx, wrongPIN) },
			func() error { return v.Unlock(ctx, wrongCode, newPIN) },
		} {
			if err := use(); !errors.Is(err, client.ErrCardHeld) {
				broken("a try in a copied state directory ended with: %v", err)
			}
		}
		if after, err := h.Truth(); err != nil || after.Verifies+after.UnlockVerifies != before.Verifies+before.UnlockVerifies {
			broken("the card saw a secret before the copy was acknowledged (%v)", err)
		}
		_, service, err := v.Status(ctx)
		if err != nil {
			return err
		}
		said := false
		for _, notice := range service.GetNotices() {
			said = said || notice.GetCode() == "INK-5015"
		}
		if !said {
			broken("nobody is told that the state directory is a copy")
		}
		if err := v.Acknowledge(ctx, "it was restored"); err != nil {
			broken("acknowledging the copy ended with: %v", err)
		}
	}
	if err := v.Sign(ctx, "9a", h.PINs()[0]); err != nil {
		broken("after the copy was acknowledged a signature ended with: %v", err)
	}
	return nil
}
