package pcsctest

import (
	"context"
	"sync"

	"github.com/inkan-project/inkan/pcsc/virtual"
)

// Reader is a virtual reader. Its methods may be used by several goroutines,
// but not by cards.
type Reader struct {
	// Name is the reader's name in PC/SC.
	Name string

	service  *PCSCD
	friendly string
	port     int

	mu      sync.Mutex   // guards the fields that follow
	card    virtual.Card // inserted, or nil
	faults  []*arranged
	session *session // nil: no connection to pcscd
	pulled  int      // how long pcscd's log was when the card was pulled that it knew; 0: it knew none
}

func newReader(p *PCSCD, friendly string, port int) *Reader {
	// pcscd adds the number among readers of this name, and the slot.
	return &Reader{Name: friendly + " 00 00", service: p, friendly: friendly, port: port}
}

// Insert puts a card in. pcscd looks every 400 ms, and sees it the next time it
// does; before that, Insert waits until pcscd has seen that the card before is
// gone. While pcscd is down, the card waits in the reader.
func (r *Reader) Insert(card virtual.Card) {
	r.service.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.card != nil {
		r.service.t.Fatalf("%s has a card already", r.Name)
	}
	r.insertLocked(card)
}

func (r *Reader) insertLocked(card virtual.Card) {
	r.service.t.Helper()
	if r.pulled > 0 {
		if err := r.service.awaitRemoval(r.Name, r.pulled); err != nil {
			r.service.t.Fatal(err)
		}
		r.pulled = 0
	}
	r.card = card
	if err := r.plugLocked(); err != nil {
		r.service.t.Fatal(err)
	}
}

// Remove pulls the card, also one that never answers. It returns when the card
// is used no more.
func (r *Reader) Remove() {
	r.mu.Lock()
	s := r.session
	r.leaveLocked()
	r.mu.Unlock()
	if s != nil {
		s.pull()
		<-s.done
	}
}

// leaveLocked forgets the card that is about to be pulled.
func (r *Reader) leaveLocked() {
	if r.session != nil && r.session.known.Load() {
		r.pulled = r.service.logged()
	}
	r.card, r.session = nil, nil
}

// Replace pulls the card and puts another in, or the same, between two looks of
// pcscd, so that it does not notice: what is sent next is lost, unless it is a
// reset, and then it is the other card that answers. For a swap that pcscd sees
// there are Remove and Insert.
func (r *Reader) Replace(card virtual.Card) {
	r.service.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session == nil {
		r.insertLocked(card)
		return
	}
	r.card = card
	r.session.replace(card, false)
}

// Blip pulls the card and puts it back at once.
func (r *Reader) Blip() {
	r.service.t.Helper()
	r.mu.Lock()
	card := r.card
	r.mu.Unlock()
	r.Replace(card)
}

// swap is what a fault does that pulls the card and puts another one in, or
// none. It reports whether there is one: somebody else may have pulled it too.
func (r *Reader) swap(s *session, card virtual.Card) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != s {
		return false
	}
	if card == nil {
		r.leaveLocked()
		return false
	}
	r.card = card
	return true
}

// plugLocked connects the inserted card to pcscd, if there are both.
func (r *Reader) plugLocked() error {
	running := r.service.running
	if r.card == nil || running == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := dial(ctx, running.pid, r.port)
	if err != nil {
		cancel()
		return err
	}
	s := &session{
		reader: r, card: r.card, out: make(chan struct{}), next: conn,
		pid: running.pid, ctx: ctx, pull: cancel, done: make(chan struct{}),
	}
	r.session = s
	go s.run()
	return nil
}

// serviceEnded is called when pcscd is gone, and the connection with it.
func (r *Reader) serviceEnded() {
	r.mu.Lock()
	s := r.session
	r.session, r.pulled = nil, 0
	r.mu.Unlock()
	if s != nil {
		s.pull()
		<-s.done
	}
}

func (r *Reader) serviceStarted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.plugLocked(); err != nil {
		r.service.t.Error(err)
	}
}

// close pulls the card for good.
func (r *Reader) close() { r.Remove() }
