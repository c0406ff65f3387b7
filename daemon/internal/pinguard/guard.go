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
	// Boot is the clock that waits are counted by; nil = [SystemBoot].
	Boot func() Boot
	// Records is the number of rows in the log. A journal that is missing
	// although there are some, or that ends before them, is damage.
	Records uint64
	// Newest is how many of them were written in the newest barrier; 0 = 1.
	Newest uint64
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
	Copied     string     // why this is a copied state directory, or ""; every card is held
}

// Dangling is an attempt that a crash left without a verdict.
type Dangling struct {
	Card    token.CardID
	Secret  token.Secret
	Attempt uint64
}

// Guard owns the journal. It is safe for concurrent use.
type Guard struct {
	now    func() time.Time
	boot   func() Boot
	opened Boot

	mu      sync.Mutex // guards the fields that follow
	journal *journal
	books   books
	tries   map[uint64]try // attempts without a verdict, by number
	broken  error          // set once, by the first failed write
}

// try is what must be known of an attempt when it is settled.
type try struct {
	who   Who
	limit int
}

// Open reads the journal, or makes one. The error is a [*token.Error] of kind
// KindJournalDamaged if it does not hold together, KindStateNotWritable if it
// cannot be opened. It never changes a journal that it refuses.
func Open(cfg Config) (*Guard, Recovery, error) {
	g := &Guard{now: cfg.Now, boot: cfg.Boot, tries: map[uint64]try{}}
	if g.boot == nil {
		g.boot = SystemBoot()
	}
	g.opened = g.boot()
	j, found, err := openJournal(cfg.FS, cmp.Or(cfg.Slots, defaultSlots), cfg.Records, cmp.Or(cfg.Newest, 1))
	if err != nil {
		return nil, Recovery{}, err
	}
	g.journal, g.books = j, found.books
	here := Origin{Machine: machine(), Dir: j.fs.Inode(), File: j.file.Inode()}
	rec := Recovery{Unreadable: found.unreadable, LastAudit: found.audit, Copied: found.origin.moved(here)}
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
// journal that holds unreadable slots, so that they are counted once, or that
// is a copy, so that this is noticed once.
func (g *Guard) settleDangling(rec *Recovery) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for acc, c := range g.books.counts {
		if c.open == 0 {
			continue
		}
		rec.Dangling = append(rec.Dangling, Dangling{acc.card, acc.secret, c.open})
		if g.journal.full() { // without losing a record that LastAudit knows of
			if err := g.compact(rec.LastAudit); err != nil {
				return err
			}
		}
		s := g.slot(kindVerdict, acc, c.settled(token.Verdict{}, Who{}, MaxLimit, g.opened.stamp()), rec.LastAudit)
		s.attempt = c.open
		if err := g.write(s); err != nil {
			return err
		}
	}
	if rec.Copied != "" {
		g.books.hold()
	}
	if rec.Unreadable > 0 || rec.Copied != "" {
		return g.compact(rec.LastAudit)
	}
	return nil
}

// Debit spends a try, durably, and returns the permission to send the secret
// once. It returns what [Guard.Admit] returns, and KindJournalUnavailable if
// the try could not be made durable.
func (g *Guard) Debit(acc Account, who Who, mark AuditMark) (*token.Attempt, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.admit(acc, who); err != nil {
		return nil, err
	}
	c := g.books.of(acc.key())
	if c.open != 0 {
		return nil, token.NewError(token.KindInternal).Because(fmt.Errorf("attempt %d of %s has no verdict yet", c.open, acc.Card))
	}
	if err := g.makeRoom(mark); err != nil {
		return nil, err
	}
	number := g.journal.next
	s := g.slot(kindDebit, acc.key(), c.debited(who, number), mark)
	s.attempt = number
	if err := g.write(s); err != nil {
		return nil, err
	}
	g.tries[number] = try{who, acc.Limit}
	return token.NewAttempt(acc.Card, acc.Secret, number), nil
}

// Settle records the card's verdict on an attempt, durably. Only an accepted
// secret gives tries back; an accepted unlock code gives back those of the PIN,
// too. A verdict that counts fewer tries than we do lowers ours.
func (g *Guard) Settle(a *token.Attempt, verdict token.Verdict, mark AuditMark) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	acc := account{a.Card(), a.Secret()}
	made, open := g.tries[a.Number()]
	if c := g.books.of(acc); !open || c.open != a.Number() {
		return token.NewError(token.KindInternal).Because(fmt.Errorf("attempt %d of %s is not open", a.Number(), a.Card()))
	}
	if err := g.makeRoom(mark); err != nil {
		return err
	}
	s := g.slot(kindVerdict, acc, g.books.of(acc).settled(verdict, made.who, made.limit, g.boot().stamp()), mark)
	s.attempt, s.verdict = a.Number(), verdict.Kind
	if err := g.write(s); err != nil {
		return err
	}
	delete(g.tries, a.Number())
	return nil
}

// After returns what will be believed once the attempt is settled with this
// verdict, so that the log can say it in the same barrier.
func (g *Guard) After(a *token.Attempt, verdict token.Verdict) Belief {
	g.mu.Lock()
	defer g.mu.Unlock()
	made := g.tries[a.Number()]
	c := g.books.of(account{a.Card(), a.Secret()}).settled(verdict, made.who, made.limit, g.boot().stamp())
	return believe(c, Account{Limit: made.limit, OnCard: verdict.Tries})
}

// Lower records that a card's own count is below ours, durably: somebody used
// tries elsewhere. It reports whether it was so; if not, it writes a mark.
func (g *Guard) Lower(acc Account, mark AuditMark) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.makeRoom(mark); err != nil {
		return false, err
	}
	if !g.isLower(acc) { // any more: its record has its slot all the same
		return false, g.write(g.slot(kindMark, account{}, count{}, mark))
	}
	next := g.books.of(acc.key()).lowered(acc.Limit, acc.OnCard)
	s := g.slot(kindLowered, acc.key(), next, mark)
	s.attempt = next.open
	if err := g.write(s); err != nil {
		return false, err
	}
	return true, nil
}

// IsLower reports whether the card's own count is below ours.
func (g *Guard) IsLower(acc Account) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.isLower(acc)
}

func (g *Guard) isLower(acc Account) bool {
	x, known := acc.OnCard.Count()
	c := g.books.of(acc.key())
	return known && x < believe(c, Account{Limit: acc.Limit}).Left
}

// Told takes in the count of a card that was just asked, so that one whose limit
// is lower than its card profile says is not taken for used elsewhere. It
// writes nothing: the next slot of the account has it.
func (g *Guard) Told(acc Account) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := acc.key()
	before := g.books.of(key)
	if c := before.told(acc.OnCard); c.full != before.full {
		g.books.counts[key] = c
	}
}

// Inserted records that a person took a card out and inserted it again,
// durably, where that opens a gate; else it writes nothing. A caller must not
// take a restart of pcscd or of the service for it.
func (g *Guard) Inserted(card token.CardID, mark AuditMark) error {
	return g.ofCard(kindInserted, card, mark)
}

// IsGated reports whether Inserted would open anything.
func (g *Guard) IsGated(card token.CardID) bool {
	return g.any(card, count.gated)
}

// Acknowledge records a person's word that the tries of a card may go on,
// durably. An administrator's opens the gate, too, that otherwise an insertion
// opens.
func (g *Guard) Acknowledge(card token.CardID, administrator bool, mark AuditMark) error {
	if administrator {
		return g.ofCard(kindAdministrator, card, mark)
	}
	return g.ofCard(kindAcknowledged, card, mark)
}

// IsHeld reports whether Acknowledge would change anything.
func (g *Guard) IsHeld(card token.CardID, administrator bool) bool {
	return g.any(card, func(c count) bool { return c.held() || administrator && c.gated() })
}

// any reports whether one of the secrets of a card is so.
func (g *Guard) any(card token.CardID, is func(count) bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for secret := token.SecretPIN; secret <= token.SecretAdminKey; secret++ {
		if is(g.books.of(account{card, secret})) {
			return true
		}
	}
	return false
}

// ofCard writes a slot about all secrets of a card.
func (g *Guard) ofCard(kind slotKind, card token.CardID, mark AuditMark) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.makeRoom(mark); err != nil {
		return err
	}
	return g.write(g.slot(kind, account{card: card}, count{}, mark))
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
		count: c, audit: mark, at: g.now().UnixNano(),
	}
}

// write appends durably and takes the slot in, or poisons; g.mu must be held.
func (g *Guard) write(s slot) error {
	if g.broken == nil {
		g.broken = g.journal.append(s)
	}
	if g.broken != nil {
		return token.NewError(token.KindJournalUnavailable).Because(g.broken)
	}
	g.books.apply(s)
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
		slots := []slot{g.slot(kindHeader, account{}, g.books.base, mark)}
		for acc, c := range g.books.counts {
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
