package pcscdtest_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// books is the log, read as it grows and counted by card.
type books struct {
	reader *client.Client

	mu    sync.Mutex // guards the fields that follow
	last  uint64     // sequence of the newest record that was counted
	cards map[string]*account
}

// account is what the log says of one card.
type account struct {
	pins, unlocks int             // intents; each has its debit in the same barrier
	open          map[uint64]bool // intents without a result
	twice         []uint64        // intents with more than one, and results of none
	released      int             // signatures that left
}

func newBooks(reader *client.Client) *books {
	return &books{reader: reader, cards: map[string]*account{}}
}

// of returns what the log says of a card now.
func (b *books) of(ctx context.Context, card string) (account, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.read(ctx); err != nil {
		return account{}, fmt.Errorf("reading the log: %w", err)
	}
	a := *b.account(card)
	a.open, a.twice = maps.Clone(a.open), slices.Clone(a.twice)
	return a, nil
}

// read counts what was appended. The newest records are asked for first: there
// are few new ones.
func (b *books) read(ctx context.Context) error {
	for _, n := range []int{50, client.MaxLastRecords} {
		newest, err := b.reader.LastRecords(ctx, n)
		if err != nil {
			return err
		}
		if len(newest) > 0 && newest[0].GetSequence() <= b.last+1 {
			for _, r := range newest {
				b.count(r)
			}
			return nil
		}
	}
	for r, err := range b.reader.Records(ctx) {
		if err != nil {
			return err
		}
		b.count(r)
	}
	return nil
}

func (b *books) count(r *inkanpb.Record) {
	if r.GetSequence() <= b.last {
		return
	}
	b.last = r.GetSequence()
	a := b.account(r.GetCardId())
	switch r.GetKind() {
	case inkanpb.RecordKind_RECORD_KIND_INTENT:
		a.open[r.GetSequence()] = true
		if r.GetOperation() == "unlock" {
			a.unlocks++
		} else { // all keys that are used here want the PIN
			a.pins++
		}
	case inkanpb.RecordKind_RECORD_KIND_RESULT:
		if !a.open[r.GetIntent()] {
			a.twice = append(a.twice, r.GetIntent())
		}
		delete(a.open, r.GetIntent())
		if r.GetOperation() == "sign" && r.GetOutcome() == "OK" {
			a.released++
		}
	}
}

func (b *books) account(card string) *account {
	a := b.cards[card]
	if a == nil {
		a = &account{open: map[uint64]bool{}}
		b.cards[card] = a
	}
	return a
}

// spends holds what the card saw against the log.
func (a account) spends(truth pivcard.Truth) (f []finding) {
	if saw := truth.Verifies + truth.Changes; saw > a.pins {
		f = append(f, found(1, "the card saw %d PINs, %d tries were recorded", saw, a.pins))
	}
	if truth.UnlockVerifies > a.unlocks {
		f = append(f, found(1, "the card saw %d unlock codes, %d tries were recorded", truth.UnlockVerifies, a.unlocks))
	}
	return f
}

// settled checks that every intent has one result, and that the signatures that
// came out are those of the log and of the card.
func (a account) settled(truth pivcard.Truth, signed []string) (f []finding) {
	for intent := range a.open {
		f = append(f, found(4, "intent %d has no result", intent))
	}
	for _, intent := range a.twice {
		f = append(f, found(4, "intent %d has two results, or is none", intent))
	}
	if a.released != len(signed) {
		f = append(f, found(3, "the log has %d signatures, %d came out", a.released, len(signed)))
	}
	made := map[string]bool{}
	for _, s := range truth.Signatures {
		made[s.SignatureSHA256] = true
	}
	for _, s := range signed {
		if !made[s] {
			f = append(f, found(3, "signature %s is not one of the card's", s))
		}
	}
	return f
}

// shown holds what people are shown against the card.
func shown(card *inkanpb.CardStatus, truth pivcard.Truth) (f []finding) {
	if n := int(card.GetPin().GetTriesLeft()); n > truth.PINLeft {
		f = append(f, found(2, "%d tries of the PIN are shown, the card has %d", n, truth.PINLeft))
	}
	if n := int(card.GetUnlockCode().GetTriesLeft()); n > truth.UnlockLeft {
		f = append(f, found(2, "%d tries of the unlock code are shown, the card has %d", n, truth.UnlockLeft))
	}
	return f
}

// untouched checks that a card that was swapped in got no secret, and was asked
// for no signature.
func untouched(before, after pivcard.Truth) (f []finding) {
	if after.Verifies != before.Verifies || after.Changes != before.Changes || after.UnlockVerifies != before.UnlockVerifies {
		f = append(f, found(1, "the card that was swapped in got a secret"))
	}
	if len(after.Signatures) != len(before.Signatures) {
		f = append(f, found(3, "the card that was swapped in signed"))
	}
	return f
}

func TestEachBrokenInvariantBehindPCSCDIsFound(t *testing.T) {
	log := func(b *books, kind inkanpb.RecordKind, operation string, intent uint64) {
		b.count(&inkanpb.Record{Sequence: b.last + 1, Kind: kind, Operation: operation, Intent: intent, Outcome: "OK", CardId: "card"})
	}
	const intent, result = inkanpb.RecordKind_RECORD_KIND_INTENT, inkanpb.RecordKind_RECORD_KIND_RESULT
	for name, tt := range map[string]struct {
		spoil func(*books, *pivcard.Truth)
		want  int // invariant; 0 = none is broken
		text  string
	}{
		"nothing":                            {func(*books, *pivcard.Truth) {}, 0, ""},
		"a VERIFY more than debits":          {func(_ *books, t *pivcard.Truth) { t.Verifies++ }, 1, "saw 3 PINs"},
		"a change more than debits":          {func(_ *books, t *pivcard.Truth) { t.Changes++ }, 1, "saw 3 PINs"},
		"an unlock code more than debits":    {func(_ *books, t *pivcard.Truth) { t.UnlockVerifies++ }, 1, "2 unlock codes"},
		"an intent without a result":         {func(b *books, _ *pivcard.Truth) { log(b, intent, "verify", 0) }, 4, "no result"},
		"an intent with two results":         {func(b *books, _ *pivcard.Truth) { log(b, result, "verify", 3) }, 4, "two results"},
		"a signature that was recorded only": {func(b *books, _ *pivcard.Truth) { log(b, intent, "sign", 0); log(b, result, "sign", b.last) }, 3, "1 came out"},
		"a signature that is not the card's": {func(_ *books, t *pivcard.Truth) { t.Signatures[0].SignatureSHA256 = "other" }, 3, "not one of"},
		"fewer tries than are shown":         {func(_ *books, t *pivcard.Truth) { t.PINLeft-- }, 2, "10 tries of the PIN"},
		"fewer unlock tries than are shown":  {func(_ *books, t *pivcard.Truth) { t.UnlockLeft-- }, 2, "10 tries of the unlock code"},
		"a secret for the card swapped in":   {func(_ *books, t *pivcard.Truth) { t.StatusQueries = 1 }, 1, "swapped in got"},
		"a signature of the card swapped in": {func(_ *books, t *pivcard.Truth) { t.StatusQueries = 2 }, 3, "swapped in signed"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBooks(nil)
			for _, operation := range []string{"sign", "verify", "unlock"} {
				log(b, intent, operation, 0)
				log(b, result, operation, b.last)
			}
			truth := pivcard.Truth{Verifies: 2, UnlockVerifies: 1, PINLeft: 10, UnlockLeft: 10, Signatures: []pivcard.Signature{{SignatureSHA256: "s"}}}
			ten := uint32(10)
			card := &inkanpb.CardStatus{Pin: &inkanpb.PinStatus{TriesLeft: &ten}, UnlockCode: &inkanpb.PinStatus{TriesLeft: &ten}}
			tt.spoil(b, &truth)
			a, other := b.account("card"), pivcard.Truth{}
			switch truth.StatusQueries { // stands for what the other card saw
			case 1:
				other.Verifies++
			case 2:
				other.Signatures = truth.Signatures
			}
			f := slices.Concat(a.spends(truth), a.settled(truth, []string{"s"}), shown(card, truth), untouched(pivcard.Truth{}, other))
			if tt.want == 0 && len(f) == 0 {
				return
			}
			if len(f) != 1 || f[0].invariant != tt.want || !strings.Contains(f[0].text, tt.text) {
				t.Errorf("found %v, want I%d: ... %s", f, tt.want, tt.text)
			}
		})
	}
}
