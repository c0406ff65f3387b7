// Package virtual is readers that exist only in this process, with cards that
// tests insert and pull.
//
// It guarantees the behaviour of [pcsc.System]: exclusive connections, an
// insertion count that tells a swap, calls that end with their context even
// when a card does not answer, and errors of package pcsc and of the context
// alone. A caller must say wherever such a reader is shown that it is virtual.
package virtual

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/inkan-project/inkan/pcsc"
)

// DefaultReader is the name of the reader of a System made without names.
const DefaultReader = "Inkan Virtual Reader 00"

// Card is what can be inserted. A reader calls it from one goroutine at a time;
// a card that is pulled during a command and inserted again at once must bear
// two.
type Card interface {
	// ATR returns the answer to reset (ISO/IEC 7816-3 section 8). It is asked
	// once per insertion.
	ATR() []byte
	// Reset takes selection and login away; inserting a card does it too.
	Reset()
	// Transmit answers one command APDU. It must not keep the command.
	Transmit(command []byte) []byte
}

// Options says which readers there are. The hooks are for tests that make
// things go wrong; they see secrets, and may block or pull the card.
type Options struct {
	// Readers are the names; none means DefaultReader.
	Readers []string
	// Before is called before the card gets a command. Its error is returned
	// from Transmit and the card never sees the command.
	Before func(reader string, command []byte) error
	// After is called when the card has acted. Its error is returned from
	// Transmit in the place of the answer.
	After func(reader string, command, answer []byte) error
}

// System is a set of virtual readers. It may be used by several goroutines.
type System struct {
	options Options

	mu      sync.Mutex // guards all below and the connected field of insertions
	readers []*reader
	changed chan struct{} // closed and replaced at each change
}

type reader struct {
	name     string
	count    uint32 // insertions and removals
	inserted *insertion
}

// New returns a System with its readers, all empty.
func New(o Options) *System {
	if len(o.Readers) == 0 {
		o.Readers = []string{DefaultReader}
	}
	s := &System{options: o, changed: make(chan struct{})}
	for _, name := range o.Readers {
		s.readers = append(s.readers, &reader{name: name})
	}
	return s
}

// Insert puts a card into an empty reader.
func (s *System) Insert(name string, card Card) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findLocked(name)
	if err != nil {
		return err
	}
	if r.inserted != nil {
		return fmt.Errorf("inserting card into %s: there is one already", name)
	}
	card.Reset()
	r.inserted = newInsertion(card)
	s.changedLocked(r)
	return nil
}

// Remove pulls the card. A command that is under way gets
// [pcsc.ErrNoAnswer], each later one [pcsc.ErrRemoved].
func (s *System) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findLocked(name)
	if err != nil {
		return err
	}
	if r.inserted == nil {
		return fmt.Errorf("pulling card from %s: %w", name, pcsc.ErrRemoved)
	}
	close(r.inserted.gone)
	r.inserted = nil
	s.changedLocked(r)
	return nil
}

// Wait implements [pcsc.System].
func (s *System) Wait(ctx context.Context, known []pcsc.ReaderState) ([]pcsc.ReaderState, error) {
	for {
		now, changed := s.look()
		if known == nil || !slices.EqualFunc(now, known, sameState) {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func sameState(a, b pcsc.ReaderState) bool {
	return a.Name == b.Name && a.Present == b.Present && a.Insertion == b.Insertion
}

// Connect implements [pcsc.System].
func (s *System) Connect(ctx context.Context, name string) (pcsc.Card, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findLocked(name)
	if err != nil {
		return nil, err
	}
	switch {
	case r.inserted == nil:
		return nil, fmt.Errorf("connecting to %s: %w", name, pcsc.ErrRemoved)
	case r.inserted.connected:
		return nil, fmt.Errorf("connecting to %s: %w", name, pcsc.ErrSharing)
	}
	r.inserted.connected = true
	return &connection{system: s, reader: name, insertion: r.inserted, closed: make(chan struct{})}, nil
}

func (s *System) look() (states []pcsc.ReaderState, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	states = make([]pcsc.ReaderState, 0, len(s.readers))
	for _, r := range s.readers {
		state := pcsc.ReaderState{Name: r.name, Insertion: r.count, Virtual: true}
		if r.inserted != nil {
			state.Present, state.ATR = true, slices.Clone(r.inserted.atr)
		}
		states = append(states, state)
	}
	return states, s.changed
}

func (s *System) findLocked(name string) (*reader, error) {
	for _, r := range s.readers {
		if r.name == name {
			return r, nil
		}
	}
	return nil, fmt.Errorf("looking for %s: %w", name, pcsc.ErrNoReader)
}

func (s *System) changedLocked(r *reader) {
	r.count++
	close(s.changed)
	s.changed = make(chan struct{})
}

// errLetGo is for a connection that is used after Disconnect.
var errLetGo = errors.New("connection was let go")
