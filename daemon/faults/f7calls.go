package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon/faults/counter"
	"github.com/inkan-project/inkan/daemon/internal/audit"
)

// injection is a system call of inkand that strace makes fail.
type injection struct {
	file, call, err string
	// nth is which one, of each thread: strace counts them by thread.
	nth int
}

func (i injection) String() string {
	return fmt.Sprintf("%s no. %d on %s: %s", i.call, i.nth, i.file, i.err)
}

// injections are random ones, so many of each call on each file.
func injections(r *Run, each, times int) (all []injection) {
	for range each {
		for _, i := range []injection{
			{file: journalName, call: "pwrite64"},
			{file: journalName, call: "fdatasync"},
			{file: walName, call: "pwrite64"},
			{file: walName, call: "fsync"},
		} {
			errs := []string{"EIO", "ENOSPC", "EDQUOT", "EROFS"}
			i.err, i.nth = errs[r.Random.IntN(len(errs))], 1+r.Random.IntN(times)
			all = append(all, i)
		}
	}
	return all
}

// callsFail runs inkand with a system call that fails, while a person uses it,
// and then without.
func callsFail(ctx context.Context, r *Run) error {
	dir := filepath.Join(r.Dir, "injected")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	h := &failingHouse{run: r, at: counter.Place{Dir: dir}}
	if err := h.again(ctx, "a first start"); err != nil {
		return err
	}
	reached := map[string]bool{}
	all := injections(r, Pick(r.Tier, 3, 30, 250), Pick(r.Tier, 4, 16, 24))
	for _, i := range all {
		failed, err := h.inject(ctx, i)
		if err != nil {
			return fmt.Errorf("%v: %w", i, err)
		}
		reached[i.file+i.call] = failed || reached[i.file+i.call]
	}
	for _, i := range all {
		if !reached[i.file+i.call] {
			return fmt.Errorf("no %s on %s was made to fail", i.call, i.file)
		}
	}
	return nil
}

// failingHouse is a state directory that outlives many faults.
type failingHouse struct {
	run    *Run
	at     counter.Place
	prefix []string          // under which inkand runs
	told   map[string]uint64 // all signatures that were released
}

func (h *failingHouse) start(ctx context.Context, prefix ...string) (*counter.Counter, error) {
	return counter.Start(ctx, h.run.Release, h.at, append(slices.Clone(h.prefix), prefix...)...)
}

// inject runs inkand with one failing call and says whether it came to that.
func (h *failingHouse) inject(ctx context.Context, i injection) (reached bool, err error) {
	trace, file := filepath.Join(h.at.Dir, "trace"), filepath.Join(h.at.Dir, "state", i.file)
	c, err := h.start(ctx, "strace", "-f", "-qq", "-o", trace, "-P", file,
		"-e", "trace="+i.call, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d", i.call, i.err, i.nth), "env", "GOMAXPROCS=1")
	if err != nil {
		return false, err
	}
	opened := c.Open(ctx)
	if opened == nil {
		_, err = h.use(ctx, c, i.String(), 40)
	}
	code, said, err2 := c.Close(false)
	if err = errors.Join(err, err2); err != nil {
		return false, fmt.Errorf("%w\n%s", err, said)
	}
	log, err := os.ReadFile(trace)
	if err != nil {
		return false, err
	}
	before, after, injected := bytes.Cut(log, []byte("(INJECTED)"))
	if !injected {
		if opened != nil {
			return false, fmt.Errorf("%w\n%s", opened, said)
		}
		return false, h.again(ctx, i.String()+", not reached")
	}
	h.run.Fault()
	if opened != nil && (code != exitInternal && code != exitNoState || !strings.Contains(said, "INK-50")) {
		h.run.Broken(I8, "%v: inkand ended with %d and said %q", i, code, said)
	}
	// The other thread of a barrier works on another file.
	if more := bytes.Count(after, []byte(i.call+"(")); more > 0 {
		h.run.Broken(I8, "%v: %d calls before, %d came after the failure", i, bytes.Count(before, []byte("\n")), more)
	}
	return true, h.again(ctx, i.String())
}

// Exit codes of inkand that are documented for a start that could not write.
const (
	exitInternal = 70
	exitNoState  = 73
)

// use has a person sign and mistype until something fails, and then try on:
// nothing may reach the card any more.
// It returns the number of the call that failed, 0 = none did.
func (h *failingHouse) use(ctx context.Context, c *counter.Counter, where string, most int) (int, error) {
	var failed error
	calls := 0
	for ; failed == nil && calls < most; calls++ {
		if calls%4 == 1 {
			failed = c.Verify(ctx, false)
		} else {
			failed = c.Sign(ctx, fmt.Sprintf("入札書-%d.pdf", calls))
		}
	}
	h.keep(c)
	if failed == nil {
		return 0, nil
	}
	if !unavailable(failed) {
		h.run.Broken(I8, "%s: call %d said %v, not INK-5001 or INK-5002", where, calls, failed)
	}
	before, err := c.Truth()
	if err != nil {
		return calls, err
	}
	for i, call := range []func() error{
		func() error { return c.Sign(ctx, "afterwards.pdf") },
		func() error { return c.Verify(ctx, true) },
		func() error { return c.Unlock(ctx) },
	} {
		if err := call(); !unavailable(err) {
			h.run.Broken(I8, "%s: call %d after the failure said %v, not INK-5001 or INK-5002", where, i+1, err)
		}
	}
	after, err := c.Truth()
	if err == nil && (after.Verifies != before.Verifies || after.UnlockVerifies != before.UnlockVerifies) {
		h.run.Broken(I1, "%s: after the failure %d secrets reached the card", where,
			after.Verifies+after.UnlockVerifies-before.Verifies-before.UnlockVerifies)
	}
	if len(after.Signatures) != len(before.Signatures) {
		h.run.Broken(I3, "%s: after the failure the card signed", where)
	}
	return calls, err
}

func unavailable(err error) bool {
	return errors.Is(err, client.ErrJournalUnavailable) || errors.Is(err, client.ErrAuditUnavailable)
}

// keep remembers what was released.
func (h *failingHouse) keep(c *counter.Counter) {
	if h.told == nil {
		h.told = map[string]uint64{}
	}
	for signature, record := range c.Told.Signatures {
		h.told[signature] = record
	}
}

// again starts inkand without a fault, checks the books and signs.
func (h *failingHouse) again(ctx context.Context, where string) error {
	c, err := h.start(ctx)
	if err != nil {
		return err
	}
	if err := c.Open(ctx); err != nil {
		_, said, _ := c.Close(false)
		h.run.Broken(I10, "after %s: the next start: %v\n%s", where, err, said)
		return fmt.Errorf("it does not start any more: %w", err)
	}
	pin, unlock, err := c.Tries(ctx)
	if err == nil {
		err = h.sign(ctx, c, pin, unlock, where)
	}
	h.keep(c)
	code, said, err2 := c.Close(true)
	if err = errors.Join(err, err2); err != nil || code != 0 {
		return fmt.Errorf("ended with %d: %w\n%s", code, err, said)
	}
	return h.checkBooks(ctx, c.State, where)
}

// sign signs after a fault.
func (h *failingHouse) sign(ctx context.Context, c *counter.Counter, pin, unlock int, where string) error {
	truth, err := c.Truth()
	if err != nil {
		return err
	}
	if pin > truth.PINLeft || unlock > truth.UnlockLeft {
		h.run.Broken(I2, "after %s: %d and %d tries are shown, the card has %d and %d", where, pin, unlock, truth.PINLeft, truth.UnlockLeft)
	}
	if err := c.Sign(ctx, "again.pdf"); err != nil {
		h.run.Broken(I10, "after %s: signing again: %v", where, err)
	}
	return nil
}

// checkBooks holds the log against what was released and what the card saw.
func (h *failingHouse) checkBooks(ctx context.Context, state, where string) error {
	// SQLite does not follow a path through /proc: a copy will do.
	copied := filepath.Join(h.at.Dir, "copied")
	content, err := os.ReadFile(filepath.Join(state, databaseName))
	if err == nil {
		err = errors.Join(os.MkdirAll(copied, 0o700), os.WriteFile(filepath.Join(copied, databaseName), content, 0o600)) //nolint:gosec // in a directory of our own
	}
	if err != nil {
		return err
	}
	records, err := recordsOf(ctx, copied)
	if err != nil {
		h.run.Broken(I5, "after %s: %v", where, err)
		return nil
	}
	truth, err := counter.Truth(state)
	if err != nil {
		return err
	}
	open, intents := map[uint64]bool{}, 0
	for _, rec := range records {
		switch rec.Kind {
		case audit.KindIntent:
			open[rec.Sequence] = true
			intents++
		case audit.KindResult:
			delete(open, rec.Intent)
		default:
		}
	}
	if len(open) > 0 {
		h.run.Broken(I4, "after %s: intents without a result: %v", where, open)
	}
	if spent := truth.Verifies + truth.UnlockVerifies; spent > intents {
		h.run.Broken(I1, "after %s: the card saw %d secrets, the log has %d intents", where, spent, intents)
	}
	made := map[string]bool{}
	for _, s := range truth.Signatures {
		made[s.SignatureSHA256] = true
	}
	for signature, n := range h.told {
		if n == 0 || n > uint64(len(records)) || records[n-1].Outcome != audit.OutcomeOK || !made[signature] {
			h.run.Broken(I3, "after %s: a signature was released as record %d, the log or the card has it not", where, n)
		}
	}
	return nil
}
