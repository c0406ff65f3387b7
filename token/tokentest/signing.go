package tokentest

import (
	"slices"
	"testing"

	"github.com/inkan-project/inkan/token"
)

// digestFor returns some digest of the length that the algorithm wants.
func digestFor(a token.Algorithm) []byte {
	h := a.Hash.New()
	_, _ = h.Write([]byte("株式会社サンプル"))
	return h.Sum(nil)
}

// ofPolicy returns the keys with one of these policies, and skips the check if
// the card has none.
func (s *session) ofPolicy(keys []token.Key, policies ...token.PINPolicy) []token.Key {
	s.Helper()
	var found []token.Key
	for _, k := range keys {
		for _, p := range policies {
			if k.PINPolicy == p && !slices.Contains(s.Unguarded, k.Slot) {
				found = append(found, k)
			}
		}
	}
	if found == nil {
		s.Skip("the card has no such key")
	}
	return found
}

func checkEveryAlgorithm(t *testing.T, s *session) {
	tok, identity := s.begin()
	for _, key := range s.keys(tok) {
		for _, a := range token.Algorithms(key.Public) {
			tok, _ = s.begin()
			if key.PINPolicy != token.PINNever {
				s.verify(tok, identity.Card, s.PIN, token.VerdictOK)
			}
			if err := s.again(tok, key, a); err != nil {
				t.Errorf("%s with %v: beginning: %v", key.Slot, a, err)
				continue
			}
			signature, err := tok.Sign(t.Context(), key, a, digestFor(a))
			if err != nil {
				t.Errorf("%s with %v: %v", key.Slot, a, err)
				continue
			}
			if err := token.CheckSignature(key.Public, a, digestFor(a), signature); err != nil {
				t.Errorf("%s with %v: %v", key.Slot, a, err)
			}
		}
	}
}

// again gives the PIN once more where the key wants it for each signature and
// says so when it has begun.
func (s *session) again(tok token.Token, key token.Key, a token.Algorithm) error {
	s.Helper()
	b, ok := tok.(token.Beginner)
	if !ok {
		return nil
	}
	wanted, err := b.Begin(s.Context(), key, a, digestFor(a))
	if err != nil || !wanted {
		return err
	}
	sent := s.Commands()
	verdict, err := b.VerifyAgain(s.Context(), PIN(s, s.PIN), s.attempt(key.Card))
	if err != nil || verdict.Kind != token.VerdictOK {
		s.Errorf("%s: VerifyAgain gives %q (cause %v), %v", key.Slot, verdict.Kind, verdict.Cause, err)
	}
	if n := s.Commands() - sent; n != 1 {
		s.Errorf("%s: VerifyAgain took %d commands, want 1", key.Slot, n)
	}
	return nil
}

// signsWith is signs, with the PIN once more where the key wants it.
func (s *session) signsWith(tok token.Token, key token.Key) bool {
	s.Helper()
	if s.again(tok, key, token.Algorithms(key.Public)[0]) != nil {
		return false
	}
	return s.signs(tok, key)
}

// signs reports whether the key signs now. An error must be a [*token.Error]:
// people are told what it means.
func (s *session) signs(tok token.Token, key token.Key) bool {
	s.Helper()
	a := token.Algorithms(key.Public)[0]
	signature, err := tok.Sign(s.Context(), key, a, digestFor(a))
	if err != nil {
		if kind := token.KindOf(err); kind == token.KindInternal {
			s.Errorf("%s: error %v has no kind", key.Slot, err)
		}
		return false
	}
	if err := token.CheckSignature(key.Public, a, digestFor(a), signature); err != nil {
		s.Errorf("%s: %v", key.Slot, err)
	}
	return true
}

func checkNoPINNoSignature(t *testing.T, s *session) {
	tok, _ := s.begin()
	keys := s.keys(tok)
	for _, key := range s.ofPolicy(keys, token.PINOnce, token.PINAlways) {
		tok, identity := s.begin()
		if s.signs(tok, key) {
			t.Errorf("%s signed without a PIN", key.Slot)
		}
		s.verify(tok, identity.Card, s.WrongPIN, token.VerdictWrong)
		if s.signs(tok, key) {
			t.Errorf("%s signed after a wrong PIN", key.Slot)
		}
	}
}

func checkPINAlways(t *testing.T, s *session) {
	tok, identity := s.begin()
	for _, key := range s.ofPolicy(s.keys(tok), token.PINAlways) {
		tok, _ = s.begin()
		for range 2 {
			s.verify(tok, identity.Card, s.PIN, token.VerdictOK)
			if !s.signsWith(tok, key) {
				t.Errorf("%s did not sign after its PIN", key.Slot)
			}
			if s.signs(tok, key) {
				t.Errorf("%s signed twice after one PIN", key.Slot)
			}
		}
	}
}

func checkUnfitRequest(t *testing.T, s *session) {
	tok, _ := s.begin()
	for _, key := range s.keys(tok) {
		fits := token.Algorithms(key.Public)[0]
		other := token.ECDSASHA256
		if fits.Padding == token.PaddingECDSA {
			other = token.RSAPSSSHA256
		}
		s.silent(key.Slot, func() {
			if _, err := tok.Sign(t.Context(), key, other, digestFor(other)); token.KindOf(err) != token.KindAlgorithmMismatch {
				t.Errorf("%s with %v gives %v, want %s", key.Slot, other, err, token.KindAlgorithmMismatch)
			}
			if _, err := tok.Sign(t.Context(), key, fits, digestFor(fits)[1:]); token.KindOf(err) != token.KindDigestLength {
				t.Errorf("%s with a short digest gives %v, want %s", key.Slot, err, token.KindDigestLength)
			}
		})
	}
}

func checkForeignKey(t *testing.T, s *session) {
	tok, identity := s.begin()
	key := s.keys(tok)[0]
	key.Card += "0"
	s.verify(tok, identity.Card, s.PIN, token.VerdictOK)
	s.silent("a key of another card", func() {
		a := token.Algorithms(key.Public)[0]
		if _, err := tok.Sign(t.Context(), key, a, digestFor(a)); token.KindOf(err) != token.KindCardChanged {
			t.Errorf("Sign gives %v, want %s", err, token.KindCardChanged)
		}
	})
}
