package broker_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/token"
)

// pages gives PINs and keeps their pages, to see whether they were wiped.
type pages struct {
	digits   string
	source   prompt.Source
	err      error
	all      [][]byte
	released int
}

func (p *pages) Ask(context.Context, prompt.Request) (prompt.Answer, error) {
	if p.err != nil {
		return prompt.Answer{}, p.err
	}
	page := make([]byte, token.PINPageMin)
	copy(page[token.PINHeadroom:], p.digits)
	p.all = append(p.all, page)
	pin, err := token.NewPIN(page, len(p.digits), func() { p.released++ })
	return prompt.Answer{PIN: pin, Source: p.source}, err
}

// wiped reports whether every page was zeroed and given back.
func (p *pages) wiped() bool {
	for _, page := range p.all {
		if !bytes.Equal(page, make([]byte, len(page))) {
			return false
		}
	}
	return p.released == len(p.all)
}

// noUse is cards that cannot be used once there is an error.
type noUse struct {
	broker.Cards
	err error
}

func (c noUse) Use(ctx context.Context, id token.CardID, f func(context.Context, cardowner.Lease) error) error {
	if c.err != nil {
		return c.err
	}
	return c.Cards.Use(ctx, id, f)
}

func TestEveryPINIsWipedHoweverTheCallEnds(t *testing.T) {
	const person = prompt.SourcePrompt
	tests := map[string]struct {
		digits string
		source prompt.Source
		fail   string // event that fails
		alive  error  // of the caller
		use    error  // of the card
		want   token.Kind
	}{
		"it signs":                   {"123456", person, "", nil, nil, ""},
		"it is wrong":                {"000000", person, "", nil, nil, token.KindPINWrong},
		"it is malformed":            {"12345", person, "", nil, nil, token.KindPINMalformed},
		"a program may not give it":  {"123456", prompt.SourceProgram, "", nil, nil, token.KindPINSourceRefused},
		"no answer comes":            {"123456", person, "VERIFY", nil, nil, token.KindPINNoVerdict},
		"the try cannot be recorded": {"123456", person, "journal", nil, nil, token.KindJournalUnavailable},
		"the caller is gone":         {"123456", person, "", errFault, nil, token.KindCallerGone},
		"the card was pulled":        {"123456", person, "", nil, token.NewError(token.KindCardRemoved), token.KindCardRemoved},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &pages{digits: tt.digits, source: tt.source}
			h := newHouse(t, func(c *broker.Config) { c.Prompter, c.Cards = p, noUse{c.Cards, tt.use} })
			h.events.fail, h.alive = tt.fail, tt.alive
			_, err := h.sign(t, "9a")
			if err != nil && token.KindOf(err) != tt.want || err == nil && tt.want != "" {
				t.Errorf("Sign: %v, want %q", err, tt.want)
			}
			if len(p.all) != 1 || !p.wiped() {
				t.Errorf("%d PINs came and %d were given back, want one and zeroed", len(p.all), p.released)
			}
		})
	}
}

func TestThePINIsGoneBeforeTheCardSigns(t *testing.T) {
	p := &pages{digits: "123456", source: prompt.SourcePrompt}
	h := newHouse(t, func(c *broker.Config) { c.Prompter = p })
	gone := false
	h.events.fail, h.events.at = "SIGN", func() { gone = p.wiped() }
	if _, err := h.sign(t, "9a"); err != nil || !gone {
		t.Errorf("Sign: %v; the PIN was gone when the card signed: %t", err, gone)
	}
}

func TestNobodyIsAskedForThePINOfALockedCard(t *testing.T) {
	h := newHouse(t, nil)
	for range 10 {
		a, err := h.guard.Debit(pinguard.Account{Card: h.card().Identity.Card, Secret: token.SecretPIN, Limit: 10, OnCard: token.Tries{}}, pinguard.Who{Free: true}, pinguard.AuditMark{})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.guard.Settle(a, token.Verdict{Kind: token.VerdictWrong}, pinguard.AuditMark{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindCardLocked || len(h.agent.asked) != 0 {
		t.Errorf("Sign: %v after %d questions, want CARD_LOCKED and none", err, len(h.agent.asked))
	}
}

// silent is cards that must not be asked for their tries.
type silent struct{ broker.Cards }

func (s silent) Use(ctx context.Context, id token.CardID, f func(context.Context, cardowner.Lease) error) error {
	return s.Cards.Use(ctx, id, func(ctx context.Context, l cardowner.Lease) error {
		l.OnCard = token.Tries{}
		return f(ctx, l)
	})
}

func TestTheWrongPINThatUsesUpTheLastTryOfTheCardLocksItWhateverWasCounted(t *testing.T) {
	h := newHouse(t, func(c *broker.Config) { c.Cards = silent{c.Cards} })
	h.agent.before = func() { h.elsewhere(t, 9) } // unseen: nine wrong PINs
	h.agent.digits = "000000"
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINWrong {
		t.Fatalf("Sign: %v, want PIN_WRONG", err)
	}
	if got := h.left(); got != 0 {
		t.Errorf("%d tries left by the journal, the card has none", got)
	}
}
