// Package tally is a second opinion on tries: a small model of what the rules
// say (docs/decisions/0007), written without looking at how package pinguard
// does it.
//
// It guarantees nothing durable: it is a map. A caller tells it what happened,
// and [Compare] says where a Guard believes otherwise.
package tally

import (
	"fmt"
	"maps"

	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// Limit is the tries that every secret here has.
const Limit = 10

// Account is a secret of a card.
type Account struct {
	Card   token.CardID
	Secret token.Secret
}

// Guard returns the account in the words of package pinguard.
func (a Account) Guard() pinguard.Account {
	return pinguard.Account{Card: a.Card, Secret: a.Secret, Limit: Limit}
}

// line is what is known of an account.
type line struct {
	spent                  int // Limit = locked
	counted                int // spent here, whatever the card said
	silent, lost, streak   int
	byProgram              int
	open                   bool
	by                     pinguard.Who
	byUser1000, byUser1001 int
}

// Model is the state of all accounts. It is a value: [Model.Clone] before a
// change that may not come true.
type Model struct {
	lines map[Account]line
	// Extra is how many tries of every secret a lost slot may have cost.
	Extra int
}

// New returns the model of a new journal.
func New() Model { return Model{lines: map[Account]line{}} }

// Clone returns a copy.
func (m Model) Clone() Model { return Model{maps.Clone(m.lines), m.Extra} }

func (m Model) change(a Account, f func(*line)) {
	l := m.lines[a]
	f(&l)
	m.lines[a] = l
}

func (l *line) charge(who pinguard.Who, by int) {
	if who.Program {
		l.byProgram += by
	}
	if who.UID == 1000 {
		l.byUser1000 += by
	} else {
		l.byUser1001 += by
	}
}

// Debit spends a try.
func (m Model) Debit(a Account, who pinguard.Who) {
	m.change(a, func(l *line) {
		l.spent++
		l.counted++
		l.open, l.by = true, who
		l.charge(who, 1)
	})
}

// Settle is the verdict on it.
func (m Model) Settle(a Account, v token.Verdict) {
	m.change(a, func(l *line) {
		l.open = false
		switch v.Kind {
		case token.VerdictOK:
			l.charge(l.by, -1)
			*l = line{byProgram: l.byProgram, byUser1000: l.byUser1000, byUser1001: l.byUser1001}
		case token.VerdictWrong:
			l.silent = 0
			l.streak++
			l.lower(v.Tries)
		case token.VerdictBlocked:
			l.spent, l.silent = Limit, 0
			l.streak++
		case token.VerdictNone:
			l.silent++
			l.lost++
		}
	})
	if a.Secret == token.SecretUnlockCode && v.Kind == token.VerdictOK {
		m.change(Account{a.Card, token.SecretPIN}, func(l *line) { *l = line{open: l.open, by: l.by} })
	}
}

func (l *line) lower(t token.Tries) {
	if x, known := t.Count(); known && x < Limit-l.spent {
		l.spent = Limit - x
	}
}

// Lower is a card that has fewer tries left than were counted.
func (m Model) Lower(a Account, left int) {
	m.change(a, func(l *line) { l.lower(token.KnownTries(left)) })
}

// Insert is an insertion by a person.
func (m Model) Insert(card token.CardID) {
	m.each(card, func(l *line) { l.streak, l.byProgram, l.byUser1000, l.byUser1001 = 0, 0, 0, 0 })
}

// Acknowledge is a person's word, or an administrator's.
func (m Model) Acknowledge(card token.CardID, administrator bool) {
	m.each(card, func(l *line) { l.silent = 0 })
	if administrator {
		m.Insert(card)
	}
}

func (m Model) each(card token.CardID, f func(*line)) {
	for secret := token.SecretPIN; secret <= token.SecretAdminKey; secret++ {
		m.change(Account{card, secret}, f)
	}
}

// Crash is a restart: a try without a verdict stays spent, and nobody knows
// what the card said.
func (m Model) Crash() {
	for a, l := range m.lines {
		if l.open {
			m.Settle(a, token.Verdict{})
		}
	}
}

// Left returns the tries that an account has.
func (m Model) Left(a Account) int { return max(0, Limit-m.lines[a].spent-m.Extra) }

// Counted returns the tries that an account has if nothing is known of what its
// card said of them: that is lost with the slot that it was written to.
func (m Model) Counted(a Account) int { return max(0, Limit-m.lines[a].counted-m.Extra) }

// Open reports whether an account has a try without a verdict.
func (m Model) Open(a Account) bool { return m.lines[a].open }

// refusal says whether who may not try now, and why.
func (m Model) refusal(a Account, who pinguard.Who) token.Kind {
	l := m.lines[a]
	mine := l.byUser1000
	if who.UID != 1000 {
		mine = l.byUser1001
	}
	switch {
	case m.Left(a) == 0 && a.Secret == token.SecretUnlockCode:
		return token.KindUnlockCodeUsedUp
	case m.Left(a) == 0:
		return token.KindCardLocked
	case l.silent >= 3:
		return token.KindCardHeld
	case who.Program && (a.Secret != token.SecretPIN || m.Left(a) <= 3 || l.byProgram >= 1):
		return token.KindPINSourceRefused
	case l.streak >= 3 || mine >= 2:
		return token.KindReinsertNeeded
	}
	return ""
}

// askers are all who ever try.
func askers() []pinguard.Who {
	return []pinguard.Who{{UID: 1000}, {UID: 1001}, {UID: 1000, Program: true}}
}

// Compare says where a Guard believes otherwise, for these accounts; "" =
// nowhere. The waits of the Guard must be over.
func (m Model) Compare(g *pinguard.Guard, accounts []Account) string {
	for _, a := range accounts {
		l, b := m.lines[a], g.Belief(a.Guard())
		if b.Left != m.Left(a) {
			return fmt.Sprintf("%s of %s: %d tries left, should be %d", a.Secret, a.Card, b.Left, m.Left(a))
		}
		if b.Unaccounted != l.lost {
			return fmt.Sprintf("%s of %s: %d tries unaccounted for, should be %d", a.Secret, a.Card, b.Unaccounted, l.lost)
		}
		for _, who := range askers() {
			want := m.refusal(a, who)
			var got token.Kind
			if err := g.Admit(a.Guard(), who); err != nil {
				got = token.KindOf(err)
			}
			if got != want {
				return fmt.Sprintf("%s of %s: %+v is told %q, should be %q", a.Secret, a.Card, who, got, want)
			}
		}
	}
	return ""
}

// Generous says whether a Guard gives more than the model: more tries, or a
// gate open that should be shut. "" = it does not.
func (m Model) Generous(g *pinguard.Guard, accounts []Account) string {
	for _, a := range accounts {
		if b := g.Belief(a.Guard()); b.Left > m.Left(a) {
			return fmt.Sprintf("%s of %s: %d tries left, at most %d are", a.Secret, a.Card, b.Left, m.Left(a))
		}
		for _, who := range askers() {
			if want := m.refusal(a, who); want != "" && g.Admit(a.Guard(), who) == nil {
				return fmt.Sprintf("%s of %s: %+v may try, should be told %q", a.Secret, a.Card, who, want)
			}
		}
	}
	return ""
}
