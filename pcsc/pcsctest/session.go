package pcsctest

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/vpcd"
)

// session is a card that is connected to pcscd, with its faults in between.
type session struct {
	reader *Reader
	card   virtual.Card
	conn   net.Conn        // which vpcd uses; of the goroutine of run, as next
	next   net.Conn        // takes its place when it ends, or nil
	pid    int             // of pcscd
	ctx    context.Context //nolint:containedctx // is the stay of the card in the reader
	pull   context.CancelFunc
	done   chan struct{}
	struck *Fault // the fault that ended it; of the goroutine of run
}

func (s *session) run() {
	defer close(s.done)
	defer s.pull()
	err := s.serve()
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

// serve lets pcscd use the card until it is pulled. A dropped command ends a
// connection, and not the stay of the card.
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

// dial gives the connection that is ready. Without one it connects again: vpcd
// drops a card in the middle of a reset when it was swapped.
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

// stay makes a connection for when this one ends, on which the card is still
// in: the driver forgets a card without an answer, and finds this one waiting
// the next time it looks. No look comes in between, and the power stays on.
func (s *session) stay() error {
	next, err := dial(s.ctx, s.pid, s.reader.port)
	s.next = next
	return err
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
	case f.Drop:
		if err := s.stay(); err != nil {
			s.reader.service.t.Errorf("%s: dropping a command: %v", s.reader.Name, err)
		}
		return nil
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
