package pcsc

import (
	"bytes"
	"errors"
	"sync"

	"github.com/ebfe/scard"
)

// handle is a connection as the binding knows it. Its methods block for as
// long as they like.
type handle struct {
	context *scard.Context
	card    *scard.Card // nil: none at present
	atr     []byte
	reader  string
	peeking *sync.Mutex // of the Service
}

// connect makes a connection with a context of its own.
func connect(reader string, peeking *sync.Mutex) (*handle, error) {
	opened, err := scard.EstablishContext()
	if err != nil {
		return nil, plain(err)
	}
	h := &handle{context: opened, reader: reader, peeking: peeking}
	if err := h.connect(); err != nil {
		_ = h.release(Leave)
		return nil, err
	}
	return h, nil
}

// connect takes a card. Exclusive access comes by Connect, never by Reconnect:
// in that, libpcsclite tries again for ever while another program shares the
// card. Whether another program has it is asked before: while that is in a
// transaction, pcscd would let Connect wait (pcsclite 1.9.9 winscard.c,
// "Waiting for release of lock").
func (h *handle) connect() error {
	if err := h.peek(); err != nil {
		return err
	}
	taken, err := h.context.Connect(h.reader, scard.ShareExclusive, scard.ProtocolAny)
	if err != nil {
		return plain(err)
	}
	h.card = taken
	if err := taken.BeginTransaction(); err != nil {
		return plain(err)
	}
	status, err := taken.Status()
	if err != nil {
		return plain(err)
	}
	h.atr = bytes.Clone(status.Atr)
	return nil
}

// peek returns an error when the card is not free.
//
// The binding keeps the name that C reads in a table by the name, so that a
// second call for a reader takes the name away from one that still waits, the
// watch. What stands behind a NUL is another name for the table and the same
// for C.
func (h *handle) peek() error {
	h.peeking.Lock()
	defer h.peeking.Unlock()
	states := []scard.ReaderState{{Reader: h.reader + "\x00peek"}}
	if err := h.context.GetStatusChange(states, 0); err != nil {
		return plain(err)
	}
	if states[0].EventState&(scard.StateInuse|scard.StateExclusive) != 0 {
		return code(scard.ErrSharingViolation)
	}
	return nil
}

// again lets the card go, reset, and takes it once more with a new context:
// pcscd has a thread for each context, in which the last command stays, a PIN
// perhaps, until a longer one comes or the context is released. An old
// connection that does not work is no matter.
func (h *handle) again() (*handle, error) {
	_ = h.release(Reset)
	return connect(h.reader, h.peeking)
}

// letGo ends transaction and connection. The disposition goes with the second,
// so that nobody can come in between.
func (h *handle) letGo(d Disposition) error {
	if h.card == nil {
		return nil
	}
	end := h.card.EndTransaction(scard.LeaveCard)
	err := h.card.Disconnect(disposition(d))
	h.card = nil
	if err == nil {
		return nil // however the transaction ended, it has
	}
	return plain(errors.Join(err, end))
}

// release gives everything back. A nil handle has nothing.
func (h *handle) release(d Disposition) error {
	if h == nil || h.context == nil {
		return nil
	}
	err := h.letGo(d)
	if e := h.context.Release(); err == nil && e != nil {
		err = plain(e)
	}
	h.context = nil
	return err
}

func disposition(d Disposition) scard.Disposition {
	if d == Reset {
		return scard.ResetCard
	}
	return scard.LeaveCard
}
