package pcsc_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual"
)

// start gives one reader with a card in it.
func start(t *testing.T) (*pcsc.Service, *pcsctest.Reader, *fakeCard) {
	t.Helper()
	p := pcsctest.Start(t, pcsctest.Options{})
	s := newService(t, pcsc.Config{})
	r := p.Reader("Inkan Test")
	card := newCard("A")
	inserted(t, s, r, card)
	return s, r, card
}

func TestResetTakesTheLoginAndKeepsTheConnection(t *testing.T) {
	s, r, card := start(t)
	c := connect(t, s, r)
	if !bytes.Equal(c.ATR(), card.atr) {
		t.Errorf("ATR is %X, want %X", c.ATR(), card.atr)
	}
	mustTell(t, c, login, "\x90\x00")
	mustTell(t, c, loggedIn, "\x90\x00")
	begin := time.Now()
	const rounds = 20
	for range rounds {
		_, before := card.count()
		if err := c.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustTell(t, c, loggedIn, "\x69\x82")
		mustTell(t, c, login, "\x90\x00")
		if _, after := card.count(); after != before+1 {
			t.Errorf("the card was reset %d times, want once", after-before)
		}
	}
	t.Logf("a reset and two commands took %v", time.Since(begin)/rounds)
	if err := errors.Join(c.Disconnect(pcsc.Reset), c.Disconnect(pcsc.Reset)); err != nil {
		t.Errorf("letting go twice: %v", err)
	}
	_, err := tell(t, c, whoAreYou)
	wantError(t, "a command after letting go", err, pcsc.ErrRemoved)
	mustTell(t, connect(t, s, r), loggedIn, "\x69\x82")
}

func TestLeavingACardKeepsItsLoginForWhoComesAtOnce(t *testing.T) {
	s, r, _ := start(t)
	c := connect(t, s, r)
	mustTell(t, c, login, "\x90\x00")
	if err := c.Disconnect(pcsc.Leave); err != nil {
		t.Fatal(err)
	}
	mustTell(t, connect(t, s, r), loggedIn, "\x90\x00")
}

func TestLongCommandsAndAnswersPassUntouched(t *testing.T) {
	s, r, card := start(t)
	c := connect(t, s, r)
	for _, n := range []int{1, 254, 256, 257, 2048, 60000} {
		mustTell(t, c, give+string([]byte{byte(n >> 8), byte(n)})+"\x00\x00\x00", string(make([]byte, n))+"\x90\x00")
		command := append([]byte("\x00\xB0\x00\x02\x00"), byte(n>>8), byte(n))
		mustTell(t, c, string(append(command, make([]byte, n)...)), "\x00\x00\x90\x00")
	}
	if got := card.longestCommand(); got != 7+60000 {
		t.Errorf("the longest command that the card saw has %d bytes, want %d", got, 7+60000)
	}
	// Whoever sends GET RESPONSE decides on it: nobody on the way does.
	mustTell(t, c, "\x00\xC0\x00\x00\x02", "\x01\x02\x61\x05")
	_, err := c.Transmit(t.Context(), nil)
	wantError(t, "a command of no bytes", err, pcsc.ErrFault)
	mustTell(t, c, whoAreYou, "A\x90\x00")
}

func TestCommandIsNotChangedOnTheWay(t *testing.T) {
	s, r, _ := start(t)
	command := []byte(login)
	if _, err := connect(t, s, r).Transmit(t.Context(), command); err != nil || string(command) != login {
		t.Errorf("error %v; the command is %X afterwards", err, command)
	}
}

func TestEmptyReaderAndUnknownReader(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{})
	s := newService(t, pcsc.Config{})
	_, err := s.Connect(t.Context(), p.Reader("Inkan Test").Name)
	wantError(t, "connecting to an empty reader", err, pcsc.ErrRemoved)
	_, err = s.Connect(t.Context(), "no such reader")
	wantError(t, "connecting to no reader", err, pcsc.ErrNoReader)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Connect(ctx, p.Reader("Inkan Test").Name)
	wantError(t, "connecting with an ended context", err, context.Canceled)
}

// TestOutcomeIsUnknownWhenTheAnswerIsLost: what the caller hears must not
// depend on whether the card acted, for nobody can know.
func TestOutcomeIsUnknownWhenTheAnswerIsLost(t *testing.T) {
	verify := pcsctest.Instruction(login[1])
	tests := map[string]struct {
		fault pcsctest.Fault
		acted int
	}{
		"pulled before the command":         {pcsctest.Fault{Match: verify}, 0},
		"pulled after the card acted":       {pcsctest.Fault{Match: verify, Acts: true}, 1},
		"half a status word came":           {pcsctest.Fault{Match: verify, Acts: true, Cut: 1}, 1},
		"an answer of one byte":             {pcsctest.Fault{Match: verify, Acts: true, Answer: []byte{0x90}}, 1},
		"dropped before the command":        {pcsctest.Fault{Match: verify, Drop: true}, 0},
		"dropped after the card acted":      {pcsctest.Fault{Match: verify, Drop: true, Acts: true}, 1},
		"pulled and put back before":        {pcsctest.Fault{Match: verify, Insert: newCard("B")}, 0},
		"pulled and put back after":         {pcsctest.Fault{Match: verify, Acts: true, Insert: newCard("B")}, 1},
		"an answer that has no status word": {pcsctest.Fault{Match: verify, Acts: true, Answer: []byte{0x00, 0x01, 0x02}}, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, r, card := start(t)
			c := connect(t, s, r)
			r.Arrange(test.fault)
			_, err := tell(t, c, login)
			wantError(t, "the command", err, pcsc.ErrNoAnswer)
			if logins, _ := card.count(); logins != test.acted {
				t.Errorf("the card acted %d times, want %d", logins, test.acted)
			}
			for range 20 { // whatever is in the reader now: it sees no PIN before a reset
				_, err := tell(t, c, login)
				wantError(t, "the next command", err, pcsc.ErrReset, pcsc.ErrRemoved)
			}
			if logins, _ := card.count(); logins != test.acted {
				t.Errorf("the card acted %d times, want %d", logins, test.acted)
			}
			if other, ok := test.fault.Insert.(*fakeCard); ok {
				if logins, _ := other.count(); logins != 0 {
					t.Errorf("the other card saw %d PINs", logins)
				}
			}
		})
	}
}

func TestPullInTheMiddleOfALongAnswer(t *testing.T) {
	s, r, _ := start(t)
	c := connect(t, s, r)
	r.Arrange(pcsctest.Fault{Acts: true, Cut: 3})
	_, err := tell(t, c, give+"\x00\x0A")
	wantError(t, "the command", err, pcsc.ErrNoAnswer)
	await(t, s, "the card to be gone", present(r.Name, false))
	wantError(t, "resetting", c.Reset(t.Context()), pcsc.ErrRemoved, pcsc.ErrUnresponsive)
}

// TestSwapWithinOnePollIsNeverOneCard swaps cards, most of the time faster than
// pcscd looks.
func TestSwapWithinOnePollIsNeverOneCard(t *testing.T) {
	s, r, _ := start(t)
	names := []string{"A", "B"}
	reported, unreported := 0, 0
	for i := range 12 {
		c := connectSoon(t, s, r)
		before := await(t, s, "the state", func([]pcsc.ReaderState) bool { return true })
		mustTell(t, c, whoAreYou, names[i%2]+"\x90\x00")
		other := newCard(names[(i+1)%2])
		if i == 11 { // for comparison: pcscd has the time to look
			r.Remove()
			r.Insert(other)
		} else {
			r.Replace(other)
		}
		answer, err := tell(t, c, login)
		if logins, _ := other.count(); logins != 0 {
			t.Errorf("swap %d: the new card got the PIN meant for the old: answer %X, error %v", i, answer, err)
		}
		wantError(t, "a command on the old connection", err, pcsc.ErrNoAnswer, pcsc.ErrReset, pcsc.ErrRemoved)
		if resetSoon(t, c) {
			mustTell(t, c, whoAreYou, other.name+"\x90\x00")
		}
		if err := c.Disconnect(pcsc.Reset); err != nil {
			t.Errorf("letting go: %v", err)
		}
		after := await(t, s, "a card", present(r.Name, true))
		one, _ := find(before, r.Name)
		two, _ := find(after, r.Name)
		if one.Insertion == two.Insertion {
			unreported++
		} else {
			reported++
		}
	}
	if reported != 1 || unreported != 11 {
		t.Errorf("pcscd reported %d swaps and missed %d, want 1 and 11", reported, unreported)
	}
}

// resetSoon resets, and reports whether there is a card.
func resetSoon(t *testing.T, c pcsc.Card) bool {
	t.Helper()
	err := c.Reset(t.Context())
	if err != nil {
		wantError(t, "resetting", err, pcsc.ErrRemoved, pcsc.ErrUnresponsive)
	}
	return err == nil
}

func TestStuckCardDelaysNoOther(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{Readers: []string{"Inkan A", "Inkan B"}})
	s := newService(t, pcsc.Config{Timeout: 5 * time.Second})
	a, b := p.Reader("Inkan A"), p.Reader("Inkan B")
	inserted(t, s, a, newCard("A"))
	inserted(t, s, b, newCard("B"))
	stuck, works := connect(t, s, a), connect(t, s, b)
	calm := pace(t, works)
	a.Arrange(pcsctest.Fault{Stall: true})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := stuck.Transmit(ctx, []byte(login))
	wantError(t, "a command to the stuck card", err, pcsc.ErrTimeout)

	t.Logf("a command and a reset beside a stuck card: %v; without: %v", pace(t, works), calm)
	_, err = tell(t, stuck, login)
	wantError(t, "the next command", err, pcsc.ErrTimeout)
	wantError(t, "resetting it", stuck.Reset(t.Context()), pcsc.ErrTimeout)
	wantError(t, "connecting to it", func() error {
		_, err := s.Connect(t.Context(), a.Name)
		return err
	}(), pcsc.ErrTimeout)
	if err := stuck.Disconnect(pcsc.Reset); err != nil {
		t.Errorf("letting it go: %v", err)
	}
	b.Remove() // the watch still works
	await(t, s, "the other card to be gone", present(b.Name, false))
	a.Replace(newCard("C"))
	await(t, s, "another card", present(a.Name, true))
	mustTell(t, connectSoon(t, s, a), whoAreYou, "C\x90\x00")
}

// pace measures a command and a reset.
func pace(t *testing.T, c pcsc.Card) time.Duration {
	t.Helper()
	begin := time.Now()
	const rounds = 50
	for range rounds {
		mustTell(t, c, whoAreYou, "B\x90\x00")
		if err := c.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(begin) / rounds
}

func TestFiveStuckCardsAskForARestart(t *testing.T) {
	names := []string{"Inkan A", "Inkan B", "Inkan C", "Inkan D", "Inkan E"}
	p := pcsctest.Start(t, pcsctest.Options{Readers: names})
	reports := make(chan error, len(names))
	s := newService(t, pcsc.Config{Stuck: func(err error) { reports <- err }})
	for i, name := range names {
		r := p.Reader(name)
		inserted(t, s, r, newCard(name[6:]))
		c := connect(t, s, r)
		r.Arrange(pcsctest.Fault{Stall: true})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := c.Transmit(ctx, []byte(login))
		cancel()
		wantError(t, "a command", err, pcsc.ErrTimeout)
		if i < pcsc.MaxStuck && len(reports) != 0 {
			t.Errorf("%d stuck cards: %v", i+1, <-reports)
		}
	}
	select {
	case err := <-reports:
		t.Logf("heard: %v", err)
	case <-time.After(patience):
		t.Error("nobody heard of five stuck cards")
	}
}

func TestSlowCardIsHeardInTime(t *testing.T) {
	s, r, card := start(t)
	c := connect(t, s, r)
	r.Arrange(pcsctest.Fault{Acts: true, Delay: 500 * time.Millisecond})
	mustTell(t, c, login, "\x90\x00")
	if logins, _ := card.count(); logins != 1 {
		t.Errorf("the card saw %d PINs, want 1", logins)
	}
	// Too slow is unknown, and a late answer is nobody's: the card is reset.
	r.Arrange(pcsctest.Fault{Acts: true, Delay: time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := c.Transmit(ctx, []byte(login))
	wantError(t, "a command", err, pcsc.ErrTimeout)
	mustTell(t, connectSoon(t, s, r), loggedIn, "\x69\x82")
}

// TestCardThatIsUpsideDown gives no answer to reset.
func TestCardThatIsUpsideDown(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{})
	s := newService(t, pcsc.Config{})
	r := p.Reader("Inkan Test")
	card := newCard("A")
	card.atr = []byte{0x3F} // half of one
	inserted(t, s, r, card)
	_, err := s.Connect(t.Context(), r.Name)
	wantError(t, "connecting", err, pcsc.ErrUnresponsive)
}

var _ virtual.Card = (*fakeCard)(nil)
