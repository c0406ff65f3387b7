package pinguard

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/token"
)

// story is a bit of everything that is written to a journal, in an order that
// closes gates, holds a card and opens both again.
func story() []func(*Guard) error {
	var all []func(*Guard) error
	then := func(f func(*Guard) error) { all = append(all, f) }
	try := func(acc Account, who Who, v token.Verdict) {
		var a *token.Attempt
		then(func(g *Guard) (err error) { a, err = g.Debit(acc, who, AuditMark{}); return err })
		then(func(g *Guard) error { return g.Settle(a, v, AuditMark{}) })
	}
	code := Account{Card: cardA, Secret: token.SecretUnlockCode, Limit: 10}
	second := Account{Card: cardB, Secret: token.SecretPIN, Limit: 3}
	wrong, none, right := token.Verdict{Kind: token.VerdictWrong}, token.Verdict{}, token.Verdict{Kind: token.VerdictOK}
	then(func(g *Guard) error { return g.Mark(AuditMark{}) })
	try(pin(10), program, wrong)
	try(pin(10), other, wrong)
	try(pin(10), person, wrong)
	then(func(g *Guard) error { return g.Inserted(cardA, AuditMark{}) })
	try(pin(10), program, none)
	try(pin(10), person, none)
	try(second, other, token.Verdict{Kind: token.VerdictBlocked})
	try(pin(10), other, none)
	then(func(g *Guard) error { return g.Acknowledge(cardA, false, AuditMark{}) })
	try(code, person, wrong)
	then(func(g *Guard) error { return g.Acknowledge(cardA, true, AuditMark{}) })
	then(func(g *Guard) error {
		low := pin(10)
		low.OnCard = token.KnownTries(2)
		_, err := g.Lower(low, AuditMark{})
		return err
	})
	try(pin(10), person, right)
	try(code, person, right)
	return all
}

// sinceBoot is a clock on which no wait is left when the next try is made.
func sinceBoot() func() Boot {
	at := time.Hour
	return func() Boot {
		at += time.Hour
		return Boot{ID: [16]byte{1}, Since: at}
	}
}

func openOver(fsys FS, slots int) (*Guard, Recovery, error) {
	return Open(Config{FS: fsys, Now: wallClock, Slots: slots, Boot: sinceBoot()})
}

// settledAll is what a start makes of the counts that a crash leaves. The
// moment that a wait is counted from is not compared.
func settledAll(b books) books {
	b.counts = maps.Clone(b.counts)
	for acc, c := range b.counts {
		if c.open != 0 {
			c = c.settled(token.Verdict{}, Who{}, MaxLimit, stamp{})
		}
		c.last = stamp{}
		if len(c.users) == 0 {
			c.users = nil
		}
		b.counts[acc] = c
	}
	return b
}

func difference(want, got books) string {
	return cmp.Diff(want, got, cmp.AllowUnexported(books{}, count{}, stamp{}, user{}, account{}))
}

// TestAFaultAtEachOperationLeavesWhatWasBeforeOrBehindIt fails each operation on
// the disk in turn, for journals that are compacted often and never: what is
// read then is the state before the write or behind it, with a try less for every
// card where the slot was torn.
func TestAFaultAtEachOperationLeavesWhatWasBeforeOrBehindIt(t *testing.T) {
	for _, slots := range []int{6, 256} {
		for failAt := 1; ; failAt++ {
			mem := newMemoryFS()
			disk := &faultFS{FS: mem}
			g, _, err := openOver(disk, slots)
			if err != nil {
				t.Fatal(err)
			}
			disk.ops, disk.failAt = nil, failAt
			before, failed := settledAll(g.books), false
			for i, step := range story() {
				err := step(g)
				if err == nil {
					before = settledAll(g.books)
					continue
				}
				if !errors.Is(err, errDisk) || token.KindOf(err) != token.KindJournalUnavailable {
					t.Fatalf("%d slots, operation %d, step %d: %v", slots, failAt, i, err)
				}
				failed = true
				checkBeforeOrBehind(t, mem, before, i)
				break
			}
			if !failed {
				if failAt <= 2*len(story()) {
					t.Errorf("%d slots: only %d operations were made", slots, failAt-1)
				}
				break
			}
		}
	}
}

// checkBeforeOrBehind opens what a fault in a step of the story left.
func checkBeforeOrBehind(t *testing.T, mem *memoryFS, before books, step int) {
	t.Helper()
	g, rec, err := openOver(mem.left(), 256)
	if err != nil {
		t.Fatalf("step %d: opening again: %v", step, err)
	}
	got := settledAll(g.books)
	before.counts = maps.Clone(before.counts)
	if rec.Unreadable > 0 { // the slot was torn
		before.spendForAll()
	}
	diff := difference(before, got)
	if diff == "" {
		return
	}
	// The slot may be whole although its write was reported as failed.
	whole, _, err := openOver(newMemoryFS(), 256)
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range story()[:step+1] {
		if err := do(whole); err != nil {
			t.Fatal(err)
		}
	}
	if behind := difference(settledAll(whole.books), got); behind != "" || rec.Unreadable > 0 {
		t.Fatalf("step %d (-before +read):\n%s(-behind +read):\n%s", step, diff, behind)
	}
}

// TestARestartAtEachStepChangesNothing opens the journal anew after each write,
// compacted or not.
func TestARestartAtEachStepChangesNothing(t *testing.T) {
	for _, slots := range []int{4, 6, 256} {
		mem := newMemoryFS()
		g, _, err := openOver(mem, slots)
		if err != nil {
			t.Fatal(err)
		}
		for i, step := range story() {
			if err := step(g); err != nil {
				t.Fatalf("%d slots, step %d: %v", slots, i, err)
			}
			again, rec, err := openOver(mem.left(), slots)
			if err != nil || rec.Unreadable != 0 || rec.Copied != "" {
				t.Fatalf("%d slots, step %d: %v, %+v", slots, i, err, rec)
			}
			if diff := difference(settledAll(g.books), settledAll(again.books)); diff != "" {
				t.Errorf("%d slots, step %d (-before +after a restart):\n%s", slots, i, diff)
			}
		}
	}
}
