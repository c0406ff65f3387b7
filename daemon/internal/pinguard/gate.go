package pinguard

import (
	"fmt"
	"strconv"
	"time"

	"github.com/inkan-project/inkan/token"
)

// Limits on who may spend tries (docs/decisions/0007).
const (
	maxStreak  = 3 // wrong ones in a row before the card must be inserted again
	maxUser    = 2 // tries that were not right, for each user and insertion
	maxProgram = 1 // the same for all programs together
)

// Who spends a try.
type Who struct {
	UID     uint32
	Program bool // a program gives the secret; else a person at the trusted prompt
	Free    bool // no limit on who may spend which try: --virtual
}

// Account is one secret of one card and what is known of it beforehand.
type Account struct {
	Card   token.CardID
	Secret token.Secret
	Limit  int         // of the card profile
	OnCard token.Tries // the card's own count, when it was last asked
}

func (a Account) key() account { return account{a.Card, a.Secret} }

// Admit returns nil if who may spend a try now. Nothing is spent. Errors are
// [*token.Error] of kind KindCardLocked, KindUnlockCodeUsedUp, KindCardHeld,
// KindReinsertNeeded, KindPINSourceRefused or KindTryLater.
func (g *Guard) Admit(acc Account, who Who) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.admit(acc, who)
}

// admit is Admit; g.mu must be held.
func (g *Guard) admit(acc Account, who Who) error {
	c, b := g.books.of(acc.key()), g.belief(acc)
	err := refusal(c, b, acc.Secret, who)
	if err == nil {
		return nil
	}
	return err.WithTries(token.KnownTries(b.Left))
}

// refusal says why who may not spend a try, or returns nil.
func refusal(c count, b Belief, secret token.Secret, who Who) *token.Error {
	switch {
	case b.Left == 0 && secret == token.SecretUnlockCode:
		return token.NewError(token.KindUnlockCodeUsedUp)
	case b.Left == 0:
		return token.NewError(token.KindCardLocked)
	case c.held():
		return held(b.Held)
	case who.Free:
		return nil
	case who.Program && secret != token.SecretPIN:
		return token.Errorf(token.KindPINSourceRefused, "only a person may give the %s", secret).
			InJapanese("この種類の番号は人だけが入力できます")
	case who.Program && b.Left <= lowTries:
		return token.Errorf(token.KindPINSourceRefused, "the last tries are kept for a person").
			InJapanese("最後の数回は人の入力のために残します")
	case who.Program && c.program >= maxProgram:
		return token.Errorf(token.KindPINSourceRefused, "a program gave a wrong PIN since the card was inserted").
			InJapanese("カードを差し込んでから、プログラムが誤った暗証番号を渡しました")
	case c.streak >= maxStreak:
		return streak()
	case c.of(who.UID) >= maxUser, c.has(flagCrowded):
		return token.Errorf(token.KindReinsertNeeded, "user %d has used up the tries for one insertion", who.UID).
			InJapanese(fmt.Sprintf("ユーザ %d は1回の差込みで許される回数を使い切りました", who.UID))
	case b.Wait > 0:
		return token.NewError(token.KindTryLater, "seconds", strconv.Itoa(int((b.Wait+time.Second-1)/time.Second)))
	}
	return nil
}

// held is the refusal of a card that is held.
func held(by HeldBy) *token.Error {
	if by == HeldByCopy {
		return token.Errorf(token.KindCardHeld, "the records of this PC are a copy and may be old").
			InJapanese("このPCの記録が複製されたもので、古い可能性があります")
	}
	return token.Errorf(token.KindCardHeld, "three tries in a row ended without an answer").
		InJapanese("3回続けて照合結果を受け取れませんでした")
}

// Refusal returns why not even a person at the trusted prompt may try now,
// where an acknowledgement or an insertion is needed; else nil.
func (b Belief) Refusal() *token.Error {
	switch {
	case b.State == token.CardHeld:
		return held(b.Held).WithTries(token.KnownTries(b.Left))
	case b.Reinsert && b.State != token.CardLocked:
		return streak().WithTries(token.KnownTries(b.Left))
	}
	return nil
}

// streak is the refusal after too many wrong tries in a row.
func streak() *token.Error {
	return token.Errorf(token.KindReinsertNeeded, "%d wrong tries in a row", maxStreak).
		InJapanese(fmt.Sprintf("続けて%d回の誤り", maxStreak))
}

// HeldBy is why a card is held.
type HeldBy uint8

// Reasons; zero is: not held.
const (
	HeldBySilence HeldBy = 1 // three tries in a row ended without a verdict
	HeldByCopy    HeldBy = 2 // the state directory is a copy
)

// Belief is what is known of the tries of one secret.
type Belief struct {
	Left        int             // tries left: the lower of our count and the card's
	Confirmed   bool            // the card itself gave the number; else "at most"
	State       token.CardState // ready, low, held or locked, for this secret alone
	Limit       int             // min(MaxLimit, card profile, what the card had when it was full)
	Held        HeldBy          // why no try may be made before somebody acknowledges, also if State is locked
	Unaccounted int             // tries without a verdict since the last success
	Wait        time.Duration   // until the next try may be made
	Reinsert    bool            // after three wrong in a row: not before an insertion
	Elsewhere   bool            // tries were used elsewhere since the last success
}

// Belief returns min(limit - used, the card's own count) and what else is
// known.
func (g *Guard) Belief(acc Account) Belief {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.belief(acc)
}

// belief is Belief; g.mu must be held.
func (g *Guard) belief(acc Account) Belief {
	c := g.books.of(acc.key())
	b := believe(c, acc)
	b.Wait = c.last.remaining(c.delay(), g.opened, g.boot())
	return b
}

// believe is what a count alone says.
func believe(c count, acc Account) Belief {
	b := Belief{
		Limit: c.limit(acc.Limit), Unaccounted: int(c.lost),
		Reinsert: c.streak >= maxStreak || c.has(flagCrowded), Elsewhere: c.has(flagElsewhere),
	}
	b.Left = c.left(acc.Limit)
	if x, known := acc.OnCard.Count(); known {
		b.Confirmed = x <= b.Left
		b.Left = min(b.Left, x)
	}
	switch {
	case c.has(flagCopied):
		b.Held = HeldByCopy
	case c.held():
		b.Held = HeldBySilence
	}
	b.State = b.state(acc.OnCard)
	return b
}

// Acknowledged is what is believed once [Guard.Acknowledge] has recorded it.
// onCard is the card's own count.
func (b Belief) Acknowledged(administrator bool, onCard token.Tries) Belief {
	b.Held = 0
	b.Reinsert = b.Reinsert && !administrator
	b.State = b.state(onCard)
	return b
}

// state is that of one secret alone.
func (b Belief) state(onCard token.Tries) token.CardState {
	switch {
	case b.Left == 0:
		return token.CardLocked
	case b.Held != 0:
		return token.CardHeld
	case b.Left <= lowTries, onCard.IsFewer():
		return token.CardLow
	}
	return token.CardReady
}

// StateOf returns the state of a card (docs/states.md) from what is believed of
// its PIN and unlock code.
func StateOf(pin, unlock Belief) token.CardState {
	if pin.State == token.CardLocked && unlock.Left == 0 {
		return token.CardDead
	}
	return pin.State
}
