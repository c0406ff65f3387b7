package broker_test

import (
	"context"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/token"
)

// asksAgain is cards whose keys want the PIN once more for each signature.
type asksAgain struct {
	broker.Cards
	begin  error              // instead of a signature that has begun
	second *token.VerdictKind // what is said of the second PIN; nil = what the card says
}

type asksAgainToken struct {
	token.Token
	cards *asksAgain
}

func (a *asksAgain) Use(ctx context.Context, id token.CardID, f func(context.Context, cardowner.Lease) error) error {
	return a.Cards.Use(ctx, id, func(ctx context.Context, l cardowner.Lease) error {
		l.Token = &asksAgainToken{Token: l.Token, cards: a}
		return f(ctx, l)
	})
}

func (a *asksAgainToken) Begin(context.Context, token.Key, token.Algorithm, []byte) (bool, error) {
	return a.cards.begin == nil, a.cards.begin
}

func (a *asksAgainToken) VerifyAgain(ctx context.Context, pin *token.PIN, attempt *token.Attempt) (token.Verdict, error) {
	v, err := a.Verify(ctx, pin, attempt)
	if k := a.cards.second; k != nil {
		v.Kind, v.Tries = *k, token.Tries{}
	}
	return v, err
}

func newAskingHouse(t *testing.T) (*house, *asksAgain) {
	t.Helper()
	cards := &asksAgain{}
	h := newHouse(t, func(c *broker.Config) { cards.Cards, c.Cards = c.Cards, cards })
	return h, cards
}

func TestASecondPINIsATryOfItsOwn(t *testing.T) {
	h, _ := newAskingHouse(t)
	if _, err := h.sign(t, "9a"); err != nil {
		t.Fatal(err)
	}
	// The first verdict and the second debit are two slots of one barrier.
	inOrder(t, h.events.take(), "IDENTIFY", "journal|log-intent", "VERIFY", "journal|journal|log-event", "VERIFY", "SIGN", "journal|log-result")
	if truth := h.truth(t); truth.Verifies != 2 || h.left() != 10 {
		t.Errorf("%d VERIFYs and %d tries left, want 2 and 10", truth.Verifies, h.left())
	}
	if len(h.agent.asked) != 1 {
		t.Errorf("the person was asked %d times, want once", len(h.agent.asked))
	}
}

func TestASecondPINIsJudgedLikeTheFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		verdict token.VerdictKind
		want    token.Kind
	}{
		"wrong": {token.VerdictWrong, token.KindPINWrong},
		"none":  {token.VerdictNone, token.KindPINNoVerdict},
	} {
		t.Run(name, func(t *testing.T) {
			h, cards := newAskingHouse(t)
			cards.second = &tt.verdict
			if _, err := h.sign(t, "9a"); token.KindOf(err) != tt.want {
				t.Errorf("Sign: %v, want %s", err, tt.want)
			}
			if truth := h.truth(t); truth.Verifies != 2 || len(truth.Signatures) != 0 || h.left() != 9 {
				t.Errorf("%d VERIFYs, %d signatures and %d tries left, want 2, 0 and 9", truth.Verifies, len(truth.Signatures), h.left())
			}
		})
	}
}

// The key cannot even begin: the PIN was right, and no second one is given.
func TestWhatCannotBeginTakesNoSecondPIN(t *testing.T) {
	h, cards := newAskingHouse(t)
	cards.begin = token.NewError(token.KindCardFault)
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindCardFault {
		t.Errorf("Sign: %v", err)
	}
	if truth := h.truth(t); truth.Verifies != 1 || h.left() != 10 {
		t.Errorf("%d VERIFYs and %d tries left, want 1 and 10", truth.Verifies, h.left())
	}
}

// Without the barrier between them the second PIN is not given. The first was
// right: what is durable decides what it gave back.
func TestASecondPINWaitsForItsRecord(t *testing.T) {
	h, _ := newAskingHouse(t)
	h.events.fail = "log-event"
	_, err := h.sign(t, "9a")
	if err == nil {
		t.Fatal("signed without a record")
	}
	if truth := h.truth(t); truth.Verifies != 1 || len(truth.Signatures) != 0 || h.left() > 10 {
		t.Errorf("%v after %d VERIFYs and %d signatures", err, truth.Verifies, len(truth.Signatures))
	}
	if events := h.events.take(); strings.Count(events, "SIGN") != 0 {
		t.Errorf("events %s", events)
	}
}

func TestACallerThatIsGoneGivesNoSecondPIN(t *testing.T) {
	h, _ := newAskingHouse(t)
	h.events.fail = "VERIFY"
	h.events.at = func() { h.alive = token.NewError(token.KindCallerGone) }
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindCallerGone {
		t.Errorf("Sign: %v", err)
	}
	if truth := h.truth(t); truth.Verifies != 1 || h.left() != 10 {
		t.Errorf("%d VERIFYs and %d tries left, want 1 and 10", truth.Verifies, h.left())
	}
}
