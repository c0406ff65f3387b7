package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/inkan-project/inkan/daemon/faults/counter"
	"github.com/inkan-project/inkan/daemon/faults/tracelog"
	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// journalName is the file of the PIN-try journal.
const journalName = "pin-tries.journal"

// recording is every write and sync of one inkand, and what the person who
// used it was told when.
type recording struct {
	state        string
	calls        []tracelog.Call
	told         []milestone
	dir, journal uint64 // inodes
	card         token.CardID
	records      []audit.Record // of the log at the end
	intents      []int          // that are among the first n records
}

// milestone is what had been told when the trace was so long.
type milestone struct {
	at   int64
	told counter.Told
}

// enough is how many calls there are in a recording: each needs about seven
// pages of the write-ahead log, which is put into the database after 1,000.
const enough = 160

// record runs inkand under strace while a person uses every kind of call, at
// least so many times.
func record(ctx context.Context, r *Run, calls int) (rec *recording, err error) {
	dir := filepath.Join(r.Dir, "recorded")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	trace := filepath.Join(dir, "trace")
	rec = &recording{state: filepath.Join(dir, "state")}
	c, err := counter.Start(ctx, r.Release, counter.Place{Dir: dir}, append([]string{"strace"}, tracelog.Args(trace)...)...)
	if err != nil {
		return nil, err
	}
	err = rec.use(ctx, c, trace, calls)
	code, said, err2 := c.Close(err == nil)
	if err = errors.Join(err, err2); err == nil && code != 0 {
		err = fmt.Errorf("inkand ended with %d", code)
	}
	if err != nil {
		return nil, fmt.Errorf("recording: %w\n%s", err, said)
	}
	f, err := os.Open(trace)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(trace)) }()
	if rec.calls, err = tracelog.Parse(f, rec.state); err != nil {
		return nil, err
	}
	if err := rec.readLog(ctx); err != nil {
		return nil, err
	}
	return rec, nil
}

// use has a person use inkand.
func (rec *recording) use(ctx context.Context, c *counter.Counter, trace string, calls int) error {
	if err := c.Open(ctx); err != nil {
		return err
	}
	rec.card = token.CardID(c.CardID())
	if err := rec.numbers(); err != nil {
		return err
	}
	sign := func() error { return c.Sign(ctx, fmt.Sprintf("入札書-%d.pdf", len(c.Told.Signatures)+1)) }
	right := func() error { return c.Verify(ctx, true) }
	wrong := func() error { return c.Verify(ctx, false) }
	stop := func() error { return c.StopHere(ctx) }
	lift := func() error { return c.Lift(ctx) }
	change := func() error { return c.ChangePIN(ctx) }
	unlock := func() error { return c.Unlock(ctx) }
	steps := []func() error{right, sign, wrong, wrong, sign, stop, lift, change, wrong, unlock, sign, stop, lift, wrong}
	for len(steps) < calls {
		steps = append(steps, sign)
	}
	for i, step := range append(steps, wrong, stop) {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		info, err := os.Stat(trace)
		if err != nil {
			return err
		}
		told := c.Told
		told.Signatures = maps.Clone(told.Signatures)
		rec.told = append(rec.told, milestone{info.Size(), told})
	}
	return nil
}

// numbers notes by what the journal knows its place.
func (rec *recording) numbers() error {
	fsys := pinguard.DirFS(rec.state)
	f, err := fsys.Open(journalName)
	if err != nil {
		return err
	}
	rec.dir, rec.journal = fsys.Inode(), f.Inode()
	return f.Close()
}

// readLog reads what the log was in the end.
func (rec *recording) readLog(ctx context.Context) (err error) {
	rec.records, err = recordsOf(ctx, rec.state)
	rec.intents = []int{0}
	for i, record := range rec.records {
		n := rec.intents[i]
		if record.Kind == audit.KindIntent {
			n++
		}
		rec.intents = append(rec.intents, n)
	}
	return err
}

// at returns what had been told before a call, and what was told next.
func (rec *recording) at(call int) (told, next counter.Told) {
	for i, m := range rec.told {
		if call < len(rec.calls) && m.at >= rec.calls[call].At {
			return told, m.told
		}
		if told = m.told; i == len(rec.told)-1 {
			next = told
		}
	}
	return told, next
}
