package ttyprompt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client"
)

// ErrTooLong means that more was entered than any PIN has. It is never cut: a
// shortened PIN would be another PIN, and spend a try.
var ErrTooLong = errors.New("longer than 64 bytes")

// Keys on the terminal (ECMA-48, ASCII).
const (
	keyCtrlC     = 0x03
	keyCtrlD     = 0x04
	keyBackspace = 0x08
	keyNewline   = 0x0A
	keyReturn    = 0x0D
	keyCtrlU     = 0x15
	keyDelete    = 0x7F
)

// Reader reads from a descriptor, byte by byte and straight to where the bytes
// are kept, until its context ends.
type Reader struct {
	ctx  context.Context // lives for one entry only
	fd   int
	wake int // eventfd, readable once ctx is done
	stop func()
}

// NewReader makes a Reader, whose caller closes it. The descriptor stays the
// caller's.
func NewReader(ctx context.Context, fd int) (*Reader, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("making an eventfd: %w", err)
	}
	woken := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(woken)
		_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // eventfd(2): an 8-byte count, never 0
	})
	return &Reader{ctx: ctx, fd: fd, wake: wake, stop: func() {
		if !cancel() {
			<-woken
		}
		_ = unix.Close(wake)
	}}, nil
}

// Close ends the use of the context, not the descriptor.
func (r *Reader) Close() { r.stop() }

// readByte reads one byte straight into b, which is one byte of locked memory.
func (r *Reader) readByte(b []byte) error {
	for {
		fds := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}, {Fd: int32(r.wake), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return fmt.Errorf("waiting for input: %w", err)
		}
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if fds[0].Revents == 0 {
			continue
		}
		n, err := unix.Read(r.fd, b[:1])
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, unix.EIO): // the terminal is gone (tty_ioctl(4), hangup)
			return io.EOF
		case err != nil:
			return fmt.Errorf("reading input: %w", err)
		case n == 0:
			return io.EOF
		}
		return nil
	}
}

// readEntry reads what a person types, up to Return, into buf and returns how
// many bytes it is. Backspace and Ctrl-U correct it; Ctrl-C, Ctrl-D and a
// closed terminal are [client.ErrCancel].
func readEntry(r *Reader, buf []byte) (int, error) {
	n, over := 0, false
	for {
		at := min(n, len(buf)-1)
		kept := buf[at]
		if err := r.readByte(buf[at : at+1]); err != nil {
			if errors.Is(err, io.EOF) {
				return 0, client.ErrCancel
			}
			return 0, err
		}
		switch key := buf[at]; {
		case key == keyCtrlC || key == keyCtrlD:
			return 0, client.ErrCancel
		case key == keyNewline || key == keyReturn:
			if over {
				return 0, ErrTooLong
			}
			if n == len(buf) {
				buf[at] = kept
			}
			return n, nil
		case key == keyBackspace || key == keyDelete:
			n = lastCharacter(buf[:n])
		case key == keyCtrlU:
			n, over = 0, false
		case key < 0x20: // other control keys are no part of a PIN
		case n == len(buf):
			over = true
		default:
			n++
		}
	}
}

// lastCharacter returns the length without the last UTF-8 character, whose
// continuation bytes begin with the bits 10 (RFC 3629 section 3).
func lastCharacter(b []byte) int {
	n := len(b)
	for n > 0 {
		n--
		if b[n]&0xC0 != 0x80 {
			break
		}
	}
	return n
}

// Line reads to a newline or the end into buf and returns how many bytes it is,
// without the newline or CR LF. What is longer than buf is [ErrTooLong].
func (r *Reader) Line(buf []byte) (int, error) {
	for n := 0; ; n++ {
		at := min(n, len(buf)-1)
		kept := buf[at]
		err := r.readByte(buf[at : at+1])
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return 0, err
		}
		newline := !ended && buf[at] == keyNewline
		if !ended && !newline {
			if n == len(buf) {
				return 0, ErrTooLong
			}
			continue
		}
		if n == len(buf) {
			buf[at] = kept
		}
		if newline {
			n = len(bytes.TrimSuffix(buf[:n], []byte{keyReturn}))
		}
		return n, nil
	}
}
