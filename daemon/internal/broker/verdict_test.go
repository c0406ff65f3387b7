package broker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
)

// judged is cards that say of every secret what the test wants, and do it with
// nothing. before is called when a use begins.
type judged struct {
	broker.Cards
	verdict *token.Verdict // nil = what the card says
	before  func()
	mute    bool // a card that must not be asked for its tries
}

type judgedToken struct {
	token.Token
	verdict token.Verdict
}

func (j *judged) Use(ctx context.Context, id token.CardID, f func(context.Context, cardowner.Lease) error) error {
	if j.before != nil {
		j.before()
	}
	return j.Cards.Use(ctx, id, func(ctx context.Context, l cardowner.Lease) error {
		if j.mute {
			l.OnCard = token.Tries{}
		}
		if j.verdict != nil {
			l.Token = judgedToken{l.Token, *j.verdict}
		}
		return f(ctx, l)
	})
}

func (j judgedToken) Verify(context.Context, *token.PIN, *token.Attempt) (token.Verdict, error) {
	return j.verdict, nil
}

func (j judgedToken) Unlock(context.Context, *token.PIN, *token.PIN, *token.Attempt) (token.Verdict, error) {
	return j.verdict, nil
}

func newJudgedHouse(t *testing.T, change func(*broker.Config)) (*house, *judged, wrongPINs) {
	t.Helper()
	cards, wrong := &judged{}, wrongPINs{}
	h := newHouse(t, func(c *broker.Config) {
		cards.Cards = c.Cards
		c.Cards, c.Wrong = cards, wrong
		if change != nil {
			change(c)
		}
	})
	return h, cards, wrong
}

// What a card says of a secret decides what the person is told, and whether the
// same is sent again.
func TestWhatTheCardSaysIsWhatThePersonIsTold(t *testing.T) {
	verify := func(h *house) error { _, err := h.VerifyPIN(t.Context(), h.caller, h.id()); return err }
	unlock := func(h *house) error {
		h.agent.digits, h.agent.next = pivcard.DemoUnlockCode, []string{"486159", "486159"}
		_, warnings, err := h.Unlock(t.Context(), h.caller, h.id())
		if len(warnings) > 0 {
			t.Errorf("warnings %v for a code that was not accepted", warnings)
		}
		return err
	}
	for name, tt := range map[string]struct {
		do         func(*house) error
		verdict    token.Verdict
		want       token.Kind
		remembered bool
		state      token.CardState
	}{
		"a wrong PIN":                    {verify, token.Verdict{Kind: token.VerdictWrong, SW: 0x63C5, Tries: token.KnownTries(5)}, token.KindPINWrong, true, token.CardReady},
		"the last PIN, 63C0":             {verify, token.Verdict{Kind: token.VerdictWrong, SW: 0x63C0, Tries: token.KnownTries(0)}, token.KindPINWrong, true, token.CardLocked},
		"the last PIN, 63C0 is blocked":  {verify, token.Verdict{Kind: token.VerdictBlocked, SW: 0x63C0, Tries: token.KnownTries(0)}, token.KindPINWrong, true, token.CardLocked},
		"a card that was locked before":  {verify, token.Verdict{Kind: token.VerdictBlocked, SW: 0x6983, Tries: token.KnownTries(0)}, token.KindCardLocked, false, token.CardLocked},
		"no verdict":                     {verify, token.Verdict{SW: 0x6F00, Cause: token.NewError(token.KindCardFault)}, token.KindPINNoVerdict, false, token.CardReady},
		"a wrong unlock code":            {unlock, token.Verdict{Kind: token.VerdictWrong, SW: 0x63C5, Tries: token.KnownTries(5)}, token.KindUnlockCodeWrong, true, token.CardReady},
		"the last unlock code":           {unlock, token.Verdict{Kind: token.VerdictWrong, SW: 0x63C0, Tries: token.KnownTries(0)}, token.KindUnlockCodeWrong, true, token.CardReady},
		"an unlock code that was locked": {unlock, token.Verdict{Kind: token.VerdictBlocked, SW: 0x6983, Tries: token.KnownTries(0)}, token.KindUnlockCodeUsedUp, false, token.CardReady},
		"no verdict on the unlock code":  {unlock, token.Verdict{SW: 0x6F00, Cause: token.NewError(token.KindCardFault)}, token.KindUnlockUnknown, false, token.CardReady},
		"a new PIN that it refuses":      {unlock, token.Verdict{SW: 0x6A80, Cause: token.NewError(token.KindNewPINRefusedByCard)}, token.KindNewPINRefusedByCard, false, token.CardReady},
	} {
		t.Run(name, func(t *testing.T) {
			h, cards, wrong := newJudgedHouse(t, nil)
			cards.verdict = &tt.verdict
			if err := tt.do(h); token.KindOf(err) != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if (len(wrong) > 0) != tt.remembered {
				t.Errorf("remembered as wrong: %v, want %t", wrong, tt.remembered)
			}
			// The card itself still has all tries: only what it said counts.
			status := h.Status(t.Context()).Cards[0]
			if status.State != tt.state || (tt.state == token.CardLocked) && !status.PIN.Confirmed {
				t.Errorf("state %d, %+v; want %d, and a number that the card gave", status.State, status.PIN, tt.state)
			}
		})
	}
}

func TestAKnownWrongPINMayBeRightAgain(t *testing.T) {
	wrongOnce := func(t *testing.T, h *house) {
		t.Helper()
		h.agent.digits = "486159"
		if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINWrong {
			t.Fatal(err)
		}
	}
	t.Run("it is the new one", func(t *testing.T) {
		h, cards, wrong := newJudgedHouse(t, nil)
		cards.mute = true
		wrongOnce(t, h)
		h.agent.digits, h.agent.next = pivcard.DemoPIN, []string{"486159", "486159"}
		if _, err := h.ChangePIN(t.Context(), h.caller, h.id()); err != nil {
			t.Fatal(err)
		}
		h.agent.digits = "486159"
		asked := len(h.agent.asked)
		if _, err := h.sign(t, "9a"); err != nil || len(wrong) != 0 || len(h.agent.asked) != asked+1 {
			t.Errorf("signing with it: %v after %d questions, remembered %v", err, len(h.agent.asked)-asked, wrong)
		}
	})
	t.Run("the card has all its tries again", func(t *testing.T) {
		h, _, wrong := newJudgedHouse(t, nil)
		wrongOnce(t, h)
		h.agent.digits = "000007"
		if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINWrong || len(wrong) != 2 {
			t.Fatalf("%v, remembered %v: a card that has not all its tries says nothing new", err, wrong)
		}
		h.rightElsewhere(t)
		if _, err := h.sign(t, "9e"); err != nil || len(wrong) != 0 {
			t.Errorf("a use of the card: %v, still remembered %v", err, wrong)
		}
	})
	t.Run("a person says so", func(t *testing.T) {
		h, _, wrong := newJudgedHouse(t, nil)
		right, err := newPIN(pivcard.DemoPIN)
		if err != nil {
			t.Fatal(err)
		}
		wrong.Add(h.id(), token.SecretPIN, right)
		h.elsewhere(t, 1) // so that the card has not all its tries, and inkand sees it
		if _, err := h.sign(t, "9e"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.sign(t, "9a"); err != nil || len(h.agent.asked) != 2 {
			t.Errorf("after the word: %v after %d questions, want two", err, len(h.agent.asked))
		}
		if _, err := h.sign(t, "9a"); err != nil || len(h.agent.asked) != 3 {
			t.Errorf("the next time: %v after %d questions, want one more", err, len(h.agent.asked))
		}
	})
}

// rightElsewhere has another program prove the PIN.
func (h *house) rightElsewhere(t *testing.T) {
	t.Helper()
	err := h.cards.Use(t.Context(), h.id(), func(ctx context.Context, l cardowner.Lease) error {
		pin, err := newPIN(pivcard.DemoPIN)
		if err != nil {
			return err
		}
		_, err = l.Verify(ctx, pin, token.NewAttempt(h.id(), token.SecretPIN, 1))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Two programs ask at the same time, and the same mistake is typed for both.
func TestTheSameMistakeForTwoCallsIsSentOnce(t *testing.T) {
	for name, unlock := range map[string]bool{"a PIN": false, "an unlock code": true} {
		t.Run(name, func(t *testing.T) {
			h, cards, wrong := newJudgedHouse(t, nil)
			h.elsewhere(t, 1) // so that the card has not all its tries
			if _, err := h.sign(t, "9e"); err != nil {
				t.Fatal(err)
			}
			secret, want := token.SecretPIN, token.KindPINKnownWrong
			h.agent.digits = "000007"
			if unlock {
				secret, want = token.SecretUnlockCode, token.KindUnlockCodeKnownWrong
				h.agent.digits, h.agent.next = "87654321", []string{"486159", "486159"}
			}
			pin, err := newPIN(h.agent.digits)
			if err != nil {
				t.Fatal(err)
			}
			cards.before = func() { wrong.Add(h.id(), secret, pin) } // the other call comes first
			if unlock {
				_, _, err = h.Unlock(t.Context(), h.caller, h.id())
			} else {
				_, err = h.VerifyPIN(t.Context(), h.caller, h.id())
			}
			if truth := h.truth(t); token.KindOf(err) != want || truth.Verifies != 1 || truth.UnlockVerifies != 0 {
				t.Errorf("%v after %d VERIFYs and %d unlock codes, want %s and nothing sent", err, truth.Verifies, truth.UnlockVerifies, want)
			}
		})
	}
}

func TestNobodyButAPersonSaysThatAKnownWrongPINIsRight(t *testing.T) {
	for name, tt := range map[string]struct {
		source prompt.Source
		unlock bool
		asked  int
		want   token.Kind
	}{
		"a program":                        {prompt.SourceProgram, false, 1, token.KindPINKnownWrong},
		"a program that answers for a man": {prompt.SourcePrompt, false, 2, token.KindPINAgentChanged},
		"the same of an unlock code":       {prompt.SourcePrompt, true, 2, token.KindPINAgentChanged},
	} {
		t.Run(name, func(t *testing.T) {
			h, _, wrong := newJudgedHouse(t, func(c *broker.Config) { c.ProgramPINs = true })
			h.agent.source = tt.source
			h.agent.digits = map[bool]string{false: "486159", true: "87654321"}[tt.unlock]
			pin, err := newPIN(h.agent.digits)
			if err != nil {
				t.Fatal(err)
			}
			secret := map[bool]token.Secret{false: token.SecretPIN, true: token.SecretUnlockCode}[tt.unlock]
			wrong.Add(h.id(), secret, pin)
			h.elsewhere(t, 1)
			h.agent.before = func() {
				if len(h.agent.asked) == 2 { // the question whether it was changed
					h.agent.source = prompt.SourceProgram
				}
			}
			if tt.unlock {
				_, _, err = h.Unlock(t.Context(), h.caller, h.id())
			} else {
				_, err = h.VerifyPIN(t.Context(), h.caller, h.id())
			}
			e, ok := errors.AsType[*token.Error](err)
			if !ok || e.Kind != tt.want || len(h.agent.asked) != tt.asked {
				t.Errorf("%v after %d questions, want %s after %d", err, len(h.agent.asked), tt.want, tt.asked)
			}
			if truth := h.truth(t); truth.Verifies != 1 || truth.UnlockVerifies != 0 { // the one elsewhere
				t.Errorf("the card saw %d VERIFYs and %d unlock codes", truth.Verifies, truth.UnlockVerifies)
			}
		})
	}
}

// A gate that closes between the last question and the card: no intent is
// recorded, nothing is sent.
func TestAGateThatClosesBeforeTheCardIsReadyLeavesNoIntent(t *testing.T) {
	h, cards, _ := newJudgedHouse(t, nil)
	cards.before = func() { h.wrongBy(t, 1000); h.wrongBy(t, 1000) }
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindReinsertNeeded || h.truth(t).Verifies != 0 {
		t.Errorf("Sign: %v after %d VERIFYs", err, h.truth(t).Verifies)
	}
	if got := h.events.take(); strings.Contains(got, "log-intent") {
		t.Errorf("events %q: an intent of what was refused", got)
	}
}

// A program's PIN for the last three tries is refused before the card is
// touched.
func TestAProgramThatMayNotTouchesNoCard(t *testing.T) {
	h := newHouse(t, func(c *broker.Config) { c.ProgramPINs = true })
	h.spend(t, token.SecretPIN, token.VerdictWrong, 7)
	h.events.take()
	h.agent.source = prompt.SourceProgram
	if _, err := h.sign(t, "9a"); token.KindOf(err) != token.KindPINSourceRefused {
		t.Errorf("Sign: %v, want PIN_SOURCE_REFUSED", err)
	}
	if got := h.events.take(); strings.Contains(got, "IDENTIFY") {
		t.Errorf("events %q: the card was used", got)
	}
}

// spend spends tries without the gates.
func (h *house) spend(t *testing.T, secret token.Secret, kind token.VerdictKind, n int) {
	t.Helper()
	for range n {
		a, err := h.guard.Debit(pinguard.Account{Card: h.id(), Secret: secret, Limit: 10}, pinguard.Who{Free: true}, pinguard.AuditMark{})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.guard.Settle(a, token.Verdict{Kind: kind}, pinguard.AuditMark{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheLastTriesAreConfirmedForWhatTheyAre(t *testing.T) {
	for name, tt := range map[string]struct {
		secret  token.Secret
		used    int
		virtual bool
		want    prompt.Request
	}{
		"the last three of the PIN":             {token.SecretPIN, 7, false, prompt.Request{Confirmation: "3", Reason: prompt.ReasonFewTries}},
		"the last of the PIN":                   {token.SecretPIN, 9, false, prompt.Request{Confirmation: "1", Reason: prompt.ReasonFewTries}},
		"four of the PIN":                       {token.SecretPIN, 6, false, prompt.Request{}},
		"the last three, with --virtual":        {token.SecretPIN, 7, true, prompt.Request{}},
		"the last three of the unlock code":     {token.SecretUnlockCode, 7, false, prompt.Request{Confirmation: "3", Reason: prompt.ReasonReissue}},
		"four of the unlock code":               {token.SecretUnlockCode, 6, false, prompt.Request{}},
		"the last unlock tries, with --virtual": {token.SecretUnlockCode, 9, true, prompt.Request{}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, func(c *broker.Config) { c.Virtual = tt.virtual })
			h.spend(t, tt.secret, token.VerdictWrong, tt.used)
			var err error
			if tt.secret == token.SecretPIN {
				_, err = h.VerifyPIN(t.Context(), h.caller, h.id())
			} else {
				h.agent.digits, h.agent.next = pivcard.DemoUnlockCode, []string{"486159", "486159"}
				_, _, err = h.Unlock(t.Context(), h.caller, h.id())
			}
			if got := h.agent.asked[0]; err != nil || got.Confirmation != tt.want.Confirmation || got.Reason != tt.want.Reason {
				t.Errorf("%v, asked to type %q (%d), want %q (%d)", err, got.Confirmation, got.Reason, tt.want.Confirmation, tt.want.Reason)
			}
		})
	}
}

func TestANewPINIsNeitherTheOldOneNorTheCode(t *testing.T) {
	h := newHouse(t, nil)
	h.agent.digits, h.agent.next = "486159", []string{"486159", "486159"}
	if _, err := h.ChangePIN(t.Context(), h.caller, h.id()); token.KindOf(err) != token.KindNewPINRefused {
		t.Errorf("the old one: %v, want NEW_PIN_REFUSED", err)
	}
	h.agent.digits, h.agent.next = "48615937", []string{"48615937", "48615937"}
	if _, _, err := h.Unlock(t.Context(), h.caller, h.id()); token.KindOf(err) != token.KindNewPINRefused {
		t.Errorf("the unlock code: %v, want NEW_PIN_REFUSED", err)
	}
	if truth := h.truth(t); truth.Changes+truth.Verifies+truth.UnlockVerifies != 0 || h.left() != 10 || h.unlockLeft() != 10 {
		t.Errorf("the card saw %+v, %d and %d tries left", truth, h.left(), h.unlockLeft())
	}
}

// renewing gives an old PIN and the next, and keeps their pages.
type renewing struct {
	pages
	answers []string
}

func (r *renewing) Ask(ctx context.Context, req prompt.Request) (prompt.Answer, error) {
	r.digits, r.answers = r.answers[0], r.answers[1:]
	return r.pages.Ask(ctx, req)
}

func TestEverySecretOfAChangeIsWipedHoweverItEnds(t *testing.T) {
	for name, answers := range map[string][]string{
		"it is changed":            {pivcard.DemoPIN, "486159", "486159"},
		"the old one is wrong":     {"000007", "486159", "486159"},
		"they differ":              {pivcard.DemoPIN, "486159", "486158"},
		"the new one cannot be":    {pivcard.DemoPIN, "123456"},
		"the old one is malformed": {"12"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &renewing{pages{source: prompt.SourcePrompt}, slices.Clone(answers)}
			h := newHouse(t, func(c *broker.Config) { c.Prompter = p })
			if _, err := h.ChangePIN(t.Context(), h.caller, h.id()); (err == nil) != (name == "it is changed") {
				t.Errorf("ChangePIN: %v", err)
			}
			if len(p.all) != len(answers) || !p.wiped() {
				t.Errorf("%d secrets came and %d were given back, want %d and zeroed", len(p.all), p.released, len(answers))
			}
		})
	}
}
