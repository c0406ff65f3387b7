// Package apdu is the language of cards: command and response APDUs, status
// words and BER-TLV data objects of ISO/IEC 7816-4 (section numbers are those
// of the fourth edition, 2020).
//
// It guarantees that bytes from a card are never believed: a length is checked
// against what is really there before anything is allocated, rounds and nodes
// are counted, nothing panics, and no command that carries a secret is ever
// sent by [Exchange], which may send twice. A caller must send those itself,
// once, and must not change a slice that a parsed value points into.
package apdu

import (
	"errors"
	"fmt"
)

// Limits of one command (ISO/IEC 7816-4 section 5.2, length fields).
const (
	maxShortData    = 255   // Lc in one byte, 00 excluded
	maxShortNe      = 256   // Le in one byte, 00 = 256
	maxExtendedData = 65535 // Lc in two bytes, 0000 excluded
	maxExtendedNe   = 65536 // Le in two bytes, 0000 = 65536
	headerLength    = 4     // CLA INS P1 P2
)

// MaxResponse is the most that is taken from a card as one answer, in bytes:
// the longest data field and a status word.
const MaxResponse = maxExtendedNe + 2

// ErrMalformed means that bytes are not what ISO/IEC 7816-4 says they should
// be. Errors about form wrap it.
var ErrMalformed = errors.New("malformed")

// Command is a command APDU (ISO/IEC 7816-4 section 5.2).
type Command struct {
	CLA, INS, P1, P2 byte
	Data             []byte // at most 65535 bytes
	Ne               int    // most bytes wanted in the answer: 0 = none, at most 65536
}

// Extended reports whether the command needs extended length fields.
func (c Command) Extended() bool { return len(c.Data) > maxShortData || c.Ne > maxShortNe }

// Bytes encodes the command: with short length fields when it fits, else with
// extended ones (ISO/IEC 7816-4 section 5.2). It returns an error wrapping
// [ErrMalformed] when a length is out of range.
func (c Command) Bytes() ([]byte, error) {
	if len(c.Data) > maxExtendedData {
		return nil, fmt.Errorf("command data of %d bytes: %w", len(c.Data), ErrMalformed)
	}
	if c.Ne < 0 || c.Ne > maxExtendedNe {
		return nil, fmt.Errorf("command with Ne %d: %w", c.Ne, ErrMalformed)
	}
	// Longest frame: header, 00 Lc Lc, data, Le Le.
	b := append(make([]byte, 0, headerLength+5+len(c.Data)), c.CLA, c.INS, c.P1, c.P2)
	if !c.Extended() {
		if len(c.Data) > 0 {
			b = append(append(b, byte(len(c.Data))), c.Data...)
		}
		if c.Ne > 0 {
			b = append(b, byte(c.Ne)) // 256 becomes 00
		}
		return b, nil
	}
	b = append(b, 0)
	if len(c.Data) > 0 {
		b = append(b, byte(len(c.Data)>>8), byte(len(c.Data)))
		b = append(b, c.Data...)
	}
	if c.Ne > 0 {
		b = append(b, byte(c.Ne>>8), byte(c.Ne)) // 65536 becomes 0000
	}
	return b, nil
}

// ParseCommand decodes a command APDU, short or extended. Data points into b.
// It returns an error wrapping [ErrMalformed]; the error never quotes data.
func ParseCommand(b []byte) (Command, error) {
	if len(b) < headerLength {
		return Command{}, fmt.Errorf("command of %d bytes: %w", len(b), ErrMalformed)
	}
	c := Command{CLA: b[0], INS: b[1], P1: b[2], P2: b[3]}
	body := b[headerLength:]
	switch {
	case len(body) == 0: // case 1
		return c, nil
	case len(body) == 1: // case 2, short
		c.Ne = shortNe(body[0])
		return c, nil
	case body[0] != 0:
		return parseShort(c, body)
	case len(body) == 3: // case 2, extended
		c.Ne = extendedNe(body[1:])
		return c, nil
	default:
		return parseExtended(c, body)
	}
}

// parseShort decodes Lc, data and perhaps Le (cases 3 and 4).
func parseShort(c Command, body []byte) (Command, error) {
	n, rest := int(body[0]), body[1:]
	switch len(rest) {
	case n:
	case n + 1:
		c.Ne = shortNe(rest[n])
	default:
		return Command{}, fmt.Errorf("command with Lc %d and %d bytes after it: %w", n, len(rest), ErrMalformed)
	}
	c.Data = rest[:n:n]
	return c, nil
}

// parseExtended decodes 00, two bytes of Lc, data and perhaps two bytes of Le.
func parseExtended(c Command, body []byte) (Command, error) {
	if len(body) < 3 {
		return Command{}, fmt.Errorf("command with half a length field: %w", ErrMalformed)
	}
	n, rest := int(body[1])<<8|int(body[2]), body[3:]
	switch {
	case n == 0: // Lc 0000 does not exist: a command without data has no Lc
		return Command{}, fmt.Errorf("command with extended Lc 0: %w", ErrMalformed)
	case len(rest) == n:
	case len(rest) == n+2:
		c.Ne = extendedNe(rest[n:])
	default:
		return Command{}, fmt.Errorf("command with Lc %d and %d bytes after it: %w", n, len(rest), ErrMalformed)
	}
	c.Data = rest[:n:n]
	return c, nil
}

func shortNe(le byte) int {
	if le == 0 {
		return maxShortNe
	}
	return int(le)
}

func extendedNe(le []byte) int {
	if n := int(le[0])<<8 | int(le[1]); n != 0 {
		return n
	}
	return maxExtendedNe
}

// Response is a response APDU (ISO/IEC 7816-4 section 5.2).
type Response struct {
	Data []byte
	SW   SW
}

// Err returns nil for 9000 and a [StatusError] for every other status word.
func (r Response) Err() error { return r.SW.Err() }

// ParseResponse splits an answer in data and status word. Data points into b.
// It returns an error wrapping [ErrMalformed] for less than two bytes, which
// means that the outcome of the command is not known, and for more than
// [MaxResponse].
func ParseResponse(b []byte) (Response, error) {
	if len(b) < 2 || len(b) > MaxResponse {
		return Response{}, fmt.Errorf("answer of %d bytes: %w", len(b), ErrMalformed)
	}
	n := len(b) - 2
	return Response{Data: b[:n:n], SW: SW(uint16(b[n])<<8 | uint16(b[n+1]))}, nil
}
