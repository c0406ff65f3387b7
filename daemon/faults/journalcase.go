package faults

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/inkan-project/inkan/daemon/faults/crashdisk"
	"github.com/inkan-project/inkan/daemon/faults/tally"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// slotSize is the unit of the journal.
const slotSize = 512

// journalCase is a journal and what must be true of it.
type journalCase struct {
	name    string
	image   []byte
	used    int // slots
	records uint64
	inode   uint64
	true    tally.Model // what was acknowledged
	// Without is what was before the newest slot: one of zeros cannot be told
	// from one that a crash kept from being written (docs/testing.md).
	without tally.Model
}

// journalMaker makes a journal whose slots are durable.
type journalMaker struct {
	*tally.Player
	disk    *crashdisk.Disk
	without tally.Model
}

// newJournal makes a journal of so many slots.
func newJournal(seed uint64, slots int) (*journalMaker, error) {
	m := &journalMaker{disk: crashdisk.New(), without: tally.New()}
	g, _, err := pinguard.Open(tally.Config(m.disk, 0, slots))
	m.Player = tally.NewPlayer(g, rand.New(rand.NewPCG(seed, 5))) //nolint:gosec // faults need no secrecy
	return m, err
}

// steps does n random things.
func (m *journalMaker) steps(n int) error {
	for range n {
		if err := m.do(m.Step); err != nil {
			return err
		}
	}
	return nil
}

// do does something that writes one slot at most.
func (m *journalMaker) do(step func() error) error {
	before, rows := m.Done, m.Rows
	if err := step(); err != nil {
		return err
	}
	if m.Rows != rows {
		m.without = before
	}
	return nil
}

// done returns the journal as it is now.
func (m *journalMaker) done(name string) (*journalCase, error) {
	f, err := m.disk.Open(journalName)
	if err != nil {
		return nil, err
	}
	c := &journalCase{
		name: name, image: m.disk.ReadFile(journalName), records: m.Rows, inode: f.Inode(),
		true: m.Done.Clone(), without: m.without.Clone(),
	}
	c.used = (len(bytes.TrimRight(c.image, "\x00")) + slotSize - 1) / slotSize
	c.true.Crash()
	c.without.Crash()
	return c, nil
}

// start opens a damaged journal, as a start does, and judges what comes of it.
func (c *journalCase) start(r *Run, damaged []byte, where string) {
	where = c.name + ", " + where
	r.Fault()
	disk := crashdisk.New()
	disk.WriteFile(journalName, damaged)
	disk.SetInodes(1, journalName, c.inode)
	g, found, err := pinguard.Open(tally.Config(disk, c.records, 40))
	if err != nil {
		c.refused(r, disk, damaged, err, where)
		return
	}
	want := c.true
	if c.endsEarly(damaged) {
		want = c.without
	}
	if found.Unreadable == 0 {
		if what := want.Compare(g, tally.Accounts()); what != "" {
			r.Broken(I9, "%s: nothing was noticed, but %s", where, what)
		}
		return
	}
	if kept := disk.ReadFile(found.Kept); !strings.HasPrefix(found.Kept, journalName+".corrupt-") || !bytes.Equal(kept, damaged) {
		r.Broken(I8, "%s: the damaged journal was not kept as it was (%q)", where, found.Kept)
	}
	for _, a := range tally.Accounts() {
		if left := g.Belief(a.Guard()).Left; left > want.Counted(a) {
			r.Broken(I2, "%s: %d tries left of the %s of %s, at most %d are", where, left, a.Secret, a.Card, want.Counted(a))
		}
	}
	unseen := tally.Accounts()[len(tally.Accounts())-1]
	if left := g.Belief(unseen.Guard()).Left; left != max(0, want.Left(unseen)-found.Unreadable) {
		r.Broken(I2, "%s: %d slots are unreadable, and a card never seen has %d tries", where, found.Unreadable, left)
	}
}

// refused checks that a journal that is refused is left as it is, and kept by
// the command that renews it.
func (c *journalCase) refused(r *Run, disk *crashdisk.Disk, damaged []byte, err error, where string) {
	if token.KindOf(err) != token.KindJournalDamaged {
		r.Broken(I8, "%s: refused with %v", where, err)
	}
	if !bytes.Equal(disk.ReadFile(journalName), damaged) || len(disk.Names()) != 1 {
		r.Broken(I8, "%s: what was refused was changed", where)
	}
	if r.Random.IntN(renewedOf) != 0 {
		return
	}
	kept, err := pinguard.Renew(disk, time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC), c.records, 1)
	if err != nil || !strings.HasPrefix(kept, journalName+".corrupt-") || !bytes.Equal(disk.ReadFile(kept), damaged) {
		r.Broken(I8, "%s: renewing the journal did not keep it as it was: %q, %v", where, kept, err)
		return
	}
	g, _, err := pinguard.Open(tally.Config(disk, c.records, 40))
	if err != nil {
		r.Broken(I8, "%s: the renewed journal is refused: %v", where, err)
		return
	}
	for _, a := range tally.Accounts() {
		if left := g.Belief(a.Guard()).Left; left > lastTries {
			r.Broken(I2, "%s: after renewing, the %s of %s has %d tries", where, a.Secret, a.Card, left)
		}
	}
}

// renewedOf says of how many refused journals one is renewed: a new one has 4 MiB.
const renewedOf = 64

// lastTries is how many a renewed journal gives each secret at most.
const lastTries = 3

// endsEarly reports whether nothing but the newest slot is gone, without a
// trace.
func (c *journalCase) endsEarly(damaged []byte) bool {
	end := (c.used - 1) * slotSize
	return len(damaged) >= end && bytes.Equal(damaged[:end], c.image[:end]) && len(bytes.Trim(damaged[end:], "\x00")) == 0
}

// losesPowerInStart opens a damaged journal and cuts the power before each
// operation of that start: the damaged file, or its copy, must be there.
func (c *journalCase) losesPowerInStart(r *Run, damaged []byte, where string) error {
	disk := crashdisk.New()
	disk.WriteFile(journalName, damaged)
	disk.SetInodes(1, journalName, c.inode)
	operations := 0
	disk.Before = func(operation, _ string) error {
		operations++
		disk.Images(r.Random, 1, allSubsets, func(image *crashdisk.Disk) bool {
			r.Fault()
			at := fmt.Sprintf("%s, %s, power cut before operation %d (%s) of the start", c.name, where, operations, operation)
			for _, name := range image.Names() {
				if kept := image.ReadFile(name); strings.HasPrefix(name, journalName) && len(kept) == len(damaged) && keptBytes(kept, damaged) {
					return true
				}
			}
			r.Broken(I8, "%s: neither the damaged journal nor its copy is there", at)
			return true
		})
		return nil
	}
	g, _, err := pinguard.Open(tally.Config(disk, c.records, 40))
	if err != nil {
		return nil //nolint:nilerr // refused: nothing was written
	}
	return g.Close()
}

// keptBytes reports whether a file has all the bytes of the damaged one: a
// start may have written behind them.
func keptBytes(kept, damaged []byte) bool {
	return bytes.HasPrefix(kept, bytes.TrimRight(damaged, "\x00"))
}
