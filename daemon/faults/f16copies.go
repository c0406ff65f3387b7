package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/inkan-project/inkan/daemon/faults/house"
)

// copied is a state directory that was moved, copied or put back.
type copied struct {
	name string
	// put does it and returns the house to go on with.
	put func(context.Context, *Run, *house.House) (*house.House, error)
	// judge checks what inkand makes of it.
	judge func(*Run, context.Context, *house.House, string) error
}

func copies() []copied {
	return []copied{
		{"a copy", func(ctx context.Context, _ *Run, h *house.House) (*house.House, error) {
			to := h.Dir + "-copy"
			return h.Copied(to), shell(ctx, "cp", "-a", h.Dir, to)
		}, (*Run).heldByCopy},
		{"moved aside and put back as a copy", func(ctx context.Context, _ *Run, h *house.House) (*house.House, error) {
			aside := h.Dir + "-aside"
			return h.Copied(h.Dir), errors.Join(os.Rename(h.Dir, aside), shell(ctx, "cp", "-a", aside, h.Dir))
		}, (*Run).heldByCopy},
		{"removed and restored", restored, (*Run).heldByCopy},
		{"renamed", func(_ context.Context, _ *Run, h *house.House) (*house.House, error) {
			to := h.Dir + "-renamed"
			return h.Copied(to), os.Rename(h.Dir, to)
		}, (*Run).asBefore},
		{"an old journal put back", oldJournal, (*Run).refused},
	}
}

func shell(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil { //nolint:gosec // commands of this file
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// run uses a house, so that it has something to lose, stops it in order, and
// judges what is made of it.
func (c copied) run(ctx context.Context, r *Run, dir string) error {
	h, err := house.New(house.Options{Dir: dir})
	if err != nil {
		return err
	}
	if err := r.useWrongly(ctx, h); err != nil {
		return err
	}
	now, err := c.put(ctx, r, h)
	if err != nil {
		return err
	}
	r.Fault()
	if err := c.judge(r, ctx, now, c.name); err != nil {
		return err
	}
	left, err := filepath.Glob(h.Dir + "*")
	for _, name := range left {
		err = errors.Join(err, os.RemoveAll(name))
	}
	return err
}

// useWrongly signs and then spends one try.
func (r *Run) useWrongly(ctx context.Context, h *house.House) error {
	p, err := h.Start(ctx, r.Release)
	if err != nil {
		return err
	}
	defer p.Kill()
	v, err := h.Visit(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	if err := v.Sign(ctx, "9a", h.PINs()[0]); err != nil {
		return err
	}
	if err := v.Verify(ctx, wrongPIN); err == nil {
		return errors.New("a wrong PIN was right")
	}
	if code := p.Stop(ctx); code != 0 {
		return fmt.Errorf("inkand stopped with %d: %s", code, p.Said())
	}
	return nil
}

// restored removes the state directory and makes it again from a copy. The new
// directory and journal get the numbers of the old ones where the file system
// gives them, as ext4 does as soon as they are free.
func restored(_ context.Context, _ *Run, h *house.House) (*house.House, error) {
	const name = "pin-tries.journal"
	journal, aside := filepath.Join(h.State(), name), h.Dir+"-aside"
	image, err := os.ReadFile(journal)
	if err != nil {
		return nil, err
	}
	old, err := os.Stat(journal)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Rename(h.State(), aside), os.Remove(filepath.Join(aside, name)), os.Mkdir(h.State(), 0o700)); err != nil {
		return nil, err
	}
	others, err := os.ReadDir(aside)
	for _, f := range others {
		err = errors.Join(err, os.Rename(filepath.Join(aside, f.Name()), filepath.Join(h.State(), f.Name())))
	}
	// The folder itself has to go before its number is free.
	back := h.Dir + "-back"
	err = errors.Join(err, os.Remove(aside), os.Rename(h.State(), back), os.Mkdir(h.State(), 0o700))
	others, listed := os.ReadDir(back)
	for _, f := range others {
		err = errors.Join(err, os.Rename(filepath.Join(back, f.Name()), filepath.Join(h.State(), f.Name())))
	}
	if err := errors.Join(err, listed, os.Remove(back)); err != nil {
		return nil, err
	}
	return h.Copied(h.Dir), writeWithNumber(journal, image, old)
}

// writeWithNumber makes a file, with the number of an old one if it is given
// within the next few.
func writeWithNumber(journal string, image []byte, old os.FileInfo) error {
	path := journal
	var fillers []string
	defer func() {
		for _, name := range fillers {
			_ = os.Remove(name) // or it was renamed
		}
	}()
	for n := range 64 {
		filler := fmt.Sprintf("%s-filler%d", journal, n)
		fillers = append(fillers, filler)
		if err := os.WriteFile(filler, nil, 0o600); err != nil {
			return err
		}
		if info, err := os.Stat(filler); err != nil {
			return err
		} else if os.SameFile(info, old) {
			path = filler
			break
		}
	}
	if err := os.WriteFile(path, image, 0o600); err != nil { //nolint:gosec // in a folder of the run's own
		return err
	}
	return os.Rename(path, journal)
}

// oldJournal puts a journal back that knows of one try less.
func oldJournal(ctx context.Context, r *Run, h *house.House) (*house.House, error) {
	journal := filepath.Join(h.State(), "pin-tries.journal")
	old, err := os.ReadFile(journal)
	if err != nil {
		return nil, err
	}
	if err := r.useWrongly(ctx, h); err != nil {
		return nil, err
	}
	return h, os.WriteFile(journal, old, 0o600) //nolint:gosec // the same file: only what it says is old
}

// asBefore checks that nothing is held.
func (r *Run) asBefore(ctx context.Context, h *house.House, where string) error {
	return r.comeBack(ctx, h, where)
}

// refused checks that inkand does not start at all, and changes nothing.
func (r *Run) refused(ctx context.Context, h *house.House, where string) error {
	const exitDamaged = 65
	journal := filepath.Join(h.State(), "pin-tries.journal")
	before, err := os.ReadFile(journal)
	if err != nil {
		return err
	}
	p, err := h.Start(ctx, r.Release)
	if err != nil {
		return err
	}
	defer p.Kill()
	if p.Ready > 0 || p.ExitCode() != exitDamaged {
		r.Broken(I8, "%s: inkand started or ended with %d, want %d: %s", where, p.ExitCode(), exitDamaged, p.Said())
		return nil
	}
	if after, err := os.ReadFile(journal); err != nil || string(after) != string(before) {
		r.Broken(I8, "%s: the journal was changed (%v)", where, err)
	}
	return nil
}
