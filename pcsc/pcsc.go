// Package pcsc is Inkan's own small view of PC/SC: readers come and go, a
// card is connected exclusively, commands are sent in a transaction.
//
// It guarantees that every failure is one of the errors below, so that no
// caller needs to know a PC/SC library; the caller must use a Card from one
// goroutine only and must close it. Implementations: [Service], which is pcscd,
// and pcsc/virtual, a reader in this process.
//
// Service holds the traps of libpcsclite and of the binding: calls that never
// return cost one thread and no more, a pcscd that is killed is only absent, an
// answer without a status word is none, and after one nothing is sent before a
// reset, for the card may have been swapped.
package pcsc

import (
	"context"
	"errors"
)

// Errors. Implementations wrap them with what they know.
var (
	// ErrNoService means that pcscd cannot be reached.
	ErrNoService = errors.New("no PC/SC service")
	// ErrNoReader means that the reader is gone.
	ErrNoReader = errors.New("reader is gone")
	// ErrRemoved means that the card is gone.
	ErrRemoved = errors.New("card was removed")
	// ErrReset means that the card was reset by somebody: selection and login
	// are lost, and it may be another card; Reset or a new connection is needed.
	ErrReset = errors.New("card was reset")
	// ErrSharing means that another program holds the card.
	ErrSharing = errors.New("card is used by another program")
	// ErrNoAnswer means that a command was sent and no usable answer (at least
	// a status word) came back: whether the card acted is not known.
	ErrNoAnswer = errors.New("no answer from the card: outcome unknown")
	// ErrTimeout means that the card did not answer before the deadline.
	ErrTimeout = errors.New("card did not answer in time: outcome unknown")
	// ErrDenied means that pcscd does not let this user in: polkit, or, where it
	// wraps an fs.PathError, the socket cannot be opened.
	ErrDenied = errors.New("PC/SC service refuses this user")
	// ErrUnresponsive means that what was inserted does not react: upside down,
	// dirty, or no card.
	ErrUnresponsive = errors.New("card does not react")
	// ErrFault means that something else went wrong in reader or service.
	ErrFault = errors.New("reader did not do as asked")
)

// ReaderState is one reader at one moment.
type ReaderState struct {
	Name    string
	Present bool   // a card is inserted
	ATR     []byte // answer to reset (ISO/IEC 7816-3 section 8), if Present
	// Insertion differs after each insertion and each removal; its value says
	// nothing else. A swap between two looks shows as another value.
	Insertion uint32
	// Epoch differs after each time that the service was lost: what happened in
	// between was not seen, and a reader may look empty at first.
	Epoch   uint32
	Virtual bool // the embedded virtual reader
}

// Disposition is what becomes of the card when it is let go.
type Disposition uint8

// Dispositions. A reset takes selection and login away from the card.
const (
	Leave Disposition = 0
	Reset Disposition = 1
)

// System is where readers come from.
type System interface {
	// Wait returns the readers as they are, as soon as they differ from known;
	// known nil means at once. It returns ctx's error when ctx ends.
	Wait(ctx context.Context, known []ReaderState) ([]ReaderState, error)
	// Connect connects to the card in a reader, exclusively.
	Connect(ctx context.Context, reader string) (Card, error)
}

// Card is an exclusive connection to a card.
type Card interface {
	// ATR returns the answer to reset.
	ATR() []byte
	// Transmit sends one command APDU and returns the response APDU, at least
	// two bytes. The command is never repeated and never kept.
	Transmit(ctx context.Context, command []byte) ([]byte, error)
	// Reset resets the card and stays connected.
	Reset(ctx context.Context) error
	// Disconnect lets the card go.
	Disconnect(d Disposition) error
}
