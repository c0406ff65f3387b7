package faults

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"

	"github.com/inkan-project/inkan/daemon/faults/tally"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// tornTails is F5: the end of a file is not what was written.
func tornTails(ctx context.Context, r *Run) error {
	if err := tornJournals(ctx, r); err != nil {
		return err
	}
	crashed, closed, err := dbCases(ctx, filepath.Join(r.Dir, "made"))
	if err != nil {
		return err
	}
	images := Pick(r.Tier, 400, 6_000, 0)
	// A frame is a page and 24 bytes (https://sqlite.org/fileformat2.html section 4.1).
	if err := tornDatabase(ctx, r, crashed, walName, 3*(4096+24), images); err != nil {
		return err
	}
	return tornDatabase(ctx, r, closed, databaseName, 3*4096, images)
}

// tornDatabase tears the last bytes of a file of the database, at so many
// random offsets; 0 = at each.
func tornDatabase(ctx context.Context, r *Run, c *dbCase, name string, tail, images int) error {
	whole := c.files[name]
	used := len(bytes.TrimRight(whole, "\x00"))
	if name == databaseName {
		used = len(whole)
	}
	offsets := r.Random.Perm(min(tail, used))
	if images > 0 {
		offsets = offsets[:images/len(tears())]
	}
	for _, back := range offsets {
		at := used - 1 - back
		for _, t := range tears() {
			if err := ctx.Err(); err != nil {
				return err
			}
			damaged := t.tear(r, whole, at, used)
			if bytes.Equal(damaged, whole) {
				continue
			}
			if err := c.start(ctx, r, c.with(name, damaged), fmt.Sprintf("%s: %s from byte %d of %d", name, t.name, at, used)); err != nil {
				return err
			}
		}
	}
	return nil
}

// tornRecords is how many of the last records are torn.
const tornRecords = 3

// tornJournals tears the last three slots of each kind at each offset.
func tornJournals(ctx context.Context, r *Run) error {
	cases, err := tailsOfEachKind(r.Random.Uint64())
	if err != nil {
		return err
	}
	step := Pick(r.Tier, 7, 1, 1)
	for _, c := range cases {
		if err := ctx.Err(); err != nil {
			return err
		}
		first := max(0, c.used-tornRecords) * slotSize
		for at := first + r.Random.IntN(step); at < c.used*slotSize; at += step {
			for _, t := range tears() {
				damaged := t.tear(r, c.image, at, c.used*slotSize)
				if bytes.Equal(damaged, c.image) {
					continue
				}
				c.start(r, damaged, fmt.Sprintf("%s from byte %d of slot %d", t.name, at%slotSize, at/slotSize))
			}
		}
		if err := c.losesPowerInStart(r, tears()[2].tear(r, c.image, c.used*slotSize-100, c.used*slotSize), "torn"); err != nil {
			return err
		}
	}
	return nil
}

// tear is a way in which the end of a file is not what was written.
type tear struct {
	name string
	// tear returns image with other bytes from at to end.
	tear func(r *Run, image []byte, at, end int) []byte
}

func tears() []tear {
	fill := func(name string, with func(r *Run, image, part []byte, at int)) tear {
		return tear{name, func(r *Run, image []byte, at, end int) []byte {
			damaged := bytes.Clone(image)
			with(r, image, damaged[at:end], at)
			return damaged
		}}
	}
	return []tear{
		{"cut", func(_ *Run, image []byte, at, _ int) []byte { return bytes.Clone(image[:at]) }},
		fill("00", func(_ *Run, _, part []byte, _ int) { clear(part) }),
		fill("FF", func(_ *Run, _, part []byte, _ int) { copy(part, bytes.Repeat([]byte{0xFF}, len(part))) }),
		fill("random bytes", func(r *Run, _, part []byte, _ int) {
			for i := range part {
				part[i] = byte(r.Random.Uint32())
			}
		}),
		// What lay there before, or at another place: the file moved by a block.
		fill("a stale block", func(_ *Run, image, part []byte, at int) { copy(part, image[max(0, at-slotSize):]) }),
	}
}

// ending is how a journal ends: with three of a kind.
type ending struct {
	name string
	one  func(m *journalMaker, pin tally.Account) error // i of three
	open bool                                           // the three have an open try each
}

func endings() []ending {
	who := pinguard.Who{UID: 1000}
	settle := func(v token.VerdictKind) func(m *journalMaker, pin tally.Account) error {
		return func(m *journalMaker, pin tally.Account) error { return m.SettleOpen(pin, token.Verdict{Kind: v}) }
	}
	return []ending{
		{"debits", func(m *journalMaker, pin tally.Account) error { return m.Debit(pin, who) }, false},
		{"verdicts wrong", settle(token.VerdictWrong), true},
		{"verdicts right", settle(token.VerdictOK), true},
		{"verdicts blocked", settle(token.VerdictBlocked), true},
		{"no verdicts", settle(token.VerdictNone), true},
		{"lowered counts", (*journalMaker).lower, false},
		{"marks", func(m *journalMaker, _ tally.Account) error { return m.Mark() }, false},
		{"insertions", func(m *journalMaker, pin tally.Account) error { return m.Insert(pin.Card) }, false},
		{"acknowledgements", func(m *journalMaker, pin tally.Account) error { return m.Acknowledge(pin.Card, false) }, false},
		{"an administrator's", func(m *journalMaker, pin tally.Account) error { return m.Acknowledge(pin.Card, true) }, false},
		{"all sorts", func(m *journalMaker, _ tally.Account) error { return m.Step() }, false},
	}
}

func (m *journalMaker) lower(pin tally.Account) error { return m.Lower(pin) }

// tailsOfEachKind makes journals that end with three slots of one kind, one of
// a header alone and one of snapshots.
func tailsOfEachKind(seed uint64) ([]*journalCase, error) {
	m, err := newJournal(seed, 40)
	if err != nil {
		return nil, err
	}
	first, err := m.done("a header")
	if err != nil {
		return nil, err
	}
	cases := []*journalCase{first}
	for _, e := range endings() {
		c, err := e.journal(seed)
		if err != nil {
			return nil, fmt.Errorf("making a journal that ends with %s: %w", e.name, err)
		}
		cases = append(cases, c)
	}
	last, err := snapshots(seed)
	return append(cases, last), err
}

// pins are the accounts of the endings, and one more.
func pins() []tally.Account {
	all := tally.Accounts()
	return []tally.Account{all[0], all[2], {Card: "piv-c", Secret: token.SecretPIN}}
}

// spent makes a journal in which a try of each is spent.
func spent(seed uint64) (*journalMaker, error) {
	m, err := newJournal(seed, 40)
	for _, pin := range pins() {
		if err == nil {
			err = m.Try(pin, pinguard.Who{UID: 1001}, token.Verdict{Kind: token.VerdictWrong})
		}
	}
	return m, err
}

func (e ending) journal(seed uint64) (*journalCase, error) {
	m, err := spent(seed)
	if err != nil {
		return nil, err
	}
	for _, pin := range pins() {
		if e.open {
			if err := m.Debit(pin, pinguard.Who{UID: 1000}); err != nil {
				return nil, err
			}
		}
	}
	for _, pin := range pins() {
		if err := m.do(func() error { return e.one(m, pin) }); err != nil {
			return nil, err
		}
	}
	return m.done(e.name)
}

// snapshots is a journal of a header and snapshots: a start with a slot that is
// unreadable compacts, and counts a try of everybody.
func snapshots(seed uint64) (*journalCase, error) {
	m, err := spent(seed)
	if err == nil {
		err = m.Mark()
	}
	if err != nil {
		return nil, err
	}
	image := m.disk.ReadFile(journalName)
	image[len(bytes.TrimRight(image, "\x00"))-1] ^= 1
	m.disk.WriteFile(journalName, image)
	var found pinguard.Recovery
	m.Guard, found, err = pinguard.Open(tally.Config(m.disk, m.Rows, 40))
	if err != nil || found.Unreadable != 1 {
		return nil, fmt.Errorf("%d slots are unreadable: %w", found.Unreadable, err)
	}
	m.Done.Extra = 1
	m.without = m.Done
	return m.done("snapshots")
}
