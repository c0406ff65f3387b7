// Package house is one inkand as a process of its own, with its state, its
// virtual card, and the people who use it, for the faults that kill it.
//
// It guarantees that a process it started ends with its context and with this
// process, and that what it says of a broken invariant was compared with the
// card's own truth log, with the journal as the kill left it, and with what the
// callers were told. A caller does everything that spends tries or signs
// through a [Visitor], so that it is counted, and starts one process at a time
// unless it is about what happens otherwise.
package house

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
)

// Options says which house to make.
type Options struct {
	Dir       string // made; must not be there
	Behaviour pivcard.Behaviour
	// Elsewhere is the number of wrong PINs that the card got before it came
	// here.
	Elsewhere int
	// Sockets is the folder of the sockets, "" = Dir.
	Sockets string
	// Idle is how long inkand keeps the card after a use, "" = its default.
	Idle string
	// Crowd: several visitors call at once, so that the order of what they are
	// told is not that of what happened.
	Crowd bool
}

// House is a state directory with a card in it. Its methods may be used by
// many goroutines, but for those of one visitor.
type House struct {
	Dir       string
	sockets   string
	elsewhere int
	silent    bool
	copied    bool // its cards may be held for that
	crowd     bool
	base      pivcard.Truth // what the card saw before it came here

	mu      sync.Mutex // guards the fields that follow
	card    string     // identity
	tail    string     // of its serial
	keys    map[string]string
	pins    []string // the card has one of them
	stop    settled  // whether the card is stopped here
	doubts  int      // tries in a row that may have ended without a verdict
	number  int      // of the newest document
	calls   map[string]*call
	journal tally
	tip     tip // of the log, when it was last checked
	// unanswered is how many signatures the log has whose callers got none.
	unanswered int
}

// settled is what is known of something that a call changes.
type settled uint8

const (
	no settled = iota
	yes
	either // the call that changes it was cut off
)

// Keys of every card here: cheap ones.
func keys() map[pivcard.Slot]pivcard.KeyType {
	return map[pivcard.Slot]pivcard.KeyType{
		pivcard.SlotAuthentication: pivcard.P256, pivcard.SlotSignature: pivcard.P256, pivcard.SlotCardAuth: pivcard.P256,
	}
}

// New makes a house with a new card. inkand has never run in it.
func New(o Options) (*House, error) {
	h := &House{
		Dir: o.Dir, sockets: cmp.Or(o.Sockets, o.Dir), elsewhere: o.Elsewhere, silent: o.Behaviour.Silent, crowd: o.Crowd,
		pins: []string{pivcard.DemoPIN}, keys: map[string]string{}, calls: map[string]*call{},
	}
	if err := os.MkdirAll(h.State(), 0o700); err != nil {
		return nil, err
	}
	card, err := pivcard.Open(pivcard.Options{Dir: h.cardDir(), Keys: keys(), Behaviour: o.Behaviour})
	if err != nil {
		return nil, err
	}
	selectPIV := []byte{0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0x00, 0x00, 0x03, 0x08}
	wrongPIN := []byte{0x00, 0x20, 0x00, 0x80, 0x08, '9', '9', '9', '9', '9', '9', 0xFF, 0xFF}
	card.Transmit(selectPIV)
	for range o.Elsewhere {
		card.Transmit(wrongPIN)
	}
	if err := card.Close(); err != nil {
		return nil, err
	}
	if o.Idle != "" {
		if err := os.WriteFile(h.config(), []byte("[card]\nidle = \""+o.Idle+"\"\n"), 0o600); err != nil {
			return nil, err
		}
	}
	if h.base, err = h.Truth(); err != nil {
		return nil, err
	}
	if want := pivcard.Tries - o.Elsewhere; h.base.PINLeft != want {
		return nil, fmt.Errorf("the card has %d tries left, want %d", h.base.PINLeft, want)
	}
	return h, nil
}

// Remove removes the house.
func (h *House) Remove() error { return os.RemoveAll(h.Dir) }

// State is the state directory.
func (h *House) State() string { return filepath.Join(h.Dir, "state") }

// Socket is where calls are answered.
func (h *House) Socket() string { return filepath.Join(h.sockets, "inkan.sock") }

// config is a configuration file, where there is one.
func (h *House) config() string { return filepath.Join(h.Dir, "inkand.toml") }

func (h *House) cardDir() string { return filepath.Join(h.State(), "virtual-card") }

// Truth is what the card saw.
func (h *House) Truth() (pivcard.Truth, error) { return pivcard.ReadTruth(h.cardDir()) }

// Card returns the identity of the card, once a visitor came.
func (h *House) Card() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.card
}

// Copied is the same house at another place, whose journal was perhaps made for
// this one: what was known of it is known of that one, too.
func (h *House) Copied(dir string) *House {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &House{
		Dir: dir, sockets: dir, copied: true, elsewhere: h.elsewhere, silent: h.silent, crowd: h.crowd, base: h.base,
		card: h.card, tail: h.tail, keys: maps.Clone(h.keys), pins: h.pins, stop: h.stop, doubts: h.doubts,
		number: h.number, calls: maps.Clone(h.calls), journal: h.journal, tip: h.tip, unanswered: h.unanswered,
	}
}

// tally is what the journal showed so far.
type tally struct {
	seen       uint64 // the newest slot that was looked at
	pin        int    // tries that were durable
	unlock     int
	unreadable int
	blind      bool // a journal grew full between two looks: not every try was seen
}

// Look counts what the journal shows, before a start changes it. Return does so
// itself.
func (h *House) Look() error {
	_, err := h.look()
	return err
}

// look counts what the journal shows that was not counted. A process that runs
// must not be spending tries.
func (h *House) look() (pinguard.Inspection, error) {
	found, err := pinguard.Inspect(pinguard.DirFS(h.State()))
	if err != nil {
		return found, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.journal = h.journal.with(found)
	return found, nil
}

func (t tally) with(found pinguard.Inspection) tally {
	if found.First > t.seen+1 && t.seen > 0 {
		t.blind = true
	}
	for _, try := range found.Tries {
		switch {
		case try.Attempt <= t.seen:
		case try.Secret == token.SecretPIN:
			t.pin++
		case try.Secret == token.SecretUnlockCode:
			t.unlock++
		}
	}
	t.unreadable += found.Unreadable
	t.seen = max(t.seen, found.Last)
	return t
}

// settleJournal takes note of where the journal begins after a start: what the
// start itself wrote spends nothing.
func (h *House) settleJournal() error {
	found, err := pinguard.Inspect(pinguard.DirFS(h.State()))
	if err != nil {
		return err
	}
	if found.Unreadable > 0 {
		return errors.New("the journal still has unreadable slots")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.journal.seen = found.Last
	return nil
}
