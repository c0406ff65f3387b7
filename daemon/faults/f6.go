package faults

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// bitRot is F6: bits of journal and database are not what was written.
func bitRot(ctx context.Context, r *Run) error {
	m, err := newJournal(r.Random.Uint64(), 80)
	if err == nil {
		err = m.steps(70)
	}
	if err != nil {
		return err
	}
	journal, err := m.done("a journal")
	if err != nil {
		return err
	}
	crashed, closed, err := dbCases(ctx, filepath.Join(r.Dir, "made"))
	if err != nil {
		return err
	}
	kept := len(bytes.TrimRight(crashed.files[walName], "\x00"))
	parts := []rotten{
		{journal.image, 5, 400, func(_ context.Context, damaged []byte, where string) error {
			journal.start(r, damaged, where)
			return nil
		}},
		{closed.files[databaseName], 5, 80, func(ctx context.Context, damaged []byte, where string) error {
			return closed.start(ctx, r, closed.with(databaseName, damaged), where)
		}},
		{crashed.files[walName][:kept], 5, 80, func(ctx context.Context, damaged []byte, where string) error {
			whole := slices.Concat(damaged, crashed.files[walName][kept:])
			return crashed.start(ctx, r, crashed.with(walName, whole), "write-ahead log, "+where)
		}},
	}
	for i, p := range parts {
		if i == len(parts)-1 && r.Tier == Commit {
			break // the database's two files take the same time each
		}
		if err := p.flips(ctx, r); err != nil {
			return err
		}
		if err := p.spoil(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// rotten is a file that loses bits.
type rotten struct {
	whole   []byte
	percent int // of its bits are flipped in tier c
	blocks  int // so many times more is spoiled in tier c
	start   func(ctx context.Context, damaged []byte, where string) error
}

// flips flips single bits: a sample, one of each byte, or all.
func (p rotten) flips(outer context.Context, r *Run) error {
	group, ctx := errgroup.WithContext(outer)
	flip := func(bit int) error {
		damaged := bytes.Clone(p.whole)
		damaged[bit/8] ^= 1 << (bit % 8)
		return p.start(ctx, damaged, fmt.Sprintf("bit %d of byte %d", bit%8, bit/8))
	}
	all := 8 * len(p.whole)
	bits := Pick(r.Tier, r.Random.Perm(all)[:all*p.percent/100], nil, nil)
	switch r.Tier {
	case Commit:
	case Nightly:
		for i := range len(p.whole) {
			bits = append(bits, 8*i+r.Random.IntN(8))
		}
	case Release:
		for i := range all {
			bits = append(bits, i)
		}
	}
	// Each start has a directory of its own: nothing is shared but the count.
	group.SetLimit(runtime.NumCPU())
	for _, bit := range bits {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return flip(bit) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(outer)
}

// spoil spoils more than a bit at a time, at random.
func (p rotten) spoil(ctx context.Context, r *Run) error {
	sector := func() []int {
		return []int{r.Random.IntN(len(p.whole) / slotSize), r.Random.IntN(len(p.whole) / slotSize)}
	}
	part := func(b []byte, i, size int) []byte { return b[i*size : (i+1)*size] }
	kinds := []func(b []byte) string{
		func(b []byte) string {
			n := 2 + r.Random.IntN(30)
			for range n {
				b[r.Random.IntN(len(b))] ^= 1 << r.Random.IntN(8)
			}
			return fmt.Sprintf("%d random bits", n)
		},
		func(b []byte) string {
			s := sector()
			copy(part(b, s[0], slotSize), part(p.whole, s[1], slotSize))
			copy(part(b, s[1], slotSize), part(p.whole, s[0], slotSize))
			return fmt.Sprintf("sectors %d and %d swapped", s[0], s[1])
		},
		func(b []byte) string {
			s := sector()
			copy(part(b, s[0], slotSize), part(p.whole, s[1], slotSize))
			return fmt.Sprintf("sector %d over %d", s[1], s[0])
		},
		func(b []byte) string {
			page := r.Random.IntN(len(b) / 4096)
			clear(part(b, page, 4096))
			return fmt.Sprintf("page %d of zeros", page)
		},
		func(b []byte) string {
			s := sector()
			clear(part(b, s[0], slotSize))
			return fmt.Sprintf("sector %d of zeros", s[0])
		},
	}
	for range p.blocks * Pick(r.Tier, 1, 10, 100) {
		if err := ctx.Err(); err != nil {
			return err
		}
		damaged := bytes.Clone(p.whole)
		where := kinds[r.Random.IntN(len(kinds))](damaged)
		if bytes.Equal(damaged, p.whole) {
			continue
		}
		if err := p.start(ctx, damaged, where); err != nil {
			return err
		}
	}
	return nil
}
