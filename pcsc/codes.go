package pcsc

import (
	"errors"
	"fmt"

	"github.com/ebfe/scard"
)

// code is an answer of libpcsclite other than success. The binding's own
// errors ask C for their text, in a buffer that all threads share.
type code uint32

// Error implements error. The numbers are in pcsclite.h.
func (c code) Error() string { return fmt.Sprintf("PC/SC code 0x%08X", uint32(c)) }

// meaning says what the codes of pcsclite.h and winscard.h mean to a caller.
// A code that is not here is [ErrFault].
func meaning(c code) error {
	switch scard.Error(c) {
	case scard.ErrNoService, // nobody listens at the socket, or pcscd was killed
		scard.ErrServiceStopped,
		scard.ErrCommError,     // the connection to pcscd broke, in a call that waits
		scard.ErrInvalidHandle, // pcscd is another one than that which gave the handle
		scard.ErrShutdown:
		return ErrNoService
	case scard.ErrSecurityViolation, // polkit says no; on an old context: pcscd ended
		scard.ErrNoAccess:
		return ErrDenied
	case scard.ErrUnknownReader, scard.ErrReaderUnavailable, scard.ErrNoReadersAvailable:
		return ErrNoReader
	case scard.ErrRemovedCard, scard.ErrNoSmartcard:
		return ErrRemoved
	case scard.ErrResetCard:
		return ErrReset
	case scard.ErrSharingViolation:
		return ErrSharing
	case scard.ErrUnresponsiveCard, scard.ErrUnpoweredCard, scard.ErrUnsupportedCard,
		scard.ErrProtoMismatch, scard.ErrInvalidAtr:
		return ErrUnresponsive
	default:
		return ErrFault
	}
}

// notSent are the codes which say that the card never got the command.
// Everything else after a Transmit leaves the outcome open: 0x80100016 (not
// transacted) comes both before and after the card acted, and a pcscd that is
// killed takes the answer with it.
func notSent(c code) bool {
	switch scard.Error(c) {
	case scard.ErrRemovedCard, scard.ErrNoSmartcard, scard.ErrResetCard, scard.ErrSharingViolation:
		return true
	default:
		return false
	}
}

// plain turns an error of the binding into a code.
func plain(err error) error {
	if c, ok := errors.AsType[scard.Error](err); ok {
		return code(c)
	}
	return err
}

// explain gives an error of the binding its meaning. Errors that have one
// stay as they are.
func explain(err error) error {
	c, ok := errors.AsType[code](plain(err))
	if !ok {
		return err
	}
	return fmt.Errorf("%w: %w", meaning(c), c)
}

// explainTransmit is explain for a command that may have reached the card.
func explainTransmit(err error) error {
	c, ok := errors.AsType[code](plain(err))
	switch {
	case !ok:
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	case notSent(c):
		return explain(c)
	case scard.Error(c) == scard.ErrSecurityViolation: // pcscd ended between two calls
		return fmt.Errorf("%w: %w: %w", ErrNoAnswer, ErrNoService, c)
	case meaning(c) == ErrFault: //nolint:errorlint // meaning returns the value itself
		return fmt.Errorf("%w: %w", ErrNoAnswer, c)
	}
	return fmt.Errorf("%w: %w", ErrNoAnswer, explain(c))
}
