package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"

	"github.com/inkan-project/inkan/daemon/faults/crashdisk"
	"github.com/inkan-project/inkan/daemon/faults/tally"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// failingDisks is F7: each write and each sync fails once.
func failingDisks(ctx context.Context, r *Run) error {
	for range Pick(r.Tier, 10, 100, 1_000) {
		seed := r.Random.Uint64()
		for _, f := range failures() {
			if err := eachOperationFails(ctx, r, seed, f); err != nil {
				return fmt.Errorf("seed %d, %s: %w", seed, f.name, err)
			}
		}
	}
	if err := callsFail(ctx, r); err != nil {
		return err
	}
	return smallDisks(ctx, r)
}

// failure is how an operation fails.
type failure struct {
	name  string
	err   error
	short bool // a write writes some of it all the same
}

func failures() []failure {
	return []failure{
		{"EIO", syscall.EIO, false},
		{"ENOSPC", syscall.ENOSPC, false},
		{"EDQUOT", syscall.EDQUOT, false},
		{"EROFS", syscall.EROFS, false},
		{"EINTR", syscall.EINTR, false},
		{"a short write", syscall.ENOSPC, true},
	}
}

// failSteps is how long a play is in which one operation fails.
const failSteps = 24

// eachOperationFails plays the same steps again and again; each time the next
// operation on the journal fails.
func eachOperationFails(ctx context.Context, r *Run, seed uint64, f failure) error {
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := failingPlay{run: r, failure: f, at: n, disk: crashdisk.New(), where: fmt.Sprintf("seed %d, operation %d fails with %s", seed, n, f.name)}
		if !p.play(seed) {
			if n < failSteps {
				return fmt.Errorf("there are only %d operations", n)
			}
			return nil
		}
	}
}

// failingPlay is a play in which one operation fails.
type failingPlay struct {
	run     *Run
	failure failure
	at      int // operation that fails
	where   string
	disk    *crashdisk.Disk
	done    int // operations so far
	player  *tally.Player
}

// play reports whether the operation was reached.
func (p *failingPlay) play(seed uint64) (failed bool) {
	p.disk.Before = func(operation, _ string) error {
		if p.done++; p.done != p.at {
			return nil
		}
		p.run.Fault()
		return p.failure.err
	}
	if p.failure.short {
		p.disk.Short = func(length int) int { return length / 2 }
	}
	p.player = tally.NewPlayer(nil, rand.New(rand.NewPCG(seed, 7))) //nolint:gosec // faults need no secrecy
	sent := 0
	p.player.Sent = func(tally.Account) { sent++ }
	var err error
	p.player.Guard, _, err = pinguard.Open(tally.Config(p.disk, 0, smallestNew))
	if err != nil {
		p.refused(err, token.KindStateNotWritable)
		p.recover()
		return true
	}
	for range failSteps {
		before := sent
		err := p.player.Step()
		if err == nil {
			continue
		}
		p.refused(err, token.KindJournalUnavailable)
		if sent != before {
			p.run.Broken(I1, "%s: a secret was sent although its try is not durable", p.where)
		}
		p.poisoned()
		p.recover()
		return true
	}
	if p.done >= p.at {
		p.run.Broken(I8, "%s: nobody noticed", p.where)
		return true
	}
	return false
}

// refused checks that an error is the failure, and of the right kind.
func (p *failingPlay) refused(err error, kind token.Kind) {
	if !errors.Is(err, p.failure.err) || token.KindOf(err) != kind {
		p.run.Broken(I8, "%s: %v, should be %s", p.where, err, kind)
	}
}

// poisoned checks that nothing is written and nothing is let out any more.
func (p *failingPlay) poisoned() {
	g, before := p.player.Guard, p.done
	if token.KindOf(g.Err()) != token.KindJournalUnavailable {
		p.run.Broken(I8, "%s: the guard says %v", p.where, g.Err())
	}
	mark := pinguard.AuditMark{Rows: p.player.Rows + 1, Own: 1}
	for _, a := range tally.Accounts() {
		if _, err := g.Debit(a.Guard(), pinguard.Who{UID: 1000}, mark); err == nil {
			p.run.Broken(I1, "%s: a try was given afterwards", p.where)
		}
	}
	for _, err := range []error{g.Mark(mark), g.Inserted("piv-a", mark), g.Acknowledge("piv-a", true, mark)} {
		if err == nil {
			p.run.Broken(I9, "%s: something was acknowledged afterwards", p.where)
		}
	}
	if p.done != before {
		p.run.Broken(I8, "%s: %d operations came afterwards", p.where, p.done-before)
	}
}

// recover starts again: on all that the kernel has, and on what a power cut
// leaves of it.
func (p *failingPlay) recover() {
	p.disk.Before = nil
	records := p.player.Rows
	p.disk.Images(p.run.Random, 2, 64, func(image *crashdisk.Disk) bool {
		g, found, err := pinguard.Open(tally.Config(image, records, smallestNew))
		if err != nil {
			p.run.Broken(I8, "%s: the next start refuses the journal: %v", p.where, err)
			return true
		}
		done, next := p.player.Done.Clone(), p.player.Next.Clone()
		done.Crash()
		next.Crash()
		if done.Compare(g, tally.Accounts()) == "" || next.Compare(g, tally.Accounts()) == "" {
			return true
		}
		if found.Unreadable != 1 || !p.failure.short {
			p.run.Broken(I9, "%s: the next start finds %d unreadable slots, and %s", p.where, found.Unreadable, done.Compare(g, tally.Accounts()))
			return true
		}
		for _, a := range tally.Accounts() {
			if left := g.Belief(a.Guard()).Left; left > done.Left(a) {
				p.run.Broken(I2, "%s: %d tries left of the %s of %s, at most %d are", p.where, left, a.Secret, a.Card, done.Left(a))
			}
		}
		return true
	})
}
