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
}

func newReader(p *PCSCD, friendly string, port int) *Reader {
	// pcscd adds the number among readers of this name, and the slot.
	return &Reader{Name: friendly + " 00 00", service: p, friendly: friendly, port: port}
}

// Insert puts a card in. pcscd looks every 400 ms, and sees it the next time it
// does. While pcscd is down, the card waits in the reader.
func (r *Reader) Insert(card virtual.Card) {
	r.service.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.card != nil {
		r.service.t.Fatalf("%s has a card already", r.Name)
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
	r.card = nil
	s := r.session
	r.session = nil
	r.mu.Unlock()
	if s != nil {
		s.pull()
		<-s.done
	}
}

// Replace pulls the card and puts another in, or the same: faster than pcscd
// looks, so that it often does not notice.
func (r *Reader) Replace(card virtual.Card) {
	r.service.t.Helper()
	r.Remove()
	r.Insert(card)
}

// Blip pulls the card and puts it back at once.
func (r *Reader) Blip() {
	r.service.t.Helper()
	r.mu.Lock()
	card := r.card
	r.mu.Unlock()
	r.Replace(card)
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
	s := &session{reader: r, card: r.card, next: conn, pid: running.pid, ctx: ctx, pull: cancel, done: make(chan struct{})}
	r.session = s
	go s.run()
	return nil
}

// serviceEnded is called when pcscd is gone, and the connection with it.
func (r *Reader) serviceEnded() {
	r.mu.Lock()
	s := r.session
	r.session = nil
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
