package piv

import (
	"context"
	"errors"
	"fmt"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/apdu"
	"github.com/inkan-project/inkan/token"
)

// transportError marks an error of the connection: the outcome of the command
// is not known and the card may be another one by now.
type transportError struct{ cause error }

func (e transportError) Error() string { return e.cause.Error() }
func (e transportError) Unwrap() error { return e.cause }

// fault says what an error means to people. doing is the operation in
// progress, lower-case, for example "signing". People get our words; the words
// of the error itself are for the log. An error that has them already, because
// the connection refuses a command, stays as it is.
func fault(doing string, err error) *token.Error {
	if said, ok := errors.AsType[*token.Error](err); ok {
		return said
	}
	because := fmt.Errorf("%s: %w", doing, err)
	if status, ok := errors.AsType[apdu.StatusError](err); ok {
		word := status.SW.String()
		return token.NewError(token.KindCardFault, "status_word", word, "detail", doing+", status word "+word).Because(err)
	}
	_, transport := errors.AsType[transportError](err)
	switch {
	case errors.Is(err, pcsc.ErrRemoved), errors.Is(err, pcsc.ErrNoReader):
		return token.NewError(token.KindCardRemoved).Because(because)
	case errors.Is(err, pcsc.ErrTimeout), errors.Is(err, pcsc.ErrNoAnswer):
		return token.NewError(token.KindCardSilent).Because(because)
	case errors.Is(err, pcsc.ErrReset):
		return token.Errorf(token.KindCardFault, "%s, the card was reset", doing).Because(err)
	case errors.Is(err, pcsc.ErrSharing):
		return token.Errorf(token.KindReaderFault, "%s, another program uses the card", doing).Because(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return token.NewError(token.KindCallEnded).Because(because)
	case errors.Is(err, apdu.ErrTooLong), errors.Is(err, apdu.ErrMalformed), !transport:
		return token.Errorf(token.KindCardFault, "%s, the answer cannot be used", doing).Because(err)
	}
	return token.Errorf(token.KindReaderFault, "%s", doing).Because(err)
}
