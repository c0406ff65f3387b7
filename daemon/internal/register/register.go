// Package register is the list of cards that were seen, with their keys, kept
// after a card is taken out.
//
// It guarantees that nothing is ever deleted, and that a key identity stands
// for one public key only: the one whose hash it carries. Signatures are
// checked against the public key that [Register.Key] returns, so a card that
// changes its key is noticed.
//
// A caller reports each card it has identified with [Register.Seen].
package register

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/inkan-project/inkan/token"
)

// Card is a card as it was last seen. Absent values are zero.
type Card struct {
	ID          token.CardID
	Serial      string // as people read it
	Application string // "PIV", …
	Virtual     bool   // known to be a virtual card
	Token       string // what a PKCS#11 module calls it: manufacturer, model, serial; "" = none was asked
	FirstSeen   time.Time
	LastSeen    time.Time // to within a day: see [Register.Seen]
	Company     string    // organization in the newest certificate that names one
	Keys        []Key     // every key ever seen on it, by slot, then identity
}

// Key is a key of a card.
type Key struct {
	ID          token.KeyID
	Slot        string
	Label       string
	SPKI        []byte // DER of the public key
	Certificate []byte // DER, or nil
	PINPolicy   token.PINPolicy
}

// Storage keeps cards. Every method returns an error rather than a card of
// which it cannot be sure.
type Storage interface {
	// Card returns one card with its keys, and whether there is one.
	Card(ctx context.Context, id token.CardID) (Card, bool, error)

	// Cards returns all cards with their keys, in the order first seen.
	Cards(ctx context.Context) ([]Card, error)

	// Key returns one key, and whether there is one.
	Key(ctx context.Context, id token.KeyID) (Key, bool, error)

	// Save makes a card and its keys durable, all or nothing. Keys that are
	// there but not in the card stay as they are.
	Save(ctx context.Context, card Card) error
}

// Config is what a [Register] needs. Both fields are required.
type Config struct {
	Storage Storage
	Now     func() time.Time // wall clock
}

// Register is safe for concurrent use; no other writer may use the storage.
type Register struct {
	storage Storage
	now     func() time.Time
	mu      sync.Mutex // held from reading a card to saving it

	keysMu sync.Mutex                // guards what follows
	keys   map[token.KeyID]token.Key // those read since they were last saved
	tokens map[string]token.CardID   // cards by Token; nil = not read since they were last saved
}

// Open returns the register in a storage.
func Open(c Config) (*Register, error) {
	if c.Storage == nil || c.Now == nil {
		return nil, errors.New("register needs a storage and a clock")
	}
	return &Register{storage: c.Storage, now: c.Now, keys: map[token.KeyID]token.Key{}}, nil
}

// lastSeenStep is how old LastSeen may be before it is worth a write.
const lastSeenStep = 24 * time.Hour

// Seen notes that a card was identified and which keys it has. It writes only
// if that is news, or if LastSeen is a day old, so that inserting a card again
// costs no write.
//
// It returns a [*token.Error] of kind INTERNAL, and notes nothing, for a key
// that is not of this card or whose identity does not fit its public key;
// otherwise the storage's error.
func (r *Register) Seen(ctx context.Context, identity token.Identity, keys []token.Key) error {
	if identity.Card == "" {
		return token.Errorf(token.KindInternal, "card without an identity")
	}
	for _, key := range keys {
		if key.Card != identity.Card || token.NewKeyID(identity.Card, key.SPKI) != key.ID {
			return token.Errorf(token.KindInternal, "key %s is not the key in slot %s of card %s",
				key.ID, key.Slot, identity.Card)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	have, found, err := r.storage.Card(ctx, identity.Card)
	if err != nil {
		return fmt.Errorf("reading card %s from the register: %w", identity.Card, err)
	}
	next := have.seen(identity, keys, r.now().UTC().Round(0))
	if found && !next.news(have) {
		return nil
	}
	if err := r.storage.Save(ctx, next); err != nil {
		return fmt.Errorf("saving card %s in the register: %w", identity.Card, err)
	}
	r.keysMu.Lock()
	defer r.keysMu.Unlock()
	clear(r.keys)
	r.tokens = nil
	return nil
}

// Bound returns the card that was seen as this token of a PKCS#11 module, or ""
// if none was: both ways to a card share one identity.
func (r *Register) Bound(ctx context.Context, ref string) (token.CardID, error) {
	r.keysMu.Lock()
	defer r.keysMu.Unlock()
	if r.tokens == nil {
		cards, err := r.storage.Cards(ctx)
		if err != nil {
			return "", fmt.Errorf("reading the register: %w", err)
		}
		r.tokens = map[string]token.CardID{}
		for _, c := range cards {
			if _, taken := r.tokens[c.Token]; !taken && c.Token != "" {
				r.tokens[c.Token] = c.ID
			}
		}
	}
	return r.tokens[ref], nil
}

// Key returns a registered key with its public key, and whether there is one.
// A stored public key that does not fit the key identity is a [*token.Error]
// of kind DATABASE_DAMAGED. A key is read and checked once: every signature
// asks for it.
func (r *Register) Key(ctx context.Context, id token.KeyID) (token.Key, bool, error) {
	r.keysMu.Lock()
	defer r.keysMu.Unlock()
	if key, ok := r.keys[id]; ok {
		return key, true, nil
	}
	key, found, err := r.read(ctx, id)
	if found && err == nil {
		r.keys[id] = key
	}
	return key, found, err
}

// read reads a key from the storage and checks it.
func (r *Register) read(ctx context.Context, id token.KeyID) (token.Key, bool, error) {
	key, found, err := r.storage.Key(ctx, id)
	if err != nil {
		return token.Key{}, false, fmt.Errorf("reading key %s from the register: %w", id, err)
	}
	if !found {
		return token.Key{}, false, nil
	}
	if key.ID != id || token.NewKeyID(id.Card(), key.SPKI) != id {
		return token.Key{}, false, damaged(id, "its public key is another one")
	}
	public, err := x509.ParsePKIXPublicKey(key.SPKI)
	if err != nil {
		return token.Key{}, false, damaged(id, "its public key cannot be read").Because(err)
	}
	return token.Key{
		ID: id, Card: id.Card(), Slot: key.Slot, Label: key.Label, Public: public,
		SPKI: key.SPKI, Certificate: key.Certificate, PINPolicy: key.PINPolicy,
	}, true, nil
}

// Cards returns every card ever seen, in the order first seen.
func (r *Register) Cards(ctx context.Context) ([]Card, error) {
	cards, err := r.storage.Cards(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the register: %w", err)
	}
	for i := range cards {
		cards[i].sort()
	}
	return cards, nil
}

func damaged(id token.KeyID, what string) *token.Error {
	return token.Errorf(token.KindDatabaseDamaged, "key %s in the register: %s", id, what)
}
