package broker

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/failpoint"
	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/token"
)

// Stop says since when and why a card is stopped here.
type Stop struct {
	Time   time.Time
	UID    uint32
	Reason string // in the person's words
	Record uint64 // in the log
}

// Operations of the records that say which cards are stopped here: the log is
// the only place where that is written.
const (
	stopHere = "stop-here"
	lift     = "lift"
)

// stops are the cards that are stopped here, and what is being released.
type stops struct {
	changing sync.Mutex // held while one is set or lifted, so that the log has them in the same order

	mu        sync.Mutex // guards the fields that follow
	stopped   map[token.CardID]Stop
	releasing map[token.CardID]int
	ended     chan struct{} // closed when a release ends
}

func newStops() *stops {
	return &stops{stopped: map[token.CardID]Stop{}, releasing: map[token.CardID]int{}, ended: make(chan struct{})}
}

// of returns the stop of a card, and whether there is one.
func (s *stops) of(card token.CardID) (Stop, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stop, stopped := s.stopped[card]
	return stop, stopped
}

// check returns KindCardStoppedHere for a card that is stopped.
func (s *stops) check(card token.CardID) error {
	if _, stopped := s.of(card); stopped {
		return token.NewError(token.KindCardStoppedHere, "card", string(card))
	}
	return nil
}

// release begins to let something out. Whoever stops the card waits until done
// was called. A card that is stopped lets nothing out.
func (s *stops) release(card token.CardID) (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, stopped := s.stopped[card]; stopped {
		return nil, token.NewError(token.KindCardStoppedHere, "card", string(card))
	}
	s.releasing[card]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.releasing[card]--; s.releasing[card] == 0 {
			delete(s.releasing, card)
		}
		close(s.ended)
		s.ended = make(chan struct{})
	}), nil
}

// set stops a card, from this moment on.
func (s *stops) set(card token.CardID, stop Stop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped[card] = stop
}

// remove lifts a stop.
func (s *stops) remove(card token.CardID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.stopped, card)
}

// quiet waits until nothing is being released any more. That takes no longer
// than an answer that was written takes to leave; whoever sends them sees to it.
func (s *stops) quiet(card token.CardID) {
	for {
		s.mu.Lock()
		busy, ended := s.releasing[card] > 0, s.ended
		s.mu.Unlock()
		if !busy {
			return
		}
		<-ended
	}
}

// load takes the stops out of the log.
func (s *stops) load(events []audit.Record) {
	for _, rec := range events {
		switch rec.Operation {
		case stopHere:
			s.set(rec.Card, stopOf(rec))
		case lift:
			s.remove(rec.Card)
		}
	}
}

func stopOf(rec audit.Record) Stop {
	return Stop{Time: rec.Time, UID: rec.UID, Reason: rec.Detail, Record: rec.Sequence}
}

// StopRequest names a card that is lost, and what the person typed to confirm.
type StopRequest struct {
	Card       token.CardID
	SerialTail string // the last four characters of the serial
	Reason     string
}

// StopHere stops every use of a card, present or gone. When it returns nil the
// stop is durable and nothing is released any more, not even of what was under
// way. A card that is stopped already stays so, and its first record is
// returned.
func (b *Broker) StopHere(ctx context.Context, caller Caller, req StopRequest) (uint64, error) {
	return once(ctx, b, caller, caller.record(stopHere, req.Card), []string{string(req.Card), req.SerialTail, req.Reason},
		func(t *turn) (uint64, error) { return b.stopHere(ctx, caller, req, t) }, sequenceOf)
}

// sequenceOf is the answer to a request of which its record is all there is to
// say.
func sequenceOf(rec audit.Record) (uint64, error) { return rec.Sequence, nil }

// stopHere stops a card.
func (b *Broker) stopHere(ctx context.Context, caller Caller, req StopRequest, t *turn) (uint64, error) {
	card, err := b.registeredCard(ctx, req.Card)
	if err != nil {
		return 0, err
	}
	if !strings.EqualFold(req.SerialTail, tail(card.Serial)) {
		err := token.NewError(token.KindConfirmationRefused)
		t.refused(b, caller.event(stopHere, card.ID, req.Reason), err)
		return 0, err
	}
	// First nothing new begins, then it is written down, then what had begun to
	// leave is waited for.
	record, err := b.writeStop(caller, card, req.Reason, t)
	if err != nil {
		return 0, err // nothing is signed without a log, so the card stays stopped
	}
	b.stops.quiet(card.ID)
	return record, nil
}

// writeStop stops a card, at once and then durably.
func (b *Broker) writeStop(caller Caller, card register.Card, reason string, t *turn) (uint64, error) {
	b.stops.changing.Lock()
	defer b.stops.changing.Unlock()
	if stop, stopped := b.stops.of(card.ID); stopped && stop.Record != 0 {
		return stop.Record, nil
	}
	b.stops.set(card.ID, Stop{})
	failpoint.Hit(failpoint.StopSet)
	rec := caller.event(stopHere, card.ID, reason)
	rec.Virtual, rec.Request = card.Virtual, t.request
	written, err := b.ledger.barrier(rec, b.cfg.Guard.Mark)
	if err != nil {
		return 0, err
	}
	t.answer = written.Sequence
	b.stops.set(card.ID, stopOf(written))
	b.touch()
	return written.Sequence, nil
}

// tailLength is how much of a serial a person types.
const tailLength = 4

func tail(serial string) string {
	r := []rune(serial)
	return string(r[max(0, len(r)-tailLength):])
}

// Lift lets a card be used again that was stopped here.
func (b *Broker) Lift(ctx context.Context, caller Caller, id token.CardID, reason string) (uint64, error) {
	return once(ctx, b, caller, caller.record(lift, id), []string{string(id), reason},
		func(t *turn) (uint64, error) { return b.lift(ctx, caller, id, reason, t) }, sequenceOf)
}

func (b *Broker) lift(ctx context.Context, caller Caller, id token.CardID, reason string, t *turn) (uint64, error) {
	card, err := b.registeredCard(ctx, id)
	if err != nil {
		return 0, err
	}
	b.stops.changing.Lock()
	defer b.stops.changing.Unlock()
	rec := caller.event(lift, id, reason)
	rec.Virtual = card.Virtual
	if err := b.stops.check(id); err == nil {
		err := token.NewError(token.KindCardNotStopped, "card", string(id))
		t.refused(b, rec, err)
		return 0, err
	}
	rec.Request = t.request
	written, err := b.ledger.barrier(rec, b.cfg.Guard.Mark)
	if err != nil {
		return 0, err
	}
	t.answer = written.Sequence
	b.stops.remove(id)
	b.touch()
	return written.Sequence, nil
}

// Registered is a card of the register with its present state.
type Registered struct {
	register.Card
	Present bool
	State   token.CardState // 0 if it is not present and not stopped
	Stop    *Stop           // nil unless stopped here
}

// Cards returns the register.
func (b *Broker) Cards(ctx context.Context) ([]Registered, error) {
	known, err := b.cfg.Register.Cards(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Registered, 0, len(known))
	for _, card := range known {
		entry := Registered{Card: card}
		if here, err := b.cfg.Cards.Card(card.ID); err == nil {
			entry.Present, entry.State = true, b.cardStatus(here).State
		}
		if stop, stopped := b.stops.of(card.ID); stopped {
			entry.State, entry.Stop = token.CardStoppedHere, &stop
		}
		all = append(all, entry)
	}
	return all, nil
}

func (b *Broker) registeredCard(ctx context.Context, id token.CardID) (register.Card, error) {
	known, err := b.cfg.Register.Cards(ctx)
	if err != nil {
		return register.Card{}, err
	}
	for _, card := range known {
		if card.ID == id {
			return card, nil
		}
	}
	return register.Card{}, token.NewError(token.KindCardNotRegistered, "card", string(id))
}
