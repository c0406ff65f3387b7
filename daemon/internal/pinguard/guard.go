// Package pinguard counts the tries of every secret of every card, durably,
// before they are spent.
//
// It guarantees that no [token.Attempt] exists before its try is on the disk,
// that nothing but an accepted secret gives tries back, and that whatever
// cannot be read counts as spent: a crash, a restart, a changed clock or a
// damaged slot never gives a try back. A caller must settle every Attempt it
// was given with the card's verdict, and must believe [Guard.Belief] rather
// than the card when the two differ upwards.
//
// The journal is a file of its own (docs/decisions/0003-journal-file-not-sql.md)
// with one fdatasync for each write. After a failed write or sync the guard is
// poisoned for the life of the process: nothing is retried.
package pinguard

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/inkan-project/inkan/token"
)

// MaxLimit is the highest limit there is: a card profile may lower it, never
// raise it.
const MaxLimit = 10

// lowTries is the number of tries that are reserved for the trusted prompt.
const lowTries = 3

// Config is what a Guard needs.
type Config struct {
	FS  FS               // where the journal lies
	Now func() time.Time // wall clock; written down, never decided on
	// Records is the number of rows in the log. A journal that is missing
	// although there are some, or that ends before them, is damage.
	Records uint64
	// Slots is the size of a new journal; 0 = 8192 (4 MiB, about 4,000 PIN
	// entries until it is compacted).
	Slots int
}

// AuditMark ties a slot to the log: the number of audit rows once the slot's
// own barrier is complete, and how many of them belong to this barrier.
type AuditMark struct {
	Rows uint64
	Own  uint8
}

// Recovery is what Open found that somebody should be told.
type Recovery struct {
	Dangling   []Dangling // attempts without a verdict; they count as spent
	Unreadable int        // slots that could not be read; each counts as a try
	Kept       string     // name of the copy of a journal with unreadable slots
	LastAudit  AuditMark  // of the newest slot
}

// Dangling is an attempt that a crash left without a verdict.
type Dangling struct {
	Card    token.CardID
	Secret  token.Secret
	Attempt uint64
}

// Guard owns the journal. It is safe for concurrent use.
type Guard struct {
	now func() time.Time

	mu      sync.Mutex // guards the fields that follow
	journal *journal
	counts  map[account]count
	base    uint8 // tries that count as spent for cards never seen
	broken  error // set once, by the first failed write
}

// account is what tries are counted for.
type account struct {
	card   token.CardID
	secret token.Secret
}

// count is the state of one account.
type count struct {
	used   uint8  // tries since the last success; blockedUsed = the card said blocked
	silent uint8  // attempts in a row without a verdict
	open   uint64 // number of the attempt without a verdict yet, or 0
}

// blockedUsed in count.used means: locked whatever the limit.
const blockedUsed = 0xFF

// Open reads the journal, or makes one. The error is a [*token.Error] of kind
// KindJournalDamaged if it does not hold together, KindStateNotWritable if it
// cannot be opened. It never changes a journal that it refuses.
func Open(cfg Config) (*Guard, Recovery, error) {
	g := &Guard{now: cfg.Now, counts: map[account]count{}}
	j, found, err := openJournal(cfg.FS, cmp.Or(cfg.Slots, defaultSlots), cfg.Records)
	if err != nil {
		return nil, Recovery{}, err
	}
	g.journal = j
	rec := Recovery{Unreadable: found.unreadable, LastAudit: found.audit}
	g.base, g.counts = found.base, found.counts
	if found.unreadable > 0 {
		rec.Kept, err = j.keepCopy(cfg.Now())
		if err != nil {
			return nil, rec, errors.Join(err, j.close())
		}
	}
	if err := g.settleDangling(&rec); err != nil {
		return nil, rec, errors.Join(err, j.close())
	}
	return g, rec, nil
}

// settleDangling gives every open attempt the verdict "none", and rewrites a
// journal that holds unreadable slots so that they are counted once.
func (g *Guard) settleDangling(rec *Recovery) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for acc, c := range g.counts {
		if c.open == 0 {
			continue
		}
		rec.Dangling = append(rec.Dangling, Dangling{acc.card, acc.secret, c.open})
		next := c.settled(token.VerdictNone)
		if err := g.makeRoom(rec.LastAudit); err != nil {
			return err
		}
		s := g.slot(kindVerdict, acc, next, rec.LastAudit)
		s.attempt = c.open
		if err := g.write(s); err != nil {
			return err
		}
		g.counts[acc] = next
	}
	if rec.Unreadable > 0 {
		return g.compact(rec.LastAudit)
	}
	return nil
}

// Belief is what is known of the tries of one secret.
type Belief struct {
	Left      int             // tries left: the lower of our count and the card's
	Confirmed bool            // the card itself gave the number; else "at most"
	State     token.CardState // ready, low or locked
	Limit     int             // min(MaxLimit, card profile)
}

// Belief returns min(limit-used, the card's own count). limit is the card
// profile's; onCard is what the card said when it was last asked.
func (g *Guard) Belief(card token.CardID, secret token.Secret, limit int, onCard token.Tries) Belief {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.belief(account{card, secret}, limit, onCard)
}

func (g *Guard) belief(acc account, limit int, onCard token.Tries) Belief {
	return believe(g.count(acc), limit, onCard)
}

// believe returns min(limit - used, the card's own count).
func believe(c count, limit int, onCard token.Tries) Belief {
	b := Belief{Limit: min(limit, MaxLimit)}
	b.Left = max(0, b.Limit-int(c.used))
	if x, known := onCard.Count(); known {
		b.Confirmed = x <= b.Left
		b.Left = min(b.Left, x)
	}
	switch {
	case b.Left == 0:
		b.State = token.CardLocked
	case b.Left <= lowTries:
		b.State = token.CardLow
	default:
		b.State = token.CardReady
	}
	return b
}

// count returns the state of an account, also of one never seen.
func (g *Guard) count(acc account) count {
	if c, ok := g.counts[acc]; ok {
		return c
	}
	return count{used: g.base}
}

// Debit spends a try, durably, and returns the permission to send the secret
// once. It returns KindCardLocked if no tries are left, and
// KindJournalUnavailable if the try could not be made durable.
func (g *Guard) Debit(card token.CardID, secret token.Secret, limit int, onCard token.Tries, mark AuditMark) (*token.Attempt, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	acc := account{card, secret}
	if g.belief(acc, limit, onCard).Left == 0 {
		return nil, token.NewError(token.KindCardLocked).WithTries(token.KnownTries(0))
	}
	c := g.count(acc)
	if c.open != 0 {
		return nil, token.NewError(token.KindInternal).Because(fmt.Errorf("attempt %d of %s has no verdict yet", c.open, card))
	}
	if err := g.makeRoom(mark); err != nil {
		return nil, err
	}
	next := count{used: c.used + 1, silent: c.silent, open: g.journal.next}
	s := g.slot(kindDebit, acc, next, mark)
	s.attempt = next.open
	if err := g.write(s); err != nil {
		return nil, err
	}
	g.counts[acc] = next
	return token.NewAttempt(card, secret, next.open), nil
}

// Settle records the card's verdict on an attempt, durably. Only an accepted
// secret gives tries back.
func (g *Guard) Settle(a *token.Attempt, kind token.VerdictKind, mark AuditMark) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	acc := account{a.Card(), a.Secret()}
	c := g.count(acc)
	if c.open != a.Number() {
		return token.NewError(token.KindInternal).Because(fmt.Errorf("attempt %d of %s is not open", a.Number(), a.Card()))
	}
	if err := g.makeRoom(mark); err != nil {
		return err
	}
	next := c.settled(kind)
	s := g.slot(kindVerdict, acc, next, mark)
	s.attempt, s.verdict = a.Number(), kind
	if err := g.write(s); err != nil {
		return err
	}
	g.counts[acc] = next
	return nil
}

// After returns what will be believed once the attempt is settled with this
// verdict, so that the log can say it in the same barrier.
func (g *Guard) After(a *token.Attempt, kind token.VerdictKind, limit int, onCard token.Tries) Belief {
	g.mu.Lock()
	defer g.mu.Unlock()
	return believe(g.count(account{a.Card(), a.Secret()}).settled(kind), limit, onCard)
}

// settled returns the count after a verdict (security model 2.7).
func (c count) settled(kind token.VerdictKind) count {
	switch kind {
	case token.VerdictOK:
		return count{}
	case token.VerdictWrong:
		return count{used: c.used}
	case token.VerdictBlocked:
		return count{used: blockedUsed}
	case token.VerdictNone:
	}
	return count{used: c.used, silent: c.silent + 1}
}

// Lower records that a card's own count is below ours, durably: somebody used
// tries elsewhere. It reports whether it was so.
func (g *Guard) Lower(card token.CardID, secret token.Secret, limit int, onCard token.Tries, mark AuditMark) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	acc := account{card, secret}
	if !g.isLower(acc, limit, onCard) {
		return false, nil
	}
	if err := g.makeRoom(mark); err != nil {
		return false, err
	}
	x, _ := onCard.Count()
	next := g.count(acc)
	next.used = uint8(min(limit, MaxLimit) - x)
	if x == 0 {
		next.used = blockedUsed
	}
	if err := g.write(g.slot(kindLowered, acc, next, mark)); err != nil {
		return false, err
	}
	g.counts[acc] = next
	return true, nil
}

// IsLower reports whether the card's own count is below ours.
func (g *Guard) IsLower(card token.CardID, secret token.Secret, limit int, onCard token.Tries) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.isLower(account{card, secret}, limit, onCard)
}

func (g *Guard) isLower(acc account, limit int, onCard token.Tries) bool {
	x, known := onCard.Count()
	return known && x < g.belief(acc, limit, token.Tries{}).Left
}

// Mark ties the journal to the log where no try is spent: signatures without
// a PIN.
func (g *Guard) Mark(mark AuditMark) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.makeRoom(mark); err != nil {
		return err
	}
	return g.write(g.slot(kindMark, account{}, count{}, mark))
}

// Err returns KindJournalUnavailable once the journal could not be written,
// for nothing is written any more then; nil before.
func (g *Guard) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken != nil {
		return token.NewError(token.KindJournalUnavailable).Because(g.broken)
	}
	return nil
}

// Close closes the journal. Nothing is lost when it is not called.
func (g *Guard) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.broken = errors.New("journal is closed")
	return g.journal.close()
}

// slot fills in a slot; g.mu must be held.
func (g *Guard) slot(kind slotKind, acc account, c count, mark AuditMark) slot {
	return slot{
		kind: kind, secret: acc.secret, card: acc.card,
		used: c.used, silent: c.silent, audit: mark, at: g.now().UnixNano(),
	}
}

// write appends durably, or poisons; g.mu must be held.
func (g *Guard) write(s slot) error {
	if g.broken == nil {
		g.broken = g.journal.append(s)
	}
	if g.broken != nil {
		return token.NewError(token.KindJournalUnavailable).Because(g.broken)
	}
	return nil
}

// makeRoom compacts a full journal; g.mu must be held.
func (g *Guard) makeRoom(mark AuditMark) error {
	if g.broken == nil && !g.journal.full() {
		return nil
	}
	// The rows of the barrier that needs the room are not written yet: the
	// compacted journal must not claim them.
	return g.compact(AuditMark{Rows: mark.Rows - uint64(mark.Own)})
}

// compact writes the present counts to a new journal; g.mu must be held.
func (g *Guard) compact(mark AuditMark) error {
	if g.broken == nil {
		slots := []slot{g.slot(kindHeader, account{}, count{used: g.base}, mark)}
		for acc, c := range g.counts {
			s := g.slot(kindSnapshot, acc, c, mark)
			s.attempt = c.open
			slots = append(slots, s)
		}
		g.broken = g.journal.replace(slots)
	}
	if g.broken != nil {
		return token.NewError(token.KindJournalUnavailable).Because(g.broken)
	}
	return nil
}
