package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/pcsc"
)

var errFault = errors.New("fault made by the test")

// fakeCard answers 9000 unless told otherwise.
type fakeCard struct {
	transmit func(command []byte) []byte

	mu   sync.Mutex // guards seen
	seen []string   // "reset" and commands in hexadecimal
}

func (c *fakeCard) ATR() []byte { return []byte{0x3B, 0x00} }

func (c *fakeCard) Reset() { c.note("reset") }

func (c *fakeCard) Transmit(command []byte) []byte {
	c.note(fmt.Sprintf("%x", command))
	if c.transmit != nil {
		return c.transmit(command)
	}
	return []byte{0x90, 0x00}
}

func (c *fakeCard) note(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, s)
}

func (c *fakeCard) history() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.seen, " ")
}

func connected(t *testing.T, o Options, card Card) (*System, pcsc.Card) {
	t.Helper()
	s := New(o)
	if err := s.Insert(DefaultReader, card); err != nil {
		t.Fatal(err)
	}
	c, err := s.Connect(t.Context(), DefaultReader)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

func TestWaitTellsReadersAtOnceAndThenEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Readers: []string{"A", "B"}})
		first, err := s.Wait(t.Context(), nil)
		want := []pcsc.ReaderState{{Name: "A", Virtual: true}, {Name: "B", Virtual: true}}
		if diff := cmp.Diff(want, first); err != nil || diff != "" {
			t.Fatalf("error %v, difference %s", err, diff)
		}
		changed := make(chan []pcsc.ReaderState)
		go func() {
			now, _ := s.Wait(t.Context(), first)
			changed <- now
		}()
		synctest.Wait()
		select {
		case now := <-changed:
			t.Fatalf("Wait returned %v without a change", now)
		default:
		}
		if err := s.Insert("B", &fakeCard{}); err != nil {
			t.Fatal(err)
		}
		want[1] = pcsc.ReaderState{Name: "B", Present: true, ATR: []byte{0x3B, 0x00}, Insertion: 1, Virtual: true}
		if diff := cmp.Diff(want, <-changed); diff != "" {
			t.Errorf("after an insertion: %s", diff)
		}
	})
}

func TestSwapBetweenTwoLooksIsSeen(t *testing.T) {
	s, _ := connected(t, Options{}, &fakeCard{})
	before, _ := s.Wait(t.Context(), nil)
	if err := errors.Join(s.Remove(DefaultReader), s.Insert(DefaultReader, &fakeCard{})); err != nil {
		t.Fatal(err)
	}
	after, err := s.Wait(t.Context(), before)
	if err != nil || !after[0].Present || after[0].Insertion == before[0].Insertion {
		t.Errorf("after a swap: %+v, %v; before: %+v", after, err, before)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	s := New(Options{})
	known, _ := s.Wait(t.Context(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Wait(ctx, known)
	wantError(t, "Wait", err, context.Canceled)
}

func TestConnectIsExclusive(t *testing.T) {
	s := New(Options{})
	_, err := s.Connect(t.Context(), "no such reader")
	wantError(t, "unknown reader", err, pcsc.ErrNoReader)
	_, err = s.Connect(t.Context(), DefaultReader)
	wantError(t, "empty reader", err, pcsc.ErrRemoved)
	if err := s.Insert(DefaultReader, &fakeCard{}); err != nil {
		t.Fatal(err)
	}
	first, err := s.Connect(t.Context(), DefaultReader)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Connect(t.Context(), DefaultReader)
	wantError(t, "second connection", err, pcsc.ErrSharing)
	if err := errors.Join(first.Disconnect(pcsc.Leave), first.Disconnect(pcsc.Leave)); err != nil {
		t.Fatal(err)
	}
	second, err := s.Connect(t.Context(), DefaultReader)
	wantError(t, "connection after the first was let go", err, nil)
	_, err = first.Transmit(t.Context(), []byte{0, 0, 0, 0})
	wantError(t, "command over the connection that was let go", err, pcsc.ErrRemoved)
	if got := second.ATR(); !bytes.Equal(got, []byte{0x3B, 0x00}) {
		t.Errorf("ATR = %x", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Connect(ctx, DefaultReader)
	wantError(t, "Connect with an ended context", err, context.Canceled)
}

func TestReaderTakesOneCard(t *testing.T) {
	s, _ := connected(t, Options{}, &fakeCard{})
	if err := s.Insert(DefaultReader, &fakeCard{}); err == nil {
		t.Error("a second card went in")
	}
	wantError(t, "card into no reader", s.Insert("none", &fakeCard{}), pcsc.ErrNoReader)
	wantError(t, "pulling from no reader", s.Remove("none"), pcsc.ErrNoReader)
	wantError(t, "pulling", s.Remove(DefaultReader), nil)
	wantError(t, "pulling twice", s.Remove(DefaultReader), pcsc.ErrRemoved)
}

func TestConnectionDiesWithItsCardEvenWhenItComesBack(t *testing.T) {
	card := &fakeCard{}
	s, c := connected(t, Options{}, card)
	if err := errors.Join(s.Remove(DefaultReader), s.Insert(DefaultReader, card)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Transmit(t.Context(), []byte{0, 1, 2, 3})
	wantError(t, "command", err, pcsc.ErrRemoved)
	wantError(t, "reset", c.Reset(t.Context()), pcsc.ErrRemoved)
	if _, err := s.Connect(t.Context(), DefaultReader); err != nil {
		t.Errorf("connecting anew: %v", err)
	}
	if got, want := card.history(), "reset reset"; got != want {
		t.Errorf("card saw %q, want %q", got, want)
	}
}

func TestCommandIsNotSentAfterItsContextEnded(t *testing.T) {
	card := &fakeCard{}
	_, c := connected(t, Options{}, card)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Transmit(ctx, []byte{0, 1, 2, 3})
	wantError(t, "command", err, context.Canceled)
	wantError(t, "reset", c.Reset(ctx), context.Canceled)
	if got, want := card.history(), "reset"; got != want {
		t.Errorf("card saw %q, want %q", got, want)
	}
}

func TestCardThatHangsCostsTheDeadlineAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		card := &fakeCard{transmit: func([]byte) []byte { <-free; return []byte{0x90, 0x00} }}
		s, c := connected(t, Options{}, card)
		short, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Transmit(short, []byte{0, 1})
		wantError(t, "command to a card that hangs", err, pcsc.ErrTimeout)
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("took %v, want 30 s", took)
		}
		_, err = c.Transmit(short, []byte{0, 2})
		wantError(t, "next command, context ended", err, context.DeadlineExceeded)
		again, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Transmit(again, []byte{0, 3})
		if errors.Is(err, pcsc.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("command that was never sent: error %v, want the context's alone", err)
		}
		wantError(t, "letting go of a card that hangs", c.Disconnect(pcsc.Reset), nil)
		close(free)
		synctest.Wait()
		c, err = s.Connect(t.Context(), DefaultReader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Transmit(t.Context(), []byte{0, 4}); err != nil {
			t.Errorf("command to the card that answers again: %v", err)
		}
		if got, want := card.history(), "reset 0001 reset 0004"; got != want {
			t.Errorf("card saw %q, want %q", got, want)
		}
	})
}

func TestCardPulledDuringACommandLeavesTheOutcomeUnknown(t *testing.T) {
	started, free := make(chan struct{}), make(chan struct{})
	defer close(free)
	card := &fakeCard{transmit: func([]byte) []byte { close(started); <-free; return []byte{0x90, 0x00} }}
	s, c := connected(t, Options{}, card)
	go func() {
		<-started
		_ = s.Remove(DefaultReader)
	}()
	_, err := c.Transmit(t.Context(), []byte{0, 1})
	wantError(t, "command", err, pcsc.ErrNoAnswer)
	_, err = c.Transmit(t.Context(), []byte{0, 2})
	wantError(t, "next command", err, pcsc.ErrRemoved)
}

func TestHooksMakeFaults(t *testing.T) {
	var s *System
	pull := func() error { return s.Remove(DefaultReader) }
	tests := []struct {
		name          string
		before, after func() error
		want          error
		seen          string
	}{
		{"a command is lost before the card", func() error { return errFault }, nil, errFault, "reset"},
		{"an answer is lost after the card acted", nil, func() error { return errFault }, errFault, "reset 0020"},
		{"the card is pulled before the command", pull, nil, pcsc.ErrNoAnswer, "reset"},
		{"the card is pulled before the answer", nil, pull, pcsc.ErrNoAnswer, "reset 0020"},
		{"hooks that do nothing change nothing", func() error { return nil }, func() error { return nil }, nil, "reset 0020"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			card := &fakeCard{}
			var o Options
			if test.before != nil {
				o.Before = func(string, []byte) error { return test.before() }
			}
			if test.after != nil {
				o.After = func(string, []byte, []byte) error { return test.after() }
			}
			var c pcsc.Card
			s, c = connected(t, o, card)
			_, err := c.Transmit(t.Context(), []byte{0x00, 0x20})
			wantError(t, "command", err, test.want)
			if got := card.history(); got != test.seen {
				t.Errorf("card saw %q, want %q", got, test.seen)
			}
		})
	}
}

func TestUselessAnswersAreNoAnswer(t *testing.T) {
	for name, transmit := range map[string]func([]byte) []byte{
		"nothing":            func([]byte) []byte { return nil },
		"half a status word": func([]byte) []byte { return []byte{0x90} },
		"too much":           func([]byte) []byte { return make([]byte, 1<<17) },
		"a panic":            func(command []byte) []byte { panic(command) },
	} {
		_, c := connected(t, Options{}, &fakeCard{transmit: transmit})
		_, err := c.Transmit(t.Context(), []byte("123456"))
		wantError(t, name, err, pcsc.ErrNoAnswer)
		if err != nil && (strings.Contains(err.Error(), "123456") || strings.Contains(err.Error(), "49 50")) {
			t.Errorf("%s: the error quotes the command: %v", name, err)
		}
	}
}

func TestNoCopyOfACommandStays(t *testing.T) {
	var kept []byte
	card := &fakeCard{transmit: func(command []byte) []byte { kept = command; return command }}
	_, c := connected(t, Options{}, card)
	command := []byte("123456")
	answer, err := c.Transmit(t.Context(), command)
	if err != nil || string(answer) != "123456" || string(command) != "123456" {
		t.Errorf("answer %q, command %q, error %v", answer, command, err)
	}
	if !bytes.Equal(kept, make([]byte, len(command))) {
		t.Errorf("the reader's copy is %q after the command, want zeros", kept)
	}
}

func TestResetReachesTheCard(t *testing.T) {
	card := &fakeCard{}
	_, c := connected(t, Options{}, card)
	wantError(t, "reset", c.Reset(t.Context()), nil)
	wantError(t, "letting go with a reset", c.Disconnect(pcsc.Reset), nil)
	if got, want := card.history(), "reset reset reset"; got != want {
		t.Errorf("card saw %q, want %q", got, want)
	}
}

func TestManyUsersGetTheCardOneByOne(t *testing.T) {
	var inside, most int
	var mu sync.Mutex
	card := &fakeCard{transmit: func([]byte) []byte {
		mu.Lock()
		inside++
		most = max(most, inside)
		mu.Unlock()
		mu.Lock()
		inside--
		mu.Unlock()
		return []byte{0x90, 0x00}
	}}
	s := New(Options{})
	if err := s.Insert(DefaultReader, card); err != nil {
		t.Fatal(err)
	}
	watch, stop := context.WithCancel(t.Context())
	var watchers, users sync.WaitGroup
	watchers.Go(func() {
		var known []pcsc.ReaderState
		for {
			now, err := s.Wait(watch, known)
			if err != nil {
				return
			}
			known = now
		}
	})
	for range 8 {
		users.Go(func() {
			for range 100 {
				c, err := s.Connect(t.Context(), DefaultReader)
				if err != nil {
					if !errors.Is(err, pcsc.ErrSharing) && !errors.Is(err, pcsc.ErrRemoved) {
						t.Errorf("connecting: %v", err)
					}
					continue
				}
				if _, err := c.Transmit(t.Context(), []byte{0, 1}); err != nil && !errors.Is(err, pcsc.ErrRemoved) && !errors.Is(err, pcsc.ErrNoAnswer) {
					t.Errorf("transmitting: %v", err)
				}
				_ = c.Disconnect(pcsc.Reset)
			}
		})
	}
	users.Wait()
	stop()
	watchers.Wait()
	if most > 1 {
		t.Errorf("%d commands were in the card at once, want 1", most)
	}
}
