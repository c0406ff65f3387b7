package pcsctest

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/vpcd"
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
	s := &session{reader: r, card: r.card, conn: conn, pid: running.pid, ctx: ctx, pull: cancel, done: make(chan struct{})}
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

// session is a card that is connected to pcscd, with its faults in between.
type session struct {
	reader *Reader
	card   virtual.Card
	conn   net.Conn        // of the goroutine of run
	begun  bool            // conn is in use, or was
	pid    int             // of pcscd
	ctx    context.Context //nolint:containedctx // is the stay of the card in the reader
	pull   context.CancelFunc
	done   chan struct{}
	struck *Fault // the fault that ended it; of the goroutine of run
}

func (s *session) run() {
	defer close(s.done)
	defer s.pull()
	err := vpcd.Run(s.ctx, s.dial, s)
	if err != nil && s.struck == nil && !errors.Is(err, vpcd.ErrMute) {
		s.reader.service.t.Errorf("%s: %v", s.reader.Name, err)
	}
	if s.struck == nil {
		return
	}
	r := s.reader
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != s {
		return // somebody pulled or restarted meanwhile
	}
	r.session, r.card = nil, s.struck.Insert
	if err := r.plugLocked(); err != nil {
		r.service.t.Errorf("%s: putting a card back: %v", r.Name, err)
	}
}

// dial connects again when vpcd has dropped the card, which it does in the
// middle of a reset for a card that was swapped. At first it gives the
// connection that is there.
func (s *session) dial(ctx context.Context) (net.Conn, error) {
	if !s.begun {
		s.begun = true
		return polled{s.conn}, nil
	}
	conn, err := dial(ctx, s.pid, s.reader.port)
	if err != nil {
		return nil, err
	}
	s.conn = conn
	return polled{conn}, nil
}

// maxSilence is how long vpcd may ask nothing of a card that is in: pcscd looks
// every 400 ms.
const maxSilence = 2 * time.Second

// polled is a connection that ends when vpcd has forgotten it. After a card
// that hung was pulled, that was seen once in some hundred runs on a machine
// with too much to do; the card is put back then.
type polled struct{ net.Conn }

// SyscallConn implements syscall.Conn: without it the kernel would not be asked
// to acknowledge at once, and each command would take 44 ms.
func (p polled) SyscallConn() (syscall.RawConn, error) {
	tcp, ok := p.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return tcp.SyscallConn()
}

// Read implements net.Conn.
func (p polled) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(maxSilence)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// ATR implements [vpcd.Card].
func (s *session) ATR() []byte { return s.card.ATR() }

// Reset implements [vpcd.Card].
func (s *session) Reset() { s.card.Reset() }

// Power is passed on to a card that has it.
func (s *session) Power() {
	if c, ok := s.card.(interface{ Power() }); ok {
		c.Power()
		return
	}
	s.card.Reset()
}

// Transmit implements [vpcd.Card].
func (s *session) Transmit(command []byte) []byte {
	f := s.reader.due(command)
	if f == nil {
		return s.card.Transmit(command)
	}
	defer close(f.struck)
	var answer []byte
	if f.Acts {
		answer = s.card.Transmit(command)
	}
	if f.Meanwhile != nil {
		f.Meanwhile()
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-s.ctx.Done():
			return nil
		}
	}
	switch {
	case f.Stall:
		<-s.ctx.Done()
		return nil
	case f.Answer != nil:
		return f.Answer
	case f.Delay > 0:
		return answer
	}
	if f.Cut > 0 {
		frame := binary.BigEndian.AppendUint16(nil, uint16(len(answer)))
		_, _ = s.conn.Write(append(frame, answer[:min(f.Cut, len(answer))]...))
	}
	s.struck = &f.Fault
	return nil // ends the connection
}
