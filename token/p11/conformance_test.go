package p11_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
	"github.com/inkan-project/inkan/token/p11"
	"github.com/inkan-project/inkan/token/p11/frame"
	"github.com/inkan-project/inkan/token/p11/module"
	"github.com/inkan-project/inkan/token/p11/p11test"
	"github.com/inkan-project/inkan/token/tokentest"
)

// TestMain makes this test the process of a module where it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == module.Verb {
		module.Main()
	}
	os.Exit(m.Run())
}

// desk is a module whose one slot is connected to.
type desk struct {
	card     pcsc.Card
	commands int  // operations that reach the token
	lose     bool // the next one
	arrives  bool
}

// asked counts what reaches the token: PINs, keys and signatures. Looking for
// slots and opening sessions does not.
func (d *desk) asked(op frame.Op) (lost uint8) {
	switch op {
	case frame.OpLogin, frame.OpLoginAgain, frame.OpBegin, frame.OpSign, frame.OpSetPIN, frame.OpUnlock, frame.OpObjects:
	default:
		return 0
	}
	d.commands++
	if !d.lose {
		return 0
	}
	d.lose = false
	if d.arrives {
		return 2
	}
	return 1
}

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// connect waits for a card in a reader with this beginning of a name and
// connects to it.
func connect(t *testing.T, s *p11.System, reader string) pcsc.Card {
	t.Helper()
	var known []pcsc.ReaderState
	for {
		states, err := s.Wait(t.Context(), known)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range states {
			if !r.Present || !strings.HasPrefix(r.Name, reader) {
				continue
			}
			card, err := s.Connect(t.Context(), r.Name)
			if errors.Is(err, pcsc.ErrRemoved) { // pcscd has not powered it yet
				states = nil
				break
			}
			if err != nil {
				t.Fatalf("connecting to %s: %v", r.Name, err)
			}
			t.Cleanup(func() { _ = card.Disconnect(pcsc.Reset) })
			return card
		}
		known = states
	}
}

func profile(t *testing.T, name string) token.Profile {
	t.Helper()
	set, err := cardprofile.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	p, ok := set.Named(name)
	if !ok {
		t.Fatalf("there is no profile %q", name)
	}
	return p
}

// open opens the token of a card.
func open(t *testing.T, card pcsc.Card, m *p11.Module) *p11.Token {
	t.Helper()
	c, ok := card.(*p11.Card)
	if !ok {
		t.Fatalf("the connection is a %T", card)
	}
	return p11.Open(c, m, p11.Options{Profile: profile(t, "softhsm")})
}

func TestSoftHSMPassesTheSuite(t *testing.T) {
	made := p11test.SoftHSM(t)
	tokentest.Run(t, tokentest.Harness{New: func(t *testing.T) tokentest.Card {
		m := p11test.Copy(t, made)
		d := &desk{}
		s := p11.NewLossy(virtual.New(virtual.Options{}), []*p11.Module{m}, logger(t), d.asked)
		t.Cleanup(func() { _ = s.Close() })
		d.card = connect(t, s, m.Name)
		return tokentest.Card{
			Open:     func() token.Token { return open(t, d.card, m) },
			Reset:    func(ctx context.Context) error { return d.card.Reset(ctx) },
			Commands: func() int { return d.commands },
			Lose:     func(arrives bool) { d.lose, d.arrives = true, arrives },
			PIN:      []byte(p11test.PIN), WrongPIN: []byte("654321"),
			NewPIN: []byte("4815162"), LaterPIN: []byte("92749381"),
			UnlockCode: []byte(p11test.UnlockCode), WrongUnlockCode: []byte("Code 1"),
			Limit: 10, UnlockLimit: 10, NeverLocks: true,
			Slots: strings.Fields("01 02 03"),
		}
	}})
}
