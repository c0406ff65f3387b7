package pcscdtest_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// TestAPINNeverReachesTheCardThatWasSwappedIn puts another card in the place of
// the one that is asked to sign: at each command of a signature, before the
// card has it and after it acted, and between two signatures.
func TestAPINNeverReachesTheCardThatWasSwappedIn(t *testing.T) {
	b := newBench(t, "Before", "After", "Between")
	for name, acts := range map[string]bool{"Before": false, "After": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSwap(t, b, name)
			for i, command := range commands {
				s.b.awaitCard(full(s.key.GetCardId()))
				struck := s.reader.Arrange(pcsctest.Fault{Skip: i, Acts: acts, Insert: s.out.card})
				err := s.refused(command, i >= verifyCommand)
				happened(t, command, struck)
				if i == verifyCommand && !errors.Is(err, client.ErrPINNoVerdict) {
					t.Errorf("%s: %v, want PIN_NO_VERDICT", command, err)
				}
				s.usable(command)
			}
		})
	}
	t.Run("Between", func(t *testing.T) {
		t.Parallel()
		s := newSwap(t, b, "Between")
		for i, moment := range []string{"while it is held", "when it was let go", "while it is held, again", "when it was let go, again"} {
			if i%2 == 1 {
				s.b.awaitCard(full(s.key.GetCardId())) // which inkand asks for before it lets go
			}
			s.reader.Replace(s.out.card)
			_ = s.refused("unnoticed "+moment, false)
			s.usable("unnoticed " + moment)
		}
		s.reader.Remove()
		s.reader.Insert(s.out.card)
		_ = s.refused("noticed", false)
		s.usable("noticed")
	})
}

// swap is a reader in which one card takes the place of another.
type swap struct {
	b       *bench
	t       *testing.T
	reader  *pcsctest.Reader
	signer  *client.Client
	in, out side
	key     *inkanpb.Key // of the card that is in
}

// side is a card, and what was asked of it.
type side struct {
	card
	debits int // tries that the journal must have spent by now
}

// newSwap signs with both cards, so that inkand knows either.
func newSwap(t *testing.T, b *bench, reader string) *swap {
	t.Helper()
	s := &swap{
		b: b, t: t, reader: b.pcscd.Reader(reader), signer: b.Client(rightPIN),
		in: side{card: newCard(t, nil)}, out: side{card: newCard(t, nil)},
	}
	s.reader.Insert(s.in.card)
	s.usable("at first")
	return s
}

// refused signs with the key of the card that was in while the other one takes
// its place. spent says that the PIN is debited by then.
func (s *swap) refused(name string, spent bool) error {
	s.t.Helper()
	before := s.out.truth(s.t)
	sig, err := sign(s.t.Context(), s.signer, s.key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
	known := errors.Is(err, client.ErrKeyNotFound) // inkand has seen the swap already
	if !lost(err) && !known || len(sig.Bytes) > 0 {
		s.t.Errorf("%s: Sign gave %d bytes, error %v", name, len(sig.Bytes), err)
	}
	after := s.out.truth(s.t)
	if after.Verifies != before.Verifies || len(after.Signatures) != len(before.Signatures) {
		s.t.Errorf("%s: the other card saw %d VERIFYs and signed %d times", name,
			after.Verifies-before.Verifies, len(after.Signatures)-len(before.Signatures))
	}
	if spent {
		s.in.debits++
	}
	s.in, s.out = s.out, s.in
	return err
}

// usable waits until inkand knows the card that is in now, and signs with it.
func (s *swap) usable(name string) {
	s.t.Helper()
	id := s.in.id()
	s.b.awaitCard(func(st *inkanpb.Status) *inkanpb.CardStatus {
		if c := in(s.reader)(st); c.GetId() == id {
			return c
		}
		return nil
	})
	s.key = s.b.key(id, "9a")
	sig, err := sign(s.t.Context(), s.signer, s.key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
	if err != nil {
		s.t.Fatalf("%s: Sign with the card that is in now: %v", name, err)
	}
	s.in.debits++
	if !verifies(s.t, s.key, sig.Bytes) {
		s.t.Errorf("%s: the signature is not one of the card that is in now", name)
	}
	for _, c := range []side{s.in, s.out} {
		debits, truth := s.b.debitsOf(c.id()), c.truth(s.t)
		if debits != c.debits || truth.Verifies > debits {
			s.t.Errorf("%s: card %s: %d tries were recorded, want %d; it saw %d VERIFYs", name, c.id(), debits, c.debits, truth.Verifies)
		}
	}
}

// id is the card identity that inkand gives this card.
func (c card) id() string { return fmt.Sprintf("piv-%x", c.GUID()) }

// verifies checks a signature of "document" with a key on P-256.
func verifies(t *testing.T, key *inkanpb.Key, signature []byte) bool {
	t.Helper()
	public, err := x509.ParsePKIXPublicKey(key.GetPublicKey())
	if err != nil {
		t.Fatal(err)
	}
	curve, ok := public.(*ecdsa.PublicKey)
	if !ok {
		t.Fatalf("the key is a %T", public)
	}
	digest := sha256.Sum256([]byte("document"))
	return ecdsa.VerifyASN1(curve, digest[:], signature)
}
