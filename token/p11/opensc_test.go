package p11_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11"
	"github.com/inkan-project/inkan/token/tokentest"
)

// openSC is Debian's module (package opensc-pkcs11).
const openSC = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so"

// insert puts a fresh virtual card into the reader.
func insert(t *testing.T, s pcsc.System, reader *pcsctest.Reader, name string) {
	t.Helper()
	c, err := pivcard.Open(pivcard.Options{Dir: t.TempDir(), Keys: map[pivcard.Slot]pivcard.KeyType{
		pivcard.SlotAuthentication: pivcard.P256, pivcard.SlotSignature: pivcard.P256, pivcard.SlotCardAuth: pivcard.P384,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	reader.Insert(c)
	t.Cleanup(func() {
		reader.Remove()
		awaitEmpty(t, s, name)
	})
}

// awaitEmpty waits until a reader is seen without a card.
func awaitEmpty(t *testing.T, s pcsc.System, reader string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	var known []pcsc.ReaderState
	for {
		states, err := s.Wait(ctx, known)
		if err != nil {
			t.Fatalf("waiting for the card to be gone: %v", err)
		}
		if !slices.ContainsFunc(states, func(r pcsc.ReaderState) bool { return r.Present && strings.HasPrefix(r.Name, reader) }) {
			return
		}
		known = states
	}
}

func TestOpenSCsModulePassesTheSuiteBehindPCSCD(t *testing.T) {
	names := []string{"Inkan One", "Inkan Two"} // some checks need a second card
	pcscd := pcsctest.Start(t, pcsctest.Options{Readers: names})
	service := pcsc.NewService(pcsc.Config{Timeout: 10 * time.Second})
	t.Cleanup(func() { _ = service.Close() })
	cards := 0
	m := &p11.Module{Name: "opensc", Path: openSC, Timeout: 30 * time.Second}
	tokentest.Run(t, tokentest.Harness{New: func(t *testing.T) tokentest.Card {
		d := &desk{}
		s := p11.NewLossy(service, []*p11.Module{m}, logger(t), d.asked)
		t.Cleanup(func() { _ = s.Close() })
		name := names[cards%len(names)]
		cards++
		insert(t, s, pcscd.Reader(name), name)
		d.card = connect(t, s, name)
		return tokentest.Card{
			Open:     func() token.Token { return open(t, d.card, m) },
			Reset:    func(ctx context.Context) error { return d.card.Reset(ctx) },
			Commands: func() int { return d.commands },
			Lose:     func(arrives bool) { d.lose, d.arrives = true, arrives },
			PIN:      []byte(pivcard.DemoPIN), WrongPIN: []byte("654321"),
			NewPIN: []byte("4815162"), LaterPIN: []byte("92749381"),
			UnlockCode: []byte(pivcard.DemoUnlockCode), WrongUnlockCode: []byte("87654321"),
			Limit: pivcard.Tries, UnlockLimit: pivcard.Tries, Unguarded: []string{"04"},
			Slots: strings.Fields("01 02 04"),
		}
	}})
}
