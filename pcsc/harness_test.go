package pcsc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// Commands that fakeCard knows.
const (
	whoAreYou = "\x00\xCA\x00\x00"                     // answers its name
	login     = "\x00\x20\x00\x80\x04\x31\x32\x33\x34" // any PIN is right
	loggedIn  = "\x00\x20\x00\x80"                     // 9000 when logged in, else 6982
	give      = "\x00\xB0"                             // P1 P2: so many bytes
)

// fakeCard has a name and a login, and notes what it sees.
type fakeCard struct {
	name string
	atr  []byte

	mu       sync.Mutex // guards the fields that follow
	verified bool
	logins   int
	powers   int // times that it got power or a reset
	longest  int // command
}

func newCard(name string) *fakeCard {
	// T=1, with the name as historical byte: TS T0 TD1 TD2 T1 TCK.
	atr := []byte{0x3B, 0x81, 0x80, 0x01, name[0], 0}
	for _, b := range atr[1:5] {
		atr[5] ^= b
	}
	return &fakeCard{name: name, atr: atr}
}

func (c *fakeCard) ATR() []byte { return c.atr }

func (c *fakeCard) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verified = false
	c.powers++
}

func (c *fakeCard) Transmit(command []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.longest = max(c.longest, len(command))
	switch command[1] {
	case whoAreYou[1]:
		return []byte(c.name + "\x90\x00")
	case give[1]:
		n := int(command[2])<<8 | int(command[3])
		return append(make([]byte, n), 0x90, 0x00)
	case login[1]:
		if len(command) > len(loggedIn) {
			c.verified = true
			c.logins++
		}
		if !c.verified {
			return []byte{0x69, 0x82}
		}
		return []byte{0x90, 0x00}
	case 0xC0: // GET RESPONSE
		return []byte{0x01, 0x02, 0x61, 0x05}
	}
	return []byte{0x6D, 0x00}
}

func (c *fakeCard) count() (logins, powers int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.logins, c.powers
}

func (c *fakeCard) longestCommand() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.longest
}

// newService returns a service whose readers are watched, and a function that
// waits until they are as wanted.
func newService(t *testing.T, cfg pcsc.Config) *pcsc.Service {
	t.Helper()
	if cfg.Stuck == nil {
		cfg.Stuck = func(err error) { t.Errorf("the service gave itself up: %v", err) }
	}
	s := pcsc.NewService(cfg)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// await waits until the readers are as wanted.
func await(t *testing.T, s *pcsc.Service, what string, wanted func([]pcsc.ReaderState) bool) []pcsc.ReaderState {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var known []pcsc.ReaderState
	for {
		now, err := s.Wait(ctx, known)
		if err != nil {
			t.Fatalf("waiting for %s: %v; last seen: %+v", what, err, known)
		}
		if wanted(now) {
			return now
		}
		known = now
	}
}

func find(states []pcsc.ReaderState, name string) (pcsc.ReaderState, bool) {
	for _, s := range states {
		if s.Name == name {
			return s, true
		}
	}
	return pcsc.ReaderState{}, false
}

// present says that a reader is there, with or without a card.
func present(reader string, card bool) func([]pcsc.ReaderState) bool {
	return func(states []pcsc.ReaderState) bool {
		s, ok := find(states, reader)
		return ok && s.Present == card
	}
}

func inserted(t *testing.T, s *pcsc.Service, r *pcsctest.Reader, card *fakeCard) {
	t.Helper()
	r.Insert(card)
	await(t, s, "a card in "+r.Name, present(r.Name, true))
}

func connect(t *testing.T, s *pcsc.Service, r *pcsctest.Reader) pcsc.Card {
	t.Helper()
	c, err := s.Connect(t.Context(), r.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Disconnect(pcsc.Reset); err != nil {
			t.Errorf("letting go: %v", err)
		}
	})
	return c
}

// tell sends a command with little time.
func tell(t *testing.T, c pcsc.Card, command string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	answer, err := c.Transmit(ctx, []byte(command))
	return string(answer), err
}

func mustTell(t *testing.T, c pcsc.Card, command, want string) {
	t.Helper()
	got, err := tell(t, c, command)
	if err != nil || got != want {
		t.Fatalf("command %X: answer %X, error %v, want %X", command[:4], got, err, want)
	}
}

func wantError(t *testing.T, what string, got error, want ...error) {
	t.Helper()
	for _, w := range want {
		if errors.Is(got, w) {
			return
		}
	}
	t.Errorf("%s: error %v, want %s", what, got, strings.TrimSpace(fmt.Sprintln(toAny(want)...)))
}

func toAny(errs []error) []any {
	all := make([]any, len(errs))
	for i, err := range errs {
		all[i] = err
	}
	return all
}
