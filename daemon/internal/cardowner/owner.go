// Package cardowner owns the readers: it knows what is inserted, and lets one
// use case at a time talk to a card.
//
// It guarantees that a card is reset and identified before a use case gets it
// and reset again before [Owner.Use] returns, that nobody else's command falls
// in between, and that a slow or stuck reader delays no other. A caller must
// keep its use of the card short: no waiting for people inside Use.
package cardowner

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
)

// Application is a kind of token that may be found on a card.
type Application struct {
	Name string
	// Profile returns the card profile of a card with this ATR and identity;
	// the identity is "" until the card has told it.
	Profile func(atr []byte, card token.CardID) token.Profile
	// Takes reports whether a card in this reader can be one; nil = any can.
	Takes func(pcsc.Card) bool
	// Open speaks to the application over an exclusive connection.
	Open func(Connection, token.Profile) token.Token
}

// Config is what an Owner needs.
type Config struct {
	System       pcsc.System
	Applications []Application // probed in this order
	// Idle is how long a card is kept after a use, so that the next one need
	// not connect again; then other programs may have it.
	Idle time.Duration
	// Hold keeps a card for good: other programs never have it.
	Hold bool
	// Retry is how long to wait before looking again at a card that another
	// program had when it was inserted.
	Retry time.Duration
	// CommandTimeout is how long one command to a card may take.
	CommandTimeout time.Duration
	Logger         *slog.Logger
	// Uptime is the time since the PC was started, also while it slept; nil =
	// the time since New.
	Uptime func() time.Duration
	// Admit is asked when a card has just said who it is; an error leaves the
	// card unusable and nothing more is read from it. nil admits every card.
	Admit func(token.Identity) error
	// Met is called once for each card that was identified after an insertion,
	// before the card shows in a Snapshot. An error leaves the card unusable.
	Met func(context.Context, token.Identity, []token.Key) error
	// Inserted is called after Met when a person put the card in: the reader
	// was seen empty for a while before. A card that was there when the service
	// or pcscd started, or a reader was plugged in, was not. nil = nobody asks.
	Inserted func(context.Context, token.CardID) error
}

// emptyTime is how long a reader must have been watched before a card that
// comes counts as inserted: right after a start pcscd shows readers empty whose
// card it has not powered yet.
const emptyTime = 3 * time.Second

// Card is a card that is inserted and known.
type Card struct {
	token.Identity
	Reader  string
	Profile token.Profile
	Keys    []token.Key
	OnCard  token.Tries // PIN tries, as the card said when it was last asked
}

// Reader is one reader at one moment.
type Reader struct {
	Name    string
	Present bool // a card is inserted, known or not
	Virtual bool
	Card    *Card        // nil: none, or not known
	Problem *token.Error // why the card inside is not usable, or nil
	Busy    bool         // the card inside is being looked at
	// Trouble is why the newest use of Card failed for its own or the reader's
	// sake; nil after one that did not.
	Trouble *token.Error
}

// healthy is a System whose service may be away, such as pcscd.
type healthy interface {
	// Health returns why the service cannot be reached, or nil, and a channel
	// that is closed when that changes.
	Health() (changed <-chan struct{}, err error)
}

// Owner owns all readers. It is safe for concurrent use.
type Owner struct {
	cfg Config

	// patience ends a while after Run was told to stop: a card that has not
	// answered by then is given up.
	patience context.Context //nolint:containedctx // the life of this Owner
	giveUp   context.CancelFunc

	mu      sync.Mutex // guards the fields that follow
	readers map[string]*reader
	seen    map[string]Reader
	claims  map[string]token.CardID // who the card in a reader says that it is
	changes uint64                  // so far
	changed chan struct{}           // closed at the next change
	started bool                    // the readers were looked at once
	awake   chan struct{}           // closed when the PC wakes; nil while it does not sleep
	closed  bool
}

// New returns an Owner; it works once Run does.
func New(cfg Config) *Owner {
	if cfg.Uptime == nil {
		began := time.Now()
		cfg.Uptime = func() time.Duration { return time.Since(began) }
	}
	o := &Owner{
		cfg: cfg, readers: map[string]*reader{}, seen: map[string]Reader{},
		claims:  map[string]token.CardID{},
		changed: make(chan struct{}),
	}
	o.patience, o.giveUp = context.WithCancel(context.Background())
	return o
}

// GiveUp ends the patience with cards that do not answer: commands under way
// end without a verdict.
func (o *Owner) GiveUp() { o.giveUp() }

// stopTime is how long cards that are in use may take when the Owner stops.
const stopTime = 3 * time.Second

// Run watches the readers until ctx ends, then lets all cards go and returns
// nil. Work that is under way is finished first.
func (o *Owner) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer o.giveUp()
	defer wg.Wait()
	defer o.close()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopTime, o.giveUp) })()
	if h, ok := o.cfg.System.(healthy); ok {
		wg.Go(func() { o.watchHealth(ctx, h) })
	}
	var known []pcsc.ReaderState
	for {
		states, err := o.cfg.System.Wait(ctx, known)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watching readers: %w", err)
		}
		known = states
		if known == nil {
			known = []pcsc.ReaderState{}
		}
		o.apply(ctx, &wg, states)
	}
}

// watchHealth tells watchers when the service comes and goes.
func (o *Owner) watchHealth(ctx context.Context, h healthy) {
	for {
		changed, _ := h.Health()
		select {
		case <-changed:
			o.mu.Lock()
			o.notifyLocked()
			o.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// Service returns why readers cannot be reached at all, or nil.
func (o *Owner) Service() *token.Error {
	o.mu.Lock()
	started := o.started
	o.mu.Unlock()
	if !started {
		return token.NewError(token.KindPCSCUnavailable) // it has not answered yet
	}
	h, ok := o.cfg.System.(healthy)
	if !ok {
		return nil
	}
	_, err := h.Health()
	if err == nil {
		return nil
	}
	return o.fault(err)
}

// apply starts an owner for each new reader, tells the others what changed,
// and ends those of readers that are gone.
func (o *Owner) apply(ctx context.Context, wg *sync.WaitGroup, states []pcsc.ReaderState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, r := range o.readers {
		if !slices.ContainsFunc(states, func(s pcsc.ReaderState) bool { return s.Name == name }) {
			r.stop()
			delete(o.readers, name)
			delete(o.seen, name)
			delete(o.claims, name)
		}
	}
	for _, s := range states {
		r, ok := o.readers[s.Name]
		if !ok {
			r = newReader(o, s.Name)
			o.readers[s.Name] = r
			o.seen[s.Name] = Reader{Name: s.Name, Virtual: s.Virtual, Present: s.Present}
			own, stop := context.WithCancel(ctx)
			r.stop = stop
			wg.Go(func() { r.run(own) })
		}
		if !ok || s.Present != r.told.Present || s.Insertion != r.told.Insertion {
			seen := o.seen[s.Name]
			seen.Busy = true
			o.seen[s.Name] = seen
			delete(o.claims, s.Name) // its own goroutine may be slow to hear of it
		}
		r.tell(s)
	}
	o.started = true
	o.notifyLocked()
}

// Settle waits until no card is being looked at, so that a program which asks
// right after a start or an insertion finds what is there. It gives up with
// ctx.
func (o *Owner) Settle(ctx context.Context) {
	for {
		o.mu.Lock()
		settled, changed := o.started, o.changed
		for _, r := range o.seen {
			settled = settled && !r.Busy
		}
		o.mu.Unlock()
		if settled {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (o *Owner) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}

// Readers returns all readers, by name.
func (o *Owner) Readers() []Reader {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]Reader, 0, len(o.seen))
	for _, r := range o.seen {
		all = append(all, o.claimedLocked(r))
	}
	slices.SortFunc(all, func(a, b Reader) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

// Changed returns the number of changes so far of what Readers returns, and a
// channel that is closed at the next one.
func (o *Owner) Changed() (uint64, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changes, o.changed
}

// publish makes the state of a reader known.
func (o *Owner) publish(from *reader, r Reader) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.readers[r.Name] != from {
		return // the reader is gone already, or there is a new one of this name
	}
	o.seen[r.Name] = r
	o.notifyLocked()
}

func (o *Owner) notifyLocked() {
	o.changes++
	close(o.changed)
	o.changed = make(chan struct{})
}

// Card returns the card with this identity, if it is inserted, and only once.
func (o *Owner) Card(id token.CardID) (Card, error) {
	for _, r := range o.Readers() {
		if r.Card != nil && r.Card.Identity.Card == id {
			if r.Problem != nil {
				return Card{}, r.Problem
			}
			return *r.Card, nil
		}
	}
	return Card{}, token.NewError(token.KindCardNotFound, "card", string(id))
}

// Lease is a card during one use: reset, identified, not proved to.
type Lease struct {
	token.Token
	OnCard token.Tries // PIN tries, as the card says now; unknown if it must not be asked
	// Learn tells the owner what the use case heard of the PIN tries.
	Learn func(token.Tries)
}

// Use lets f talk to a card. The card was reset and is the one asked for; it
// is reset before Use returns, whatever f did. When ctx ends before f begins,
// f is not called; once begun it is never interrupted, but it gets no command
// through to the card any more when another card claims the same identity.
//
// Errors are [*token.Error] of kind KindCardNotFound, KindCardDuplicate,
// KindCardChanged, KindCardRemoved, KindCallEnded, KindReaderFault, KindShuttingDown or f's own.
func (o *Owner) Use(ctx context.Context, id token.CardID, f func(context.Context, Lease) error) error {
	card, err := o.Card(id)
	if err != nil {
		return err
	}
	o.mu.Lock()
	r, ok := o.readers[card.Reader]
	closed := o.closed
	o.mu.Unlock()
	if closed {
		return token.NewError(token.KindShuttingDown)
	}
	if !ok {
		return token.NewError(token.KindCardNotFound, "card", string(id))
	}
	return r.use(ctx, id, f)
}
