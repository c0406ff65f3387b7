package p11_test

import (
	"context"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11"
	"github.com/inkan-project/inkan/token/p11/p11test"
	"github.com/inkan-project/inkan/token/tokentest"
)

func TestTheModuleThatLiesPassesTheSuiteWhenItDoesNot(t *testing.T) {
	made := p11test.NewLiar(t)
	tokentest.Run(t, tokentest.Harness{New: func(t *testing.T) tokentest.Card {
		m := made.Another(t, "liar", "0001").Module
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
			Limit: p11test.LiarLimit, UnlockLimit: p11test.LiarLimit,
			Slots: strings.Fields("01"),
		}
	}})
}
