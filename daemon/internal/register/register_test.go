package register_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/daemon/internal/register/registertest"
	"github.com/inkan-project/inkan/token"
)

const cardID token.CardID = "piv-00112233445566778899aabbccddeeff"

var identity = token.Identity{Card: cardID, Serial: "0011", Application: "PIV", Virtual: true}

func TestMemoryIsAStorage(t *testing.T) {
	registertest.TestStorage(t, func(*testing.T) register.Storage { return &registertest.Memory{} })
}

// shelf is a register in memory with a clock that tests move.
type shelf struct {
	*register.Register
	memory *registertest.Memory
	now    time.Time
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{memory: &registertest.Memory{}, now: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)}
	r, err := register.Open(register.Config{Storage: s.memory, Now: func() time.Time { return s.now }})
	if err != nil {
		t.Fatal(err)
	}
	s.Register = r
	return s
}

func (s *shelf) see(t *testing.T, keys ...token.Key) {
	t.Helper()
	if err := s.Seen(t.Context(), identity, keys); err != nil {
		t.Fatalf("Seen() = %v", err)
	}
}

func (s *shelf) card(t *testing.T) register.Card {
	t.Helper()
	cards, err := s.Cards(t.Context())
	if err != nil || len(cards) != 1 {
		t.Fatalf("Cards() = %v, %v, want one card", cards, err)
	}
	return cards[0]
}

func newKey(t *testing.T, slot, company string) (token.Key, crypto.Signer) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var der []byte
	if company != "" {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{company}},
			NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		}
		if der, err = x509.CreateCertificate(rand.Reader, template, template, private.Public(), private); err != nil {
			t.Fatal(err)
		}
	}
	key, err := token.NewKey(cardID, slot, "署名用", private.Public(), der, token.PINAlways)
	if err != nil {
		t.Fatal(err)
	}
	return key, private
}

func TestInsertingACardAgainCostsNoWrite(t *testing.T) {
	s := newShelf(t)
	key, _ := newKey(t, "9c", "株式会社サンプル")
	first := s.now
	s.see(t, key)
	for range 20 {
		s.now = s.now.Add(time.Hour)
		s.see(t, key)
	}
	if got := s.memory.Saves(); got != 1 {
		t.Errorf("20 insertions in a day made %d writes, want 1", got)
	}
	s.now = first.Add(24 * time.Hour)
	s.see(t, key)
	if got := s.memory.Saves(); got != 2 {
		t.Errorf("an insertion a day later made %d writes in all, want 2", got)
	}
	want := register.Card{
		ID: cardID, Serial: "0011", Application: "PIV", Virtual: true, FirstSeen: first, LastSeen: s.now,
		Company: "株式会社サンプル",
		Keys: []register.Key{{
			ID: key.ID, Slot: "9c", Label: "署名用", SPKI: key.SPKI,
			Certificate: key.Certificate, PINPolicy: token.PINAlways,
		}},
	}
	if diff := cmp.Diff(want, s.card(t)); diff != "" {
		t.Errorf("Cards() differs (-want +got):\n%s", diff)
	}
}

func TestWhatIsNewIsWritten(t *testing.T) {
	base, _ := newKey(t, "9c", "")
	other, _ := newKey(t, "9a", "株式会社サンプル")
	for name, change := range map[string]func(*shelf) (token.Identity, []token.Key){
		"another key": func(*shelf) (token.Identity, []token.Key) { return identity, []token.Key{base, other} },
		"a certificate": func(*shelf) (token.Identity, []token.Key) {
			k := base
			k.Certificate = other.Certificate
			return identity, []token.Key{k}
		},
		"a label": func(*shelf) (token.Identity, []token.Key) {
			k := base
			k.Label = "電子入札用"
			return identity, []token.Key{k}
		},
		"an identity that is no longer virtual": func(*shelf) (token.Identity, []token.Key) {
			i := identity
			i.Virtual = false
			return i, []token.Key{base}
		},
		"a clock set back by a year": func(s *shelf) (token.Identity, []token.Key) {
			s.now = s.now.AddDate(-1, 0, 0)
			return identity, []token.Key{base}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			s.see(t, base)
			i, keys := change(s)
			if err := s.Seen(t.Context(), i, keys); err != nil || s.memory.Saves() != 2 {
				t.Errorf("Seen() = %v with %d writes in all, want nil with 2", err, s.memory.Saves())
			}
		})
	}
}

func TestNothingIsForgotten(t *testing.T) {
	s := newShelf(t)
	old, _ := newKey(t, "9c", "株式会社サンプル")
	next, _ := newKey(t, "9c", "")
	s.see(t, old)
	s.see(t, next) // the card got a new key and certificate
	s.see(t)       // and then could not be read
	if got := s.card(t); len(got.Keys) != 2 || got.Company != "株式会社サンプル" {
		t.Errorf("card has %d keys and company %q, want both keys and the company", len(got.Keys), got.Company)
	}
	if _, found, err := s.Key(t.Context(), old.ID); !found || err != nil {
		t.Errorf("Key() of the replaced key = found %v, %v, want true, nil", found, err)
	}
}

func TestTheRegisteredPublicKeyChecksSignatures(t *testing.T) {
	s := newShelf(t)
	key, private := newKey(t, "9c", "")
	s.see(t, key)
	got, found, err := s.Key(t.Context(), key.ID)
	if diff := cmp.Diff(key, got); diff != "" || !found || err != nil {
		t.Fatalf("Key() differs (-want +got), found %v, error %v:\n%s", found, err, diff)
	}
	digest := make([]byte, 32)
	signature, err := private.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := token.CheckSignature(got.Public, token.ECDSASHA256, digest, signature); err != nil {
		t.Errorf("CheckSignature() with the registered key = %v, want nil", err)
	}
	if _, found, err := s.Key(t.Context(), "piv-ff.00"); found || err != nil {
		t.Errorf("Key() of an unknown key = found %v, %v, want false, nil", found, err)
	}
}

func TestAKeyThatIsNotItsIdentityIsRefused(t *testing.T) {
	good, _ := newKey(t, "9c", "")
	other, _ := newKey(t, "9c", "")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := token.NewKey("piv-ff", "9c", "", rsaKey.Public(), nil, token.PINAlways)
	if err != nil {
		t.Fatal(err)
	}
	swapped, unnamed := good, good
	swapped.SPKI = other.SPKI
	unnamed.ID = ""
	for name, key := range map[string]token.Key{
		"another public key": swapped, "a key of another card": elsewhere, "no identity": unnamed,
	} {
		s := newShelf(t)
		err := s.Seen(t.Context(), identity, []token.Key{good, key})
		if token.KindOf(err) != token.KindInternal || s.memory.Saves() != 0 {
			t.Errorf("Seen() with %s = %v with %d writes, want INTERNAL with none", name, err, s.memory.Saves())
		}
	}
}

func TestAStoredKeyThatIsNotItsIdentityIsDamage(t *testing.T) {
	good, _ := newKey(t, "9c", "")
	other, _ := newKey(t, "9c", "")
	garbage := []byte{0x30, 0}
	for name, key := range map[string]register.Key{
		"another public key": {ID: good.ID, SPKI: other.SPKI},
		"no public key":      {ID: token.NewKeyID(cardID, garbage), SPKI: garbage},
	} {
		s := newShelf(t)
		if err := s.memory.Save(t.Context(), register.Card{ID: cardID, Keys: []register.Key{key}}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Key(t.Context(), key.ID); token.KindOf(err) != token.KindDatabaseDamaged {
			t.Errorf("Key() with %s stored = %v, want DATABASE_DAMAGED", name, err)
		}
	}
}

func TestErrorsOfTheStorageArePassedOn(t *testing.T) {
	s, broken := newShelf(t), errors.New("disk on fire")
	s.memory.Fail(broken)
	_, err1 := s.Cards(t.Context())
	_, _, err2 := s.Key(t.Context(), "piv-1.00")
	for what, err := range map[string]error{"Cards": err1, "Key": err2, "Seen": s.Seen(t.Context(), identity, nil)} {
		if !errors.Is(err, broken) {
			t.Errorf("%s() = %v, want %v", what, err, broken)
		}
	}
}
