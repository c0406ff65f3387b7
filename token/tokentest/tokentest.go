// Package tokentest is the conformance suite that every kind of [token.Token]
// passes.
//
// It guarantees nothing by itself: it shows that a Token keeps the promises
// that the PIN guard and the broker rely on, above all that no PIN is sent
// without an attempt, twice, or to another card. A caller gives it a fresh
// card for each check; the suite locks some of them, so never a real one.
package tokentest

import (
	"context"
	"slices"
	"testing"

	"github.com/inkan-project/inkan/token"
)

// Card is one fresh card with its PIN not yet tried, and what the suite must
// know of it.
type Card struct {
	// Open returns a new Token over the one connection to the card. The suite
	// uses one Token at a time.
	Open func() token.Token
	// Reset resets the card, as the owner of the connection does before and
	// after a transaction.
	Reset func(ctx context.Context) error
	// Commands returns how many commands have reached the card so far.
	Commands func() int
	// Lose has the next command get no answer: the card either gets it or not.
	Lose func(arrives bool)
	// PIN and WrongPIN are test PINs; both have the form of a PIN.
	PIN, WrongPIN []byte
	// NewPIN and LaterPIN are PINs that a card may be given; they differ from
	// each other and from PIN and WrongPIN.
	NewPIN, LaterPIN []byte
	// UnlockCode and WrongUnlockCode are test codes of the right form.
	UnlockCode, WrongUnlockCode []byte
	// UnlockLimit is to the unlock code what Limit is to the PIN.
	UnlockLimit int
	// Limit is the number of wrong tries in a row that lock the card; for one
	// that never locks, the number after which the suite believes it.
	Limit int
	// NeverLocks says that the card counts no tries at all.
	NeverLocks bool
	// TriesReadable says that Tries is free and gives a number.
	TriesReadable bool
	// Unguarded are the places of keys that sign without a PIN although the token
	// does not say so.
	Unguarded []string
	// Slots are the places of the keys, in the order of Keys.
	Slots []string
}

// Harness makes cards.
type Harness struct {
	// New makes a fresh card, given back with t.Cleanup.
	New func(t *testing.T) Card
}

// Run runs the suite, each check on a fresh card.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range []struct {
		name  string
		check func(t *testing.T, c *session)
	}{
		{"the identity is the same after each reset", checkIdentityIsStable},
		{"key identities are the same after each reset", checkKeysAreStable},
		{"every key signs with each of its algorithms", checkEveryAlgorithm},
		{"a key that wants the PIN does not sign without it", checkNoPINNoSignature},
		{"a key that always wants the PIN signs once for each", checkPINAlways},
		{"a request that does not fit the key sends nothing", checkUnfitRequest},
		{"a key of another card does not sign", checkForeignKey},
		{"a wrong PIN is wrong and takes one try", checkWrongPIN},
		{"the right PIN gives all tries back", checkRightPINResets},
		{"as many wrong PINs as the limit lock the card", checkLimit},
		{"an attempt that cannot be redeemed sends nothing", checkUnusableAttempt},
		{"a PIN that cannot be one sends nothing", checkMalformedPIN},
		{"nothing is sent before the card is identified", checkNotIdentified},
		{"asking for the tries changes nothing", checkTriesAreFree},
		{"a reset takes the login away", checkResetLogsOut},
		{"the right secret sets a new PIN", forBoth(checkRightChange)},
		{"a wrong secret sets no PIN and takes one try", forBoth(checkWrongChange)},
		{"wrong secrets use up their own tries", forBoth(checkDead)},
		{"when the answer to a new PIN is lost nothing is sent again", forBoth(checkLostChange)},
		{"what cannot become a PIN sends nothing", forBoth(checkRefusedChange)},
		{"an attempt sets a new PIN only with its own secret", forBoth(checkUnusableChange)},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t, &session{T: t, Card: h.New(t), fresh: h.New}) })
	}
}

// session is a card in the hands of one check.
type session struct {
	*testing.T
	Card
	attempts uint64
	fresh    func(t *testing.T) Card // makes another card
}

// begin resets the card and identifies it with a new Token.
func (s *session) begin() (token.Token, token.Identity) {
	s.Helper()
	if err := s.Reset(s.Context()); err != nil {
		s.Fatalf("Reset: %v", err)
	}
	tok := s.Open()
	identity, err := tok.Identify(s.Context())
	if err != nil {
		s.Fatalf("Identify: %v", err)
	}
	return tok, identity
}

func (s *session) keys(tok token.Token) []token.Key {
	s.Helper()
	keys, err := tok.Keys(s.Context())
	if err != nil {
		s.Fatalf("Keys: %v", err)
	}
	return keys
}

// attempt makes a permission as the PIN guard would; here no try is recorded.
func (s *session) attempt(card token.CardID) *token.Attempt {
	return s.attemptFor(card, token.SecretPIN)
}

func (s *session) attemptFor(card token.CardID, secret token.Secret) *token.Attempt {
	s.attempts++
	return token.NewAttempt(card, secret, s.attempts)
}

// verify sends a PIN with an attempt of its own and wants an answer of a kind.
func (s *session) verify(tok token.Token, card token.CardID, secret []byte, want token.VerdictKind) token.Verdict {
	s.Helper()
	verdict, err := tok.Verify(s.Context(), PIN(s, secret), s.attempt(card))
	if err != nil {
		s.Fatalf("Verify: %v", err)
	}
	if verdict.Kind != want {
		s.Fatalf("Verify gives %q (SW %04X, cause %v), want %q", verdict.Kind, verdict.SW, verdict.Cause, want)
	}
	return verdict
}

// wantTries compares tries with what they must be; unknown ones are in order
// only where they need not be readable.
func (s *session) wantTries(what string, got token.Tries, want int) {
	s.Helper()
	n, known := got.Count()
	if !known && !s.TriesReadable {
		return
	}
	if !known || n != want {
		s.Errorf("%s: %v, want %d", what, got, want)
	}
}

// readTries asks the card, where that is possible.
func (s *session) readTries(tok token.Token) (token.Tries, bool) {
	s.Helper()
	tries, verified, err := tok.Tries(s.Context(), token.SecretPIN)
	if err != nil {
		s.Fatalf("Tries: %v", err)
	}
	return tries, verified
}

// silent wants that no command reaches the card while f runs.
func (s *session) silent(what string, f func()) {
	s.Helper()
	before := s.Commands()
	f()
	if n := s.Commands() - before; n != 0 {
		s.Errorf("%s: %d commands reached the card, want none", what, n)
	}
}

// PIN puts a test PIN into ordinary memory, wiped at the end of the test.
func PIN(t testing.TB, secret []byte) *token.PIN {
	t.Helper()
	page := make([]byte, token.PINPageMin)
	copy(page[token.PINHeadroom:], secret)
	pin, err := token.NewPIN(page, len(secret), nil)
	if err != nil {
		t.Fatalf("making test PIN: %v", err)
	}
	t.Cleanup(pin.Wipe)
	return pin
}

func keyIDs(keys []token.Key) []token.KeyID {
	ids := make([]token.KeyID, 0, len(keys))
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids
}

func checkIdentityIsStable(t *testing.T, s *session) {
	_, first := s.begin()
	if first.Card == "" || first.Application == "" {
		t.Fatalf("identity %+v lacks card or application", first)
	}
	for range 3 {
		tok, again := s.begin()
		if again != first {
			t.Errorf("identity after a reset is %+v, was %+v", again, first)
		}
		if again, err := tok.Identify(t.Context()); err != nil || again != first {
			t.Errorf("identity asked twice is %+v, %v, was %+v", again, err, first)
		}
	}
}

func checkKeysAreStable(t *testing.T, s *session) {
	tok, identity := s.begin()
	first := s.keys(tok)
	slots := make([]string, 0, len(first))
	for _, k := range first {
		slots = append(slots, k.Slot)
		if k.Card != identity.Card || k.ID.Card() != identity.Card || k.ID != token.NewKeyID(identity.Card, k.SPKI) {
			t.Errorf("key in %s: identity %s does not follow from card %s and its public key", k.Slot, k.ID, identity.Card)
		}
		if k.Label == "" || k.PINPolicy == 0 || len(token.Algorithms(k.Public)) == 0 {
			t.Errorf("key in %s lacks label, PIN policy or algorithms: %q, %d", k.Slot, k.Label, k.PINPolicy)
		}
	}
	if !slices.Equal(slots, s.Slots) {
		t.Errorf("keys in %v, want %v", slots, s.Slots)
	}
	tok, _ = s.begin()
	if again := s.keys(tok); !slices.Equal(keyIDs(again), keyIDs(first)) {
		t.Errorf("key identities after a reset are %v, were %v", keyIDs(again), keyIDs(first))
	}
}
