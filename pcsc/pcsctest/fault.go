package pcsctest

import (
	"slices"
	"time"

	"github.com/inkan-project/inkan/pcsc/virtual"
)

// Fault is something that goes wrong with one command. The zero value pulls the
// card before the next command reaches it.
//
// Drop does what a real reader does when nothing comes from a card that is in,
// after its own attempts to repair the transmission: it waits for the time that
// the card may take (WT or BWT of ISO/IEC 7816-3, a second and more: Delay is
// for that) and gives up (CCID 1.1 table 6.2-2, ICC_MUTE). The card keeps its
// power, and so what was verified; no event is seen; the next command reaches
// it. One thing differs: a real driver reports an error, of which pcscd makes
// SCARD_E_NOT_TRANSACTED, and vpcd 3.3 success with an answer of no bytes, for
// it takes -1 for a great length. To a program both say: outcome unknown.
type Fault struct {
	// Match picks the command; nil takes any. Skip lets as many pass first.
	Match func(command []byte) bool
	Skip  int
	// Acts lets the card act before the fault: its answer is what gets lost.
	Acts bool
	// Meanwhile is called while pcscd waits for the answer. It must not use
	// this reader.
	Meanwhile func()

	// One of these; if none is set the card is pulled.

	Stall  bool          // no answer comes until the card is pulled
	Delay  time.Duration // the card answers (with Acts), but late
	Drop   bool          // the command is lost, or with Acts the answer; the card stays in
	Answer []byte        // comes in the place of the card's answer

	// Of a card that is pulled:

	Cut    int          // so many bytes of the answer still come
	Insert virtual.Card // is put in at once: the same for a blip, another for a swap
}

// arranged is a fault that has not struck yet.
type arranged struct {
	Fault
	struck chan struct{}
}

// Instruction picks commands by their instruction byte.
func Instruction(ins byte) func(command []byte) bool {
	return func(command []byte) bool { return len(command) > 1 && command[1] == ins }
}

// Arrange prepares a fault. It strikes once; the channel is closed when it has.
// A stalled command has struck when its card is pulled.
func (r *Reader) Arrange(f Fault) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := &arranged{Fault: f, struck: make(chan struct{})}
	r.faults = append(r.faults, a)
	return a.struck
}

// due returns the fault that strikes now, or nil.
func (r *Reader) due(command []byte) *arranged {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, a := range r.faults {
		if a.Match != nil && !a.Match(command) {
			continue
		}
		if a.Skip > 0 {
			a.Skip--
			continue
		}
		r.faults = slices.Delete(r.faults, i, i+1)
		return a
	}
	return nil
}
