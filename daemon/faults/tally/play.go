package tally

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// Accounts are those that a [Player] plays with; the last one is never used.
func Accounts() []Account {
	return []Account{
		{"piv-a", token.SecretPIN},
		{"piv-a", token.SecretUnlockCode},
		{"piv-b", token.SecretPIN},
		{"piv-b", token.SecretUnlockCode},
		{"piv-unseen", token.SecretPIN},
	}
}

// Config returns how a journal on fsys is opened here: each time by another
// boot, in which an hour passes whenever somebody looks at the clock, so that no
// wait is left.
func Config(fsys pinguard.FS, records uint64, slots int) pinguard.Config {
	var looks atomic.Int64
	var boot [16]byte
	binary.LittleEndian.PutUint64(boot[:], rand.Uint64()) //nolint:gosec // any other number will do
	now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	return pinguard.Config{
		FS: fsys, Records: records, Slots: slots,
		Now:  func() time.Time { return now },
		Boot: func() pinguard.Boot { return pinguard.Boot{ID: boot, Since: time.Duration(looks.Add(1)) * time.Hour} },
	}
}

// Player does at random what can happen to cards, with a Guard and the model
// side by side.
type Player struct {
	Guard  *pinguard.Guard
	Random *rand.Rand
	// Done is what was acknowledged; Next what is true once the step under way
	// is. Between steps they are the same.
	Done, Next Model
	// Rows is the number of rows in the log that belong to Done.
	Rows uint64
	// Sent is told of each try right after its debit: this is when a secret
	// would reach the card.
	Sent func(Account)

	attempts map[Account]*token.Attempt
}

// NewPlayer returns one for a new journal.
func NewPlayer(g *pinguard.Guard, random *rand.Rand) *Player {
	m := New()
	return &Player{Guard: g, Random: random, Done: m, Next: m, attempts: map[Account]*token.Attempt{}}
}

func (p *Player) mark() pinguard.AuditMark { return pinguard.AuditMark{Rows: p.Rows + 1, Own: 1} }

// did makes Next true.
func (p *Player) did(err error) error {
	if err != nil {
		return err
	}
	p.Done, p.Rows = p.Next, p.Rows+1
	return nil
}

// Step does one thing. An error is the Guard's; what it refuses by the rules
// is none.
func (p *Player) Step() error {
	all := Accounts()
	a := all[p.Random.IntN(len(all)-1)]
	p.Next = p.Done.Clone()
	for _, o := range all { // one use of a card at a time, as the service does
		if attempt, open := p.attempts[o]; open && o.Card == a.Card {
			return p.Settle(o, attempt, p.verdict(o))
		}
	}
	switch n := p.Random.IntN(20); {
	case n < 12:
		return p.Debit(a, askers()[p.Random.IntN(3)])
	case n < 15:
		return p.Insert(a.Card)
	case n < 17:
		return p.Acknowledge(a.Card, n == 15)
	case n < 18:
		return p.Lower(a)
	}
	return p.Mark()
}

// Mark is a record without a try.
func (p *Player) Mark() error {
	p.Next = p.Done.Clone()
	return p.did(p.Guard.Mark(p.mark()))
}

// verdict is wrong more often than right, and never makes a card useless for
// long.
func (p *Player) verdict(a Account) token.Verdict {
	left := p.Done.Left(a)
	switch n := p.Random.IntN(12); {
	case n < 4 || left < 2 && n < 10:
		return token.Verdict{Kind: token.VerdictOK}
	case n < 7:
		return token.Verdict{Kind: token.VerdictWrong, Tries: token.KnownTries(left)}
	case n < 8:
		return token.Verdict{Kind: token.VerdictWrong, Tries: token.KnownTries(max(0, left-1))}
	case n < 9 && a.Secret == token.SecretPIN:
		return token.Verdict{Kind: token.VerdictBlocked}
	}
	return token.Verdict{}
}

// Debit spends a try, if the rules let it.
func (p *Player) Debit(a Account, who pinguard.Who) error {
	if p.Done.refusal(a, who) != "" {
		if err := p.Guard.Admit(a.Guard(), who); err == nil {
			return fmt.Errorf("the guard lets %+v try the %s of %s, the model does not", who, a.Secret, a.Card)
		}
		return nil
	}
	p.Next = p.Done.Clone()
	p.Next.Debit(a, who)
	attempt, err := p.Guard.Debit(a.Guard(), who, p.mark())
	if err != nil {
		return err
	}
	if p.Sent != nil {
		p.Sent(a)
	}
	p.attempts[a] = attempt
	return p.did(nil)
}

// Settle is the verdict on a try.
func (p *Player) Settle(a Account, attempt *token.Attempt, v token.Verdict) error {
	p.Next = p.Done.Clone()
	p.Next.Settle(a, v)
	delete(p.attempts, a)
	return p.did(p.Guard.Settle(attempt, v, p.mark()))
}

// Try spends a try and settles it.
func (p *Player) Try(a Account, who pinguard.Who, v token.Verdict) error {
	if err := p.Debit(a, who); err != nil {
		return err
	}
	return p.SettleOpen(a, v)
}

// SettleOpen is the verdict on the try that is open.
func (p *Player) SettleOpen(a Account, v token.Verdict) error { return p.Settle(a, p.attempts[a], v) }

// Insert is an insertion.
func (p *Player) Insert(card token.CardID) error {
	p.Next = p.Done.Clone()
	p.Next.Insert(card)
	return p.did(p.Guard.Inserted(card, p.mark()))
}

// Acknowledge is a person's word.
func (p *Player) Acknowledge(card token.CardID, administrator bool) error {
	p.Next = p.Done.Clone()
	p.Next.Acknowledge(card, administrator)
	return p.did(p.Guard.Acknowledge(card, administrator, p.mark()))
}

// Lower is a card whose own count is one below ours.
func (p *Player) Lower(a Account) error {
	left := p.Done.Left(a) - 1
	if left < 1 {
		return nil
	}
	p.Next = p.Done.Clone()
	p.Next.Lower(a, left)
	acc := a.Guard()
	acc.OnCard = token.KnownTries(left)
	_, err := p.Guard.Lower(acc, p.mark())
	return p.did(err)
}
