package pcsctest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
)

// notes is a card that notes what it sees and agrees to everything.
type notes struct {
	mu   sync.Mutex // guards the field that follows
	seen []string
}

func (n *notes) ATR() []byte { return []byte{0x3B, 0x80, 0x80, 0x01, 0x01} } // ISO/IEC 7816-3 section 8: T=1 alone
func (n *notes) Power()      { n.note("power") }
func (n *notes) Reset()      { n.note("reset") }

func (n *notes) Transmit(command []byte) []byte {
	n.note(string(command))
	return []byte{0x90, 0x00}
}

func (n *notes) note(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = append(n.seen, what)
}

// take returns what was noted since it was called last.
func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	seen := n.seen
	n.seen = nil
	return seen
}

// TestADroppedCommandLeavesTheCardIn drops commands and answers: pcscd says
// that nothing came, tells of no removal, and the card is there for the next.
func TestADroppedCommandLeavesTheCardIn(t *testing.T) {
	const command = "\x00\x20\x00\x80"
	p := pcsctest.Start(t, pcsctest.Options{})
	r, in := p.Reader("Inkan Test"), &notes{}
	s := pcsc.NewService(pcsc.Config{})
	t.Cleanup(func() { _ = s.Close() })
	r.Insert(in)
	known := present(t, s, true)
	c, err := s.Connect(t.Context(), r.Name)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range slices.Repeat([]pcsctest.Fault{{Drop: true}, {Drop: true, Acts: true}, {Drop: true, Delay: 100 * time.Millisecond}}, 3) {
		in.take()
		struck, begin := r.Arrange(f), time.Now()
		answer, err := c.Transmit(t.Context(), []byte(command))
		<-struck
		if !errors.Is(err, pcsc.ErrNoAnswer) {
			t.Errorf("drop %d: answer %X, error %v", i, answer, err)
		}
		if d := time.Since(begin); d < f.Delay {
			t.Errorf("drop %d: reported after %v, want %v at least", i, d, f.Delay)
		}
		if err := c.Reset(t.Context()); err != nil {
			t.Fatalf("drop %d: Reset at once: %v", i, err)
		}
		if answer, err := c.Transmit(t.Context(), []byte(command)); err != nil {
			t.Fatalf("drop %d: the next command: %X, %v", i, answer, err)
		}
		want := []string{"reset", command}
		if f.Acts {
			want = append([]string{command}, want...)
		}
		if seen := in.take(); !slices.Equal(seen, want) {
			t.Errorf("drop %d: the card saw %q, want %q", i, seen, want)
		}
	}
	if now := present(t, s, true); now != known {
		t.Errorf("pcscd saw insertion %d, before the drops %d", now, known)
	}
	if err := c.Disconnect(pcsc.Reset); err != nil {
		t.Error(err)
	}
}

// TestACardThatIsPutBackIsSeen pulls a card and resets before pcscd looks: after
// that, pcscd would not see a card that comes back too soon.
func TestACardThatIsPutBackIsSeen(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{})
	r, in := p.Reader("Inkan Test"), &notes{}
	s := pcsc.NewService(pcsc.Config{})
	t.Cleanup(func() { _ = s.Close() })
	for range 3 {
		r.Insert(in)
		present(t, s, true)
		c, err := s.Connect(t.Context(), r.Name)
		if err != nil {
			t.Fatal(err)
		}
		r.Remove()
		if err := c.Reset(t.Context()); !errors.Is(err, pcsc.ErrRemoved) {
			t.Errorf("Reset without a card: %v", err)
		}
		if err := c.Disconnect(pcsc.Reset); err != nil {
			t.Error(err)
		}
		present(t, s, false) // so pcscd says, after the reset
	}
}

// present waits until there is a card, or none, and returns the number that
// pcscd gave the state.
func present(t *testing.T, s *pcsc.Service, card bool) uint32 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var known []pcsc.ReaderState
	for {
		now, err := s.Wait(ctx, known)
		if err != nil {
			t.Fatal(err)
		}
		in, number := false, uint32(0)
		for _, r := range now {
			if r.Present || !in && !card {
				in, number = r.Present, r.Insertion
			}
		}
		if len(now) > 0 && in == card {
			return number
		}
		known = now
	}
}
