package pcsc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
)

func TestCardsComeAndGoInSeveralReaders(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{Readers: []string{"Inkan A", "Inkan B"}})
	s := newService(t, pcsc.Config{})
	a, b := p.Reader("Inkan A"), p.Reader("Inkan B")
	await(t, s, "two empty readers", func(states []pcsc.ReaderState) bool {
		return present(a.Name, false)(states) && present(b.Name, false)(states)
	})
	card := newCard("B")
	inserted(t, s, b, card)
	states := await(t, s, "the state", func([]pcsc.ReaderState) bool { return true })
	state, _ := find(states, b.Name)
	if !bytes.Equal(state.ATR, card.atr) || state.Virtual {
		t.Errorf("reader with a card: %+v, want its ATR %X", state, card.atr)
	}
	if other, _ := find(states, a.Name); other.Present || other.ATR != nil {
		t.Errorf("reader without a card: %+v", other)
	}
	b.Remove()
	gone, _ := find(await(t, s, "an empty reader", present(b.Name, false)), b.Name)
	inserted(t, s, b, newCard("C"))
	again, _ := find(await(t, s, "another card", present(b.Name, true)), b.Name)
	if state.Insertion == gone.Insertion || gone.Insertion == again.Insertion || state.Insertion == again.Insertion {
		t.Errorf("insertions are %d, %d, %d: want three values", state.Insertion, gone.Insertion, again.Insertion)
	}
}

func TestWaitTellsNothingWhileNothingChangesAndEndsAtOnce(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{})
	s := newService(t, pcsc.Config{})
	r := p.Reader("Inkan Test")
	inserted(t, s, r, newCard("A"))
	known := await(t, s, "the state", func([]pcsc.ReaderState) bool { return true })
	// Being used by somebody is no change.
	c := connect(t, s, r)
	mustTell(t, c, whoAreYou, "A\x90\x00")
	slowest := time.Duration(0)
	for i := range 50 { // PC/SC loses a Cancel that comes too early
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			now, err := s.Wait(ctx, known)
			if err == nil {
				err = fmt.Errorf("readers are %+v, were %+v", now, known)
			}
			ended <- err
		}()
		if i%2 == 0 {
			select {
			case err := <-ended:
				t.Fatalf("Wait returned without a change: %v", err)
			case <-time.After(time.Duration(i) * time.Millisecond):
			}
		}
		start := time.Now()
		cancel()
		wantError(t, "Wait", <-ended, context.Canceled)
		slowest = max(slowest, time.Since(start))
	}
	t.Logf("the slowest of 50 waits ended %v after its context", slowest)
	if slowest > 5*time.Second {
		t.Errorf("ending a wait took %v", slowest)
	}
}

func TestServiceThatIsAbsentAtStartIsFoundLater(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{Down: true})
	s := newService(t, pcsc.Config{})
	states, err := s.Wait(t.Context(), nil)
	if err != nil || states == nil || len(states) != 0 {
		t.Fatalf("without pcscd: %+v, %v; want an empty list", states, err)
	}
	changed, err := s.Health()
	wantError(t, "health", err, pcsc.ErrNoService)
	_, err = s.Connect(t.Context(), p.Reader("Inkan Test").Name)
	wantError(t, "connecting", err, pcsc.ErrNoService)

	p.Reader("Inkan Test").Insert(newCard("A"))
	p.Restart()
	start := time.Now()
	await(t, s, "a card", present(p.Reader("Inkan Test").Name, true))
	t.Logf("the card was found %v after pcscd listened", time.Since(start))
	<-changed
	if _, err := s.Health(); err != nil {
		t.Errorf("health: %v, want none", err)
	}
}

func TestServiceThatIsKilledTwentyTimesComesBack(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{})
	s := newService(t, pcsc.Config{})
	r := p.Reader("Inkan Test")
	card := newCard("A")
	inserted(t, s, r, card)
	seen := map[uint32]bool{}
	var slowest time.Duration
	for i := range 20 {
		states := await(t, s, "a card", present(r.Name, true))
		state, _ := find(states, r.Name)
		if seen[state.Insertion] {
			t.Errorf("round %d: insertion %d was there before", i, state.Insertion)
		}
		seen[state.Insertion] = true
		c, err := s.Connect(t.Context(), r.Name)
		if err != nil {
			t.Fatal(err)
		}
		mustTell(t, c, login, "\x90\x00")
		gone := make(chan error)
		go func() {
			left, err := s.Wait(t.Context(), states)
			if len(left) != 0 {
				err = errors.New("there are still readers")
			}
			gone <- err
		}()
		if i%2 == 0 {
			p.Kill()
		} else {
			p.Terminate()
		}
		if err := <-gone; err != nil {
			t.Errorf("round %d: waiting when pcscd ended: %v", i, err)
		}
		_, err = s.Health()
		wantError(t, "health", err, pcsc.ErrNoService)
		_, err = tell(t, c, login)
		wantError(t, "a command to a pcscd that is gone", err, pcsc.ErrNoService, pcsc.ErrNoAnswer)
		wantError(t, "resetting there", c.Reset(t.Context()), pcsc.ErrNoService)
		if err := c.Disconnect(pcsc.Reset); err != nil {
			t.Errorf("round %d: letting go: %v", i, err)
		}
		p.Restart()
		start := time.Now()
		await(t, s, "a card", present(r.Name, true))
		slowest = max(slowest, time.Since(start))
	}
	if logins, _ := card.count(); logins != 20 {
		t.Errorf("the card saw %d logins, want 20", logins)
	}
	t.Logf("slowest: the card was found %v after pcscd listened again", slowest)
}

func TestServiceThatDoesNotAnswerIsAbsentAndEndsNobody(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{})
	s := newService(t, pcsc.Config{Timeout: 300 * time.Millisecond})
	r := p.Reader("Inkan Test")
	inserted(t, s, r, newCard("A"))
	p.Pause()
	known := await(t, s, "no readers", func(states []pcsc.ReaderState) bool { return len(states) == 0 })
	_, err := s.Health()
	wantError(t, "health", err, pcsc.ErrNoService)
	_, err = s.Connect(t.Context(), r.Name)
	wantError(t, "connecting", err, pcsc.ErrTimeout)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = s.Wait(ctx, known)
	wantError(t, "waiting", err, context.DeadlineExceeded)
	p.Resume()
	await(t, s, "a card", present(r.Name, true))
	mustTell(t, connectSoon(t, s, r), whoAreYou, "A\x90\x00")
}

// connectSoon connects as soon as calls that were left behind have returned.
func connectSoon(t *testing.T, s *pcsc.Service, r *pcsctest.Reader) pcsc.Card {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		c, err := s.Connect(t.Context(), r.Name)
		if err == nil {
			t.Cleanup(func() { _ = c.Disconnect(pcsc.Reset) })
			return c
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("connecting: %v", err)
		}
	}
}
