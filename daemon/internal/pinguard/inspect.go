package pinguard

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/inkan-project/inkan/token"
)

// Inspection is what a journal holds: for whoever checks the guard from
// outside, against what a card saw.
type Inspection struct {
	First, Last uint64 // numbers of its slots; a journal that grew full begins anew with a later one
	Tries       []Spent
	Unreadable  int // slots that could not be read; each may have been a try
}

// Spent is one try that a journal says was spent.
type Spent struct {
	Card    token.CardID
	Secret  token.Secret
	Attempt uint64 // grows with each try; it is that of the slot that spent it
}

// Inspect reads a journal without changing, locking or judging it. Where there
// is none it holds nothing. A journal in use may end within a slot.
func Inspect(fsys FS) (found Inspection, err error) {
	f, err := fsys.Open(journalName)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, fmt.Errorf("opening the journal: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return found, fmt.Errorf("reading the journal's size: %w", err)
	}
	all := make([]byte, size/slotSize*slotSize)
	if _, err := f.ReadAt(all, 0); err != nil {
		return found, fmt.Errorf("reading the journal: %w", err)
	}
	next := uint64(1)
	for i := range written(all) {
		s, err := decode(all[i*slotSize : (i+1)*slotSize])
		if err != nil {
			found.Unreadable++
			next++
			continue
		}
		found.take(s)
		next = s.sequence + 1
	}
	found.Last = next - 1
	return found, nil
}

// take takes in a slot.
func (i *Inspection) take(s slot) {
	if s.kind == kindHeader {
		i.First = s.sequence
	}
	// A snapshot carries on a try that had no verdict yet.
	if s.kind == kindDebit || s.kind == kindSnapshot && s.attempt != 0 {
		i.Tries = append(i.Tries, Spent{s.card, s.secret, s.attempt})
	}
}
