// Package vpcd puts a card that is only software into vsmartcard's virtual
// reader (vpcd, a driver of pcscd), so that every program on the computer finds
// it there as if it were real.
//
// It guarantees that the card is called from one goroutine at a time, that a
// connection which ends is a card that is pulled and one that begins a card
// with power and nothing else, and that no copy of a command outlives its
// answer. A caller must know that vpcd listens on every network interface:
// outside a network namespace of its own, anybody near can put a card in.
//
// The protocol is that of vsmartcard 3.3, src/vpcd/vpcd.c: the card connects by
// TCP; each message is a length of two bytes, big endian, and so many bytes.
package vpcd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Card is what can be inserted. It is called from one goroutine at a time and
// must not keep a command. A card that has also a method Power() gets it in the
// place of Reset when the reader switches it on.
type Card interface {
	// ATR returns the answer to reset (ISO/IEC 7816-3 section 8).
	ATR() []byte
	// Reset takes selection and login away.
	Reset()
	// Transmit answers one command APDU. An answer of no bytes ends the
	// connection, as if the card were pulled.
	Transmit(command []byte) []byte
}

// Errors of Serve.
var (
	// ErrMute means that the card gave no answer, or one that no frame holds.
	ErrMute = errors.New("card gave no usable answer")
	// ErrProtocol means that what came is not the protocol of vpcd.
	ErrProtocol = errors.New("not the protocol of vpcd")
)

// Messages of one byte (vsmartcard src/vpcd/vpcd.h, VPCD_CTRL_*). No command
// APDU is that short.
const (
	controlOff   = 0x00
	controlOn    = 0x01
	controlReset = 0x02
	controlATR   = 0x04 // the only one with an answer
)

const (
	lengthBytes = 2
	maxFrame    = 1<<16 - 1
)

// Serve lets the reader at the other end of conn use the card until ctx ends or
// the reader goes away; both return nil. It closes conn, which pulls the card.
func Serve(ctx context.Context, conn net.Conn, card Card) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	frame := make([]byte, lengthBytes+maxFrame)
	defer clear(frame)
	for {
		acknowledgeAtOnce(conn)
		n, err := readFrame(conn, frame)
		if err != nil {
			return ended(ctx, err)
		}
		acknowledgeAtOnce(conn)
		answer, wanted := act(card, frame[:n])
		clear(frame[:n])
		if !wanted {
			continue
		}
		if len(answer) == 0 || len(answer) > maxFrame {
			return fmt.Errorf("answer of %d bytes: %w", len(answer), ErrMute)
		}
		if err := writeFrame(conn, answer); err != nil {
			return ended(ctx, err)
		}
	}
}

// ended tells an end that was to be expected from a fault.
func ended(ctx context.Context, err error) error {
	if errors.Is(err, ErrProtocol) && ctx.Err() == nil {
		return err
	}
	return nil // ctx is over, or the reader went away, however it did so
}

// readFrame reads a message to the beginning of into.
func readFrame(r io.Reader, into []byte) (int, error) {
	if _, err := io.ReadFull(r, into[:lengthBytes]); err != nil {
		return 0, fmt.Errorf("reading a length: %w", err)
	}
	n := int(binary.BigEndian.Uint16(into))
	if n == 0 {
		return 0, fmt.Errorf("message of no bytes: %w", ErrProtocol)
	}
	if _, err := io.ReadFull(r, into[:n]); err != nil {
		return 0, fmt.Errorf("reading a message of %d bytes: %w", n, err)
	}
	return n, nil
}

// writeFrame sends length and message in one piece: in two, the second would
// wait for the other side to acknowledge the first.
func writeFrame(w io.Writer, message []byte) error {
	frame := binary.BigEndian.AppendUint16(make([]byte, 0, lengthBytes+len(message)), uint16(len(message)))
	if _, err := w.Write(append(frame, message...)); err != nil {
		return fmt.Errorf("writing a message of %d bytes: %w", len(message), err)
	}
	return nil
}

// act does what a message says.
func act(card Card, message []byte) (answer []byte, wanted bool) {
	if len(message) > 1 {
		return card.Transmit(message), true
	}
	switch message[0] {
	case controlATR:
		return card.ATR(), true
	case controlOn:
		power(card)
	case controlReset:
		card.Reset()
	case controlOff: // what is lost by it is lost at the next controlOn
	}
	return nil, false
}

func power(card Card) {
	if c, ok := card.(interface{ Power() }); ok {
		c.Power()
		return
	}
	card.Reset()
}

// Pauses of Run between two attempts to reach the reader.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// Run keeps the card inserted until ctx ends, and then returns nil: when the
// reader is not there yet or goes away, it comes back as soon as the reader
// does, at most two seconds later. It returns the errors of [Serve].
func Run(ctx context.Context, dial func(context.Context) (net.Conn, error), card Card) error {
	pause := firstPause
	for {
		conn, err := dial(ctx)
		if err == nil {
			pause = firstPause
			if err := Serve(ctx, conn, card); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// dialTime is how long one attempt may take: a host that drops packets answers
// nothing for minutes, and a reader that comes meanwhile would not be found.
const dialTime = 3 * time.Second

// Dialer returns a function for [Run] that connects to HOST:PORT.
func Dialer(address string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTime}
		conn, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("connecting to the virtual reader: %w", err)
		}
		return conn, nil
	}
}
