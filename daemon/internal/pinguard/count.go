package pinguard

import (
	"slices"
	"time"

	"github.com/inkan-project/inkan/token"
)

// account is what tries are counted for.
type account struct {
	card   token.CardID
	secret token.Secret
}

// count is the state of one account. It is copied freely: users is never
// changed in place.
type count struct {
	used    uint8  // tries since the last success; blockedUsed = the card said blocked
	silent  uint8  // attempts in a row without a verdict
	lost    uint8  // attempts without a verdict since the last success
	streak  uint8  // wrong ones in a row since the last success, insertion or acknowledgement
	program uint8  // not right, from programs, since the card was inserted
	flags   uint8  // of the flags below
	full    uint8  // tries that the card says it has when none is used; 0 = it never said
	users   []user // who tried and was not right since the card was inserted
	last    stamp  // when the newest try ended that was not right
	open    uint64 // number of the attempt without a verdict yet, or 0
}

// user is how often the tries of a user were not right.
type user struct {
	uid   uint32
	tries uint8
}

// Flags of a count.
const (
	flagCopied    uint8 = 1  // the state directory is a copy: held
	flagElsewhere uint8 = 2  // the card had fewer tries left than were counted
	flagCrowded   uint8 = 4  // more users than fit: as if the gate were closed
	flagRenewed   uint8 = 8  // used counts from renewedUsed, not from zero
	flagProved    uint8 = 16 // a secret was right here once: full is what the card has when it is full
)

const (
	// blockedUsed in count.used means: locked whatever the limit.
	blockedUsed = 0xFF
	// silentLimit is the number of tries in a row without a verdict that hold a
	// card.
	silentLimit = 3
	// maxUsers is the number of users that a slot has room for.
	maxUsers = 32
)

func (c count) has(flag uint8) bool { return c.flags&flag != 0 }

// held reports whether no try may be made until somebody acknowledges.
func (c count) held() bool { return c.silent >= silentLimit || c.has(flagCopied) }

// limit is the least of all limits: the card profile's, ours, and the card's
// own where it has said so.
func (c count) limit(profile int) int {
	if c.full != 0 {
		profile = min(profile, int(c.full))
	}
	return min(profile, MaxLimit)
}

// told takes in what a card says while nothing is used: that is how many it
// has when it is full, or had when we met it, until a right secret shows which.
// More than it said before is believed here and nowhere else, for it gives
// nothing back.
func (c count) told(onCard token.Tries) count {
	x, known := onCard.Count()
	if known && x > int(c.full) && c.used == 0 {
		c.full = uint8(x)
	}
	return c
}

// left is the number of tries left by this count alone. limit is the card
// profile's.
func (c count) left(limit int) int {
	limit = c.limit(limit)
	if c.has(flagRenewed) {
		return max(0, min(limit, lowTries)+renewedUsed-int(c.used))
	}
	return max(0, limit-int(c.used))
}

// of returns the tries of a user since the insertion.
func (c count) of(uid uint32) uint8 {
	for _, u := range c.users {
		if u.uid == uid {
			return u.tries
		}
	}
	return 0
}

// debited spends a try. It is charged to who makes it at once, so that a crash
// charges it, too.
func (c count) debited(who Who, number uint64) count {
	c.used++
	c.open = number
	if who.Free {
		return c
	}
	if who.Program {
		c.program++
	}
	return c.charged(who.UID, 1)
}

// charged adds to the tries of a user.
func (c count) charged(uid uint32, by int) count {
	users := slices.Clone(c.users)
	i := slices.IndexFunc(users, func(u user) bool { return u.uid == uid })
	switch {
	case i >= 0:
		users[i].tries = uint8(int(users[i].tries) + by)
	case len(users) == maxUsers:
		c.flags |= flagCrowded
	case by > 0:
		users = append(users, user{uid, uint8(by)})
	}
	c.users = slices.DeleteFunc(users, func(u user) bool { return u.tries == 0 })
	return c
}

// settled returns the count after a verdict on the try that who made (security
// model 2.7). limit is the card profile's.
func (c count) settled(v token.Verdict, who Who, limit int, at stamp) count {
	c.open = 0
	switch v.Kind {
	case token.VerdictOK:
		if who.Free {
			return c.cleared()
		}
		if who.Program && c.program > 0 { // an administrator may have forgotten it meanwhile
			c.program--
		}
		return c.charged(who.UID, -1).cleared()
	case token.VerdictWrong:
		c.silent = 0
		return c.failed(who, at, true).lowered(limit, v.Tries)
	case token.VerdictBlocked:
		c.used, c.silent = blockedUsed, 0
		return c.failed(who, at, true)
	case token.VerdictNone:
	}
	c.silent, c.lost = grown(c.silent), grown(c.lost)
	return c.failed(who, at, false)
}

// failed notes a try that was not right, where that limits the next ones.
func (c count) failed(who Who, at stamp, wrong bool) count {
	if who.Free {
		return c
	}
	c.last = at
	if wrong {
		c.streak = grown(c.streak)
	}
	return c
}

// grown adds one and stays where it cannot.
func grown(n uint8) uint8 {
	if n == 0xFF {
		return n
	}
	return n + 1
}

// cleared is a success: all tries are back. What is counted for an insertion
// stays, or a right PIN in between would give a program another wrong one.
func (c count) cleared() count {
	if !c.has(flagProved) { // it may have been used elsewhere before we met it
		c.full = 0
	}
	return count{program: c.program, users: c.users, flags: c.flags&flagCrowded | flagProved, full: c.full}
}

// lowered takes over a card's own count that is below ours.
func (c count) lowered(limit int, onCard token.Tries) count {
	x, known := onCard.Count()
	if !known || x >= c.left(limit) {
		return c
	}
	c.used = uint8(c.limit(limit) - x)
	c.flags &^= flagRenewed
	if x == 0 {
		c.used = blockedUsed
	}
	c.flags |= flagElsewhere
	return c
}

// inserted forgets what is counted for an insertion.
func (c count) inserted() count {
	c.streak, c.program, c.users = 0, 0, nil
	c.flags &^= flagCrowded
	return c
}

// acknowledged is a person's word that the tries may go on. An administrator's
// opens the gate that otherwise an insertion opens.
func (c count) acknowledged(administrator bool) count {
	c.silent = 0
	c.flags &^= flagCopied
	if administrator {
		return c.inserted()
	}
	return c
}

// gated reports whether an insertion would change anything.
func (c count) gated() bool {
	return c.streak > 0 || c.program > 0 || len(c.users) > 0 || c.has(flagCrowded)
}

// delay is how long after a try that was not right the next one must wait. It
// grows with the tries used since the last success.
func (c count) delay() time.Duration {
	switch c.used {
	case 0:
		return 0
	case 1:
		return 2 * time.Second
	case 2:
		return 5 * time.Second
	case 3:
		return 15 * time.Second
	case 4:
		return 30 * time.Second
	}
	return time.Minute
}

// books are the counts of all accounts, as the slots say.
type books struct {
	base   count // of an account that was never seen
	counts map[account]count
}

func newBooks() books { return books{counts: map[account]count{}} }

// of returns the count of an account, also of one never seen.
func (b *books) of(acc account) count {
	if c, ok := b.counts[acc]; ok {
		return c
	}
	return b.base
}

// each changes the counts of all secrets of a card.
func (b *books) each(card token.CardID, change func(count) count) {
	for secret := token.SecretPIN; secret <= token.SecretAdminKey; secret++ {
		acc := account{card, secret}
		b.counts[acc] = change(b.of(acc))
	}
}

// apply takes in one slot: both what was just written and, at a start, what is
// read go through here.
func (b *books) apply(s slot) {
	acc := account{s.card, s.secret}
	switch s.kind {
	case kindHeader:
		b.base = s.count
	case kindMark:
	case kindInserted:
		b.each(s.card, count.inserted)
	case kindAcknowledged, kindAdministrator:
		b.each(s.card, func(c count) count { return c.acknowledged(s.kind == kindAdministrator) })
	case kindDebit, kindSnapshot, kindVerdict, kindLowered:
		b.counts[acc] = s.count
		if s.kind == kindVerdict && s.secret == token.SecretUnlockCode && s.verdict == token.VerdictOK {
			// It has a new PIN with all its tries, and a person who has the code:
			// what the old one left behind counts no more.
			pin := account{s.card, token.SecretPIN}
			b.counts[pin] = count{open: b.of(pin).open, flags: flagProved, full: b.of(pin).cleared().full}
		}
	}
}

// spendForAll counts an unreadable slot: nobody can say whose try it was.
func (b *books) spendForAll() {
	spend := func(c count) count {
		if c.used != blockedUsed {
			c.used++
		}
		return c
	}
	b.base = spend(b.base)
	for acc, c := range b.counts {
		b.counts[acc] = spend(c)
	}
}

// hold holds every card, also those never seen.
func (b *books) hold() {
	b.base.flags |= flagCopied
	for acc, c := range b.counts {
		c.flags |= flagCopied
		b.counts[acc] = c
	}
}
