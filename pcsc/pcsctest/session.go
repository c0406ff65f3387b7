package pcsctest

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/vpcd"
)

// session is a reader with a card as pcscd sees it, with the faults in between.
// It outlives a card that is replaced.
//
// Such a swap must not look like a removal followed by an insertion to vpcd,
// for a card may be lost by it: vpcd tells of a connection that ended just once,
// and when a client resets the card before pcscd looks by itself, pcscd notes
// "no card" without telling its watching thread, which then sees a card where
// one was before (pcsclite 1.9.9: SCARD_ABSENT in SCardReconnect and
// SCardDisconnect of winscard.c, dwCurrentState in eventhandler.c). From then on
// pcscd answers 0x8010000C until a card is out for longer than 400 ms.
type session struct {
	reader *Reader
	pid    int             // of pcscd
	ctx    context.Context //nolint:containedctx // is the time of the session
	pull   context.CancelFunc
	done   chan struct{}
	known  atomic.Bool // pcscd has looked at it

	mu    sync.Mutex // guards the fields that follow; held while the card is used
	card  virtual.Card
	out   chan struct{} // is closed when the card is pulled for another one
	stale bool          // the card is another one, of which pcscd has not heard

	// Of the goroutine of run:

	conn net.Conn // which vpcd uses
	next net.Conn // takes its place when it ends, or nil
}

func (s *session) run() {
	defer close(s.done)
	defer s.pull()
	if err := s.serve(); err != nil && !errors.Is(err, vpcd.ErrMute) {
		s.reader.service.t.Errorf("%s: %v", s.reader.Name, err)
	}
}

// serve lets pcscd use the card until it is pulled. A command that is lost ends
// a connection, and not the session.
func (s *session) serve() error {
	defer func() {
		if s.next != nil {
			_ = s.next.Close()
		}
	}()
	for {
		err := vpcd.Run(s.ctx, s.dial, s)
		if err == nil || s.next == nil {
			return err //nolint:wrapcheck // says all there is
		}
	}
}

// dial gives the connection that is ready, or a new one.
func (s *session) dial(ctx context.Context) (net.Conn, error) {
	conn := s.next
	s.next = nil
	if conn == nil {
		var err error
		if conn, err = dial(ctx, s.pid, s.reader.port); err != nil {
			return nil, err
		}
	}
	s.conn = conn
	return polled{conn}, nil
}

// lose leaves a command without an answer. It ends the connection, for vpcd has
// no other way; the next one waits already when vpcd looks, which so finds a
// card at any time, and does not take its power away.
func (s *session) lose() []byte {
	if s.ctx.Err() != nil {
		return nil
	}
	next, err := dial(s.ctx, s.pid, s.reader.port)
	if err != nil {
		s.reader.service.t.Errorf("%s: losing a command: %v", s.reader.Name, err)
	}
	s.next = next
	return nil
}

// replace puts another card in the place of this one, which is used no more.
// heard says that what is under way will be lost; else the next command is.
func (s *session) replace(card virtual.Card, heard bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.out)
	s.card, s.out, s.stale = card, make(chan struct{}), !heard
	power(card)
}

// ATR implements [vpcd.Card].
func (s *session) ATR() []byte {
	s.known.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.card.ATR()
}

// Reset implements [vpcd.Card].
func (s *session) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = false
	s.card.Reset()
}

// Power is passed on to a card that has it.
func (s *session) Power() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = false
	power(s.card)
}

func power(card virtual.Card) {
	if c, ok := card.(interface{ Power() }); ok {
		c.Power()
		return
	}
	card.Reset()
}

// Transmit implements [vpcd.Card].
func (s *session) Transmit(command []byte) []byte {
	f := s.reader.due(command)
	if f != nil {
		defer close(f.struck)
	}
	answer, out := s.tell(command, f == nil || f.Acts)
	switch {
	case out == nil:
		return s.lose()
	case f == nil:
		return answer
	}
	if f.Meanwhile != nil {
		f.Meanwhile()
	}
	if !s.linger(&f.Fault, out) {
		return s.lose()
	}
	switch {
	case f.Answer != nil:
		return f.Answer
	case f.Drop:
		return s.lose()
	case f.Delay > 0:
		return answer
	}
	return s.pulled(&f.Fault, answer)
}

// tell gives the command to the card if that is to act. out is closed when the
// card is replaced; it is nil when it was, and the command is lost.
func (s *session) tell(command []byte, act bool) (answer []byte, out <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stale {
		s.stale = false
		return nil, nil
	}
	if act {
		answer = s.card.Transmit(command)
	}
	return answer, s.out
}

// linger waits as long as the fault wants. It reports whether the card is still
// in.
func (s *session) linger(f *Fault, out <-chan struct{}) bool {
	var late <-chan time.Time
	switch {
	case f.Stall:
	case f.Delay > 0:
		late = time.After(f.Delay)
	default:
		return true
	}
	select {
	case <-late:
		return true
	case <-s.ctx.Done():
	case <-out:
	}
	return false
}

// pulled is a card that goes while pcscd waits for its answer.
func (s *session) pulled(f *Fault, answer []byte) []byte {
	if f.Cut > 0 {
		frame := binary.BigEndian.AppendUint16(nil, uint16(len(answer)))
		_, _ = s.conn.Write(append(frame, answer[:min(f.Cut, len(answer))]...))
	}
	if !s.reader.swap(s, f.Insert) {
		return nil // ends the session
	}
	s.replace(f.Insert, true)
	return s.lose()
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
