package pcscdtest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
)

// gapFault is what happens at one command of a flow.
type gapFault struct {
	name string
	make func(*station) pcsctest.Fault
	cost time.Duration // about what it takes, for sharing the work
	// What is to be done for the card afterwards:
	pulled  bool // it is out
	swapped bool // the other one is in
	killed  bool // pcscd is killed meanwhile, for all readers at once
	stalled bool // a call into the library does not return in time
}

// gapFaults are what can happen before, during and after each command. What
// happens after one command happens before the next.
func gapFaults() []gapFault {
	const late = 2 * stationCommand
	broken := []byte{0x6F, 0x00} // ISO/IEC 7816-4 table 6: no precise diagnosis
	of := func(f pcsctest.Fault) func(*station) pcsctest.Fault {
		return func(*station) pcsctest.Fault { return f }
	}
	return []gapFault{
		{name: "pulled before", cost: 1500 * time.Millisecond, pulled: true, make: of(pcsctest.Fault{})},
		{name: "pulled during", cost: 1500 * time.Millisecond, pulled: true, make: of(pcsctest.Fault{Acts: true, Cut: 1})},
		{name: "pulled after", cost: 1500 * time.Millisecond, pulled: true, make: of(pcsctest.Fault{Acts: true})},
		{name: "swapped before", cost: 2500 * time.Millisecond, swapped: true, make: func(s *station) pcsctest.Fault { return pcsctest.Fault{Insert: s.out.card} }},
		{name: "swapped after", cost: 2500 * time.Millisecond, swapped: true, make: func(s *station) pcsctest.Fault { return pcsctest.Fault{Acts: true, Insert: s.out.card} }},
		{name: "6F00 instead", cost: 1000 * time.Millisecond, make: of(pcsctest.Fault{Answer: broken})},
		{name: "6F00 after", cost: 1000 * time.Millisecond, make: of(pcsctest.Fault{Answer: broken, Acts: true})},
		{name: "stalled before", stalled: true, cost: 3000 * time.Millisecond, make: of(pcsctest.Fault{Drop: true, Delay: late})},
		{name: "stalled after", stalled: true, cost: 3000 * time.Millisecond, make: of(pcsctest.Fault{Acts: true, Delay: late})},
		{name: "reset by itself after", cost: 1000 * time.Millisecond, make: func(s *station) pcsctest.Fault {
			return pcsctest.Fault{Acts: true, Delay: time.Millisecond, Meanwhile: s.in.Reset}
		}},
		{name: "another program wants to reset", cost: 1000 * time.Millisecond, make: func(s *station) pcsctest.Fault {
			return pcsctest.Fault{Acts: true, Delay: time.Millisecond, Meanwhile: s.another}
		}},
		{name: "pcscd killed before", killed: true},
		{name: "pcscd killed after", killed: true},
	}
}

// another is a second program of PC/SC that takes the card and resets it where
// pcscd lets it.
func (s *station) another() {
	ctx, cancel := context.WithTimeout(s.b.t.Context(), stationCommand/2)
	defer cancel()
	other := pcsc.NewService(pcsc.Config{})
	defer other.Close()
	c, err := other.Connect(ctx, s.reader.Name)
	if err != nil {
		return // inkand has it alone
	}
	_ = c.Reset(ctx)
	_ = c.Disconnect(pcsc.Reset)
}

// item is one fault in one gap of one flow.
type item struct {
	flow  string
	gap   int
	path  []string // commands up to it
	fault gapFault
	tried int
}

// where says enough to do it again.
func (s *station) where(i item) string {
	return fmt.Sprintf("variant %s, %s, command %d (%s), %s", s.variant, i.flow, i.gap, i.path[i.gap], i.fault.name)
}

// key tells gaps of different kinds of cards apart where they are different.
// everywhere says that each kind has such a gap: some kinds have commands that
// are sent twice, or whose answer is fetched.
func (i item) key() (key string, everywhere bool) {
	n := 0
	for _, name := range i.path {
		if name == i.path[i.gap] {
			n++
		}
	}
	return fmt.Sprintf("%s|%s %d|%s", i.flow, i.path[i.gap], n, i.fault.name), n == 1 && i.path[i.gap] != "GET RESPONSE"
}

// struck is what is known of a fault that was arranged.
type struck struct {
	did, at bool // it happened; where it should
	other   pivcard.Truth
	err     error // what the caller was told
	ended   time.Time
}

// do does a flow with a fault in it.
func (s *station) do(ctx context.Context, c *catalogue, i item, fault pcsctest.Fault) (struck, error) {
	if err := s.quiet(ctx); err != nil {
		return struck{}, err
	}
	var out struck
	var err error
	if out.other, err = pivcard.ReadTruth(s.out.dir); err != nil {
		return out, err
	}
	var armed atomic.Bool // one that has not struck must not do so later
	fault.Match, fault.Skip = func([]byte) bool { return armed.Load() }, i.gap
	s.tap.take()
	armed.Store(true)
	happened := s.reader.Arrange(fault)
	call, cancel := context.WithTimeout(ctx, hangs)
	defer cancel()
	out.err = s.use(call, i.flow)
	out.ended = time.Now()
	armed.Store(false)
	names := s.tap.take()
	select {
	case <-happened:
	default:
		if len(names) <= i.gap {
			return out, nil // the command never came
		}
		select { // it did, but the fault takes longer than inkand waits
		case <-happened:
		case <-time.After(hangs):
			return out, fmt.Errorf("%s: the fault did not end", s.where(i))
		}
	}
	c.fault()
	out.did, out.at = true, len(names) > i.gap && slices.Equal(names[:i.gap+1], i.path)
	return out, nil
}

// after checks what holds at once after a fault, brings the card back and
// checks the rest. The card that is in then has all its tries.
func (s *station) after(ctx context.Context, c *catalogue, i item, out struck) error {
	where := s.where(i)
	if errors.Is(out.err, errWrongKey) {
		c.note(where, []finding{found(3, "%v", out.err)})
	}
	if out.did && i.fault.swapped {
		truth, err := pivcard.ReadTruth(s.out.dir)
		if err != nil {
			return err
		}
		c.note(where, untouched(out.other, truth))
		s.in, s.out = s.out, s.in
	}
	if err := s.check(ctx, c, where, false); err != nil {
		return err
	}
	began := time.Now()
	served, cancel := context.WithTimeout(ctx, hangs)
	defer cancel()
	if err := s.serveAgain(served, out.did && i.fault.pulled, i.flow == "unlock"); err != nil {
		c.note(where, []finding{found(10, "the card is not served %v after it: %v", time.Since(began).Round(time.Millisecond), err)})
		return fmt.Errorf("%s: %w", where, err)
	}
	return s.check(ctx, c, where, true)
}

// check checks both cards. settled says that nothing is under way.
func (s *station) check(ctx context.Context, c *catalogue, where string, settled bool) error {
	card, err := s.status(ctx)
	if err != nil {
		return err
	}
	for _, seat := range []*seat{s.in, s.out} {
		truth, err := pivcard.ReadTruth(seat.dir)
		if err != nil {
			return err
		}
		if card.GetId() == seat.id() {
			c.note(where, shown(card, truth))
		}
		log, err := s.books.of(ctx, seat.id())
		if err != nil {
			return err
		}
		c.note(where, log.spends(truth))
		if settled {
			c.note(where, log.settled(truth, seat.signed))
		}
	}
	return nil
}

// serveAgain puts the card back in where it was pulled, and uses it as soon as
// that is possible.
func (s *station) serveAgain(ctx context.Context, pulled, unlock bool) error {
	if pulled {
		if err := s.awaits(ctx, ""); err != nil {
			return err
		}
		s.reader.Insert(s.in.card)
	}
	todo := []string{"sign"}
	if unlock { // whose try comes back by a right one only
		todo = []string{"unlock", "sign"}
	}
	var last error
	for ctx.Err() == nil {
		if err := s.awaits(ctx, s.in.id()); err != nil {
			return errors.Join(err, last)
		}
		err := s.use(ctx, todo[0])
		switch {
		case err == nil:
			if todo = todo[1:]; len(todo) == 0 {
				return nil
			}
			continue
		case is(err, client.ErrReinsertNeeded):
			if err := s.pull(ctx); err != nil {
				return errors.Join(err, last)
			}
			s.reader.Insert(s.in.card)
		case is(err, errWrongKey, client.ErrPINWrong, client.ErrPINKnownWrong, client.ErrUnlockCodeWrong, client.ErrCardLocked, client.ErrCardDead, client.ErrCardHeld):
			return err // waiting would not help
		}
		last = err
		tick := time.After(50 * time.Millisecond)
		select {
		case <-tick:
		case <-ctx.Done():
		}
	}
	return errors.Join(ctx.Err(), last)
}
