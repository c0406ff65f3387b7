// Package broker holds the use cases: one method for each thing that a caller
// may ask of a card.
//
// It guarantees the order that everything else stands on: the person is asked
// first and no card is held meanwhile; then, in one use of the card, it is
// identified, the try and the intent are made durable, the PIN is sent once,
// the card signs, the signature is checked, the verdict and the result are made
// durable, the card is reset, and only then anything is released. A caller must
// hand in who asks, as the kernel says, and has authorised it already.
package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/certstatus"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/daemon/internal/requests"
	"github.com/inkan-project/inkan/token"
)

// Cards is where cards are.
type Cards interface {
	Readers() []cardowner.Reader
	Card(token.CardID) (cardowner.Card, error)
	Use(context.Context, token.CardID, func(context.Context, cardowner.Lease) error) error
	Changed() (uint64, <-chan struct{})
	// Service returns why readers cannot be reached at all, or nil.
	Service() *token.Error
	// Settle waits until no card is being looked at, or ctx ends.
	Settle(ctx context.Context)
}

// Prompter asks people for secrets.
type Prompter interface {
	Ask(context.Context, prompt.Request) (prompt.Answer, error)
}

// Register is what was seen so far.
type Register interface {
	// Key returns the key that was registered under a key identity: the public
	// key that signatures are checked against.
	Key(context.Context, token.KeyID) (token.Key, bool, error)
	// Cards returns every card ever seen, in the order first seen.
	Cards(context.Context) ([]register.Card, error)
}

// Config is what a Broker needs.
type Config struct {
	Cards    Cards
	Prompter Prompter
	Register Register
	Wrong    Secrets
	Guard    *pinguard.Guard
	Log      *audit.Log
	Now      func() time.Time
	Logger   *slog.Logger
	// PromptTimeout is how long a person has to enter a PIN.
	PromptTimeout time.Duration
	// ProgramPINs lets programs give PINs, but never for the last three tries.
	ProgramPINs bool
	// Virtual lifts the limits on who may spend which try: every PIN here is
	// known to everybody.
	Virtual bool
}

// Broker does the use cases. It is safe for concurrent use.
type Broker struct {
	cfg      Config
	ledger   ledger
	certs    certstatus.Shelf
	stops    *stops
	turns    *turns
	requests *requests.Book
	first    sync.Once         // the cards of the start were waited for
	found    pinguard.Recovery // at the start; set by Recover

	mu      sync.Mutex // guards the fields that follow
	changes uint64
	changed chan struct{}
}

// New returns a Broker.
func New(cfg Config) *Broker {
	return &Broker{
		cfg:      cfg,
		ledger:   ledger{guard: cfg.Guard, log: cfg.Log},
		stops:    newStops(),
		turns:    newTurns(),
		requests: requests.New(),
		changed:  make(chan struct{}),
	}
}

// Caller is who asks.
type Caller struct {
	UID     uint32
	PID     int32
	Program string       // executable, "" = not readable
	Agent   string       // PIN agent that the call names, or ""
	Request RequestID    // what the caller calls what it asks for
	Alive   func() error // nil while the process that connected still runs
	// AfterSend has something called once the answer to this call has left, or
	// cannot leave any more; nil: it leaves at once.
	AfterSend func(func())
}

func (c Caller) afterSend(f func()) {
	if c.AfterSend == nil {
		f()
		return
	}
	c.AfterSend(f)
}

// check returns KindCallerGone unless the caller still runs.
func (c Caller) check() error {
	if err := c.Alive(); err != nil {
		return token.NewError(token.KindCallerGone).Because(err)
	}
	return nil
}

// settleTime is how long a request waits for cards that are being looked at.
const settleTime = 5 * time.Second

// settleOnce waits for the cards that were there at the start. Later a look
// waits for nothing: a reader that hangs must not delay the others.
func (b *Broker) settleOnce(ctx context.Context) {
	b.first.Do(func() { b.settle(ctx) })
}

// settle lets a request that comes right after a start or an insertion find
// what is there.
func (b *Broker) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	b.cfg.Cards.Settle(ctx)
}

// Key returns a key of a card that is inserted and can be used, and that card.
func (b *Broker) Key(ctx context.Context, id token.KeyID) (token.Key, cardowner.Card, error) {
	key, card, err := b.keyNow(id)
	if err != nil {
		b.settle(ctx)
		key, card, err = b.keyNow(id)
	}
	return key, card, err
}

func (b *Broker) keyNow(id token.KeyID) (token.Key, cardowner.Card, error) {
	for _, r := range b.cfg.Cards.Readers() {
		if r.Card == nil {
			continue
		}
		for _, k := range r.Card.Keys {
			if k.ID == id {
				if r.Problem != nil {
					return token.Key{}, cardowner.Card{}, r.Problem
				}
				return k, *r.Card, nil
			}
		}
	}
	return token.Key{}, cardowner.Card{}, token.NewError(token.KindKeyNotFound, "key", string(id))
}

// Certificate returns what a key's certificate says and its state now. A key
// without one, or one that cannot be read, has state 0.
func (b *Broker) Certificate(key token.Key) (certstatus.Facts, token.CertificateState) {
	facts, err := b.certs.Read(key.Certificate)
	if err != nil {
		return certstatus.Facts{}, 0
	}
	return facts, facts.ByDates(b.cfg.Now())
}

// touch tells watchers that something changed that cards do not show.
func (b *Broker) touch() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes++
	close(b.changed)
	b.changed = make(chan struct{})
}
