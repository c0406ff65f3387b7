package broker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/token"
)

// shelf is readers that stand still.
type shelf struct {
	broker.Cards
	readers []cardowner.Reader
	service *token.Error
}

func (s shelf) Readers() []cardowner.Reader      { return s.readers }
func (s shelf) Service() *token.Error            { return s.service }
func (shelf) Changed() (uint64, <-chan struct{}) { return 1, nil }
func (shelf) Settle(context.Context)             {}

// diagnosis is what doctor finds, a step a word.
func diagnosis(t *testing.T, s shelf) string {
	t.Helper()
	h := newHouse(t, nil)
	b := broker.New(broker.Config{Cards: s, Guard: h.guard, Log: h.log, Now: time.Now})
	return steps(t, b)
}

// steps is what doctor finds, a step a word.
func steps(t *testing.T, b *broker.Broker) string {
	t.Helper()
	var found []string
	for _, step := range b.Diagnose(t.Context()) {
		word := fmt.Sprintf("%d:%d", step.Layer, step.Result)
		if step.Subject != "" {
			word += ":" + step.Subject
		}
		if step.Problem != nil {
			word += ":" + string(step.Problem.Kind)
		}
		found = append(found, word)
	}
	return strings.Join(found, " ")
}

func TestDiagnosisGoesLayerByLayerFromBelow(t *testing.T) {
	known := func(name string) *cardowner.Card {
		return &cardowner.Card{Identity: token.Identity{Card: token.CardID(name), Application: "PIV"}, Profile: token.Profile{Limit: 3}}
	}
	problem := func(k token.Kind) *token.Error { return token.NewError(k) }
	all := []cardowner.Reader{
		{Name: "a", Present: true, Card: known("piv-1")},
		{Name: "b"},
		{Name: "c", Present: true, Problem: problem(token.KindCardUnknown)},
		{Name: "d", Present: true, Card: known("piv-2"), Trouble: problem(token.KindCardSilent)},
		{Name: "e", Present: true, Busy: true},
	}
	for name, tt := range map[string]struct {
		shelf
		want string
	}{
		"all kinds of readers": {
			shelf{readers: all},
			"1:1 2:1 3:1:a 3:1:b 3:1:c 3:1:d 3:1:e 4:1:a 4:1:c 4:2:d:CARD_SILENT 4:1:e " +
				"5:1:piv-1 5:2:c:CARD_UNKNOWN 5:4:d 5:2:e:CARD_SILENT 6:2:piv-1:NO_KEY 7:4:piv-1 8:3:piv-1:TRIES_LOW 9:1 10:1",
		},
		"no card":   {shelf{readers: []cardowner.Reader{{Name: "a"}, {Name: "b"}}}, "1:1 2:1 3:1:a 3:1:b 4:2:NO_CARD 5:4 6:4 7:4 8:4 9:1 10:1"},
		"no reader": {shelf{}, "1:1 2:1 3:2:NO_READER 4:4 5:4 6:4 7:4 8:4 9:1 10:1"},
		"no pcscd":  {shelf{service: problem(token.KindPCSCUnavailable)}, "1:1 2:2:PCSC_UNAVAILABLE 3:4 4:4 5:4 6:4 7:4 8:4 9:1 10:1"},
		"no pcscd, a module's slot": {
			shelf{readers: []cardowner.Reader{{Name: "m"}}, service: problem(token.KindPCSCUnavailable)},
			"1:1 2:3:PCSC_UNAVAILABLE 3:1:m 4:2:NO_CARD 5:4 6:4 7:4 8:4 9:1 10:1",
		},
		"shut out": {shelf{service: problem(token.KindPCSCDenied)}, "1:1 2:2:PCSC_DENIED 3:4 4:4 5:4 6:4 7:4 8:4 9:1 10:1"},
	} {
		if got := diagnosis(t, tt.shelf); got != tt.want {
			t.Errorf("%s: %s\nwant %s", name, got, tt.want)
		}
	}
}

// Journal and log are broken one after the other, below everything that could
// say so by itself.
func TestDiagnosisNamesTheJournalAndTheLogThatBreak(t *testing.T) {
	for event, want := range map[string]string{"journal": "9:2:JOURNAL_UNAVAILABLE 10:1", "log-intent": "9:1 10:2:AUDIT_UNAVAILABLE"} {
		h := newHouse(t, nil)
		if got := steps(t, h.Broker); !strings.HasSuffix(got, " 9:1 10:1") {
			t.Fatalf("before: %s", got)
		}
		h.events.fail = event
		if _, err := h.sign(t, "9a"); err == nil {
			t.Fatalf("signed although %s failed", event)
		}
		if got := steps(t, h.Broker); !strings.HasSuffix(got, " "+want) {
			t.Errorf("after %s failed: %s, want %s", event, got, want)
		}
	}
}
