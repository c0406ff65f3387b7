package cardowner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
)

// crowded is a System that knows which programs use the service beside us.
type crowded interface {
	Programs() ([]pcsc.Program, error)
}

// inUse says who may have a card, where the system tells: the service does
// not say which program has which card.
func (o *Owner) inUse(cause error) *token.Error {
	var names []string
	if c, ok := o.cfg.System.(crowded); ok {
		programs, err := c.Programs()
		cause = errors.Join(cause, err)
		for _, p := range programs {
			if p.PID != 0 {
				names = append(names, fmt.Sprintf("%s, pid %d", p.Name, p.PID))
			} else {
				names = append(names, fmt.Sprintf("a program of user %d", p.UID))
			}
		}
	}
	if len(names) == 0 {
		names = []string{"the system does not tell which"}
	}
	return token.Errorf(token.KindReaderInUse, "%s", strings.Join(names, "; ")).Because(cause)
}

// fault turns an error of the reader into one for people; errors that say it
// already stay as they are.
func (o *Owner) fault(err error) *token.Error {
	if e, ok := errors.AsType[*token.Error](err); ok {
		return e
	}
	kind := token.KindReaderFault
	switch {
	case errors.Is(err, pcsc.ErrTimeout), errors.Is(err, pcsc.ErrNoAnswer), errors.Is(err, context.DeadlineExceeded): // whatever else is known, the outcome is not
		kind = token.KindCardSilent
	case errors.Is(err, pcsc.ErrNoService):
		kind = token.KindPCSCUnavailable
	case errors.Is(err, pcsc.ErrRemoved), errors.Is(err, pcsc.ErrNoReader):
		kind = token.KindCardRemoved
	case errors.Is(err, pcsc.ErrSharing):
		return o.inUse(err)
	case errors.Is(err, pcsc.ErrDenied):
		return token.NewError(token.KindPCSCDenied, "detail", barrier(err)).Because(err)
	case errors.Is(err, pcsc.ErrUnresponsive):
		return token.NewError(token.KindCardUnresponsive).Because(err)
	}
	return token.Errorf(kind, "the reader did not do as asked").InJapanese("リーダが要求に応じません").Because(err)
}

// barrier names what keeps inkand's user out of pcscd.
func barrier(err error) string {
	if socket, ok := errors.AsType[*fs.PathError](err); ok {
		return socket.Path
	}
	return "polkit"
}
