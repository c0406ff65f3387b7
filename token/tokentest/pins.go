package tokentest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/inkan-project/inkan/token"
)

func checkWrongPIN(t *testing.T, s *session) {
	tok, identity := s.begin()
	before, _ := s.readTries(tok)
	s.wantTries("tries of a fresh card", before, s.Limit)
	sent := s.Commands()
	verdict := s.verify(tok, identity.Card, s.WrongPIN, token.VerdictWrong)
	if n := s.Commands() - sent; n != 1 {
		t.Errorf("one wrong PIN took %d commands, want 1", n)
	}
	s.wantTries("tries told with the answer", verdict.Tries, s.Limit-1)
	after, verified := s.readTries(tok)
	s.wantTries("tries read after it", after, s.Limit-1)
	if verified {
		t.Error("the card takes a wrong PIN for proved")
	}
	tok, _ = s.begin()
	again, _ := s.readTries(tok)
	s.wantTries("tries after a reset", again, s.Limit-1)
}

func checkRightPINResets(_ *testing.T, s *session) {
	tok, identity := s.begin()
	for range s.Limit - 1 {
		s.verify(tok, identity.Card, s.WrongPIN, token.VerdictWrong)
	}
	s.verify(tok, identity.Card, s.PIN, token.VerdictOK)
	tok, _ = s.begin()
	tries, _ := s.readTries(tok)
	s.wantTries("tries after the right PIN", tries, s.Limit)
	// Whether they can be read or not: all but one can be spent again.
	for range s.Limit - 1 {
		s.verify(tok, identity.Card, s.WrongPIN, token.VerdictWrong)
	}
	s.verify(tok, identity.Card, s.PIN, token.VerdictOK)
}

func checkLimit(t *testing.T, s *session) {
	tok, identity := s.begin()
	for i := range s.Limit - 1 {
		verdict := s.verify(tok, identity.Card, s.WrongPIN, token.VerdictWrong)
		s.wantTries("tries told with the answer", verdict.Tries, s.Limit-1-i)
	}
	// The last one may be told as wrong, none left, or already as blocked.
	last, err := tok.Verify(t.Context(), PIN(t, s.WrongPIN), s.attempt(identity.Card))
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	if last.Kind != token.VerdictWrong && last.Kind != token.VerdictBlocked {
		t.Fatalf("the last wrong PIN gives %q (SW %04X), want wrong or blocked", last.Kind, last.SW)
	}
	if s.NeverLocks { // what locks it is the caller's own count
		if _, known := last.Tries.Count(); known || last.Kind != token.VerdictWrong {
			t.Errorf("a card without a counter gives %q and %v tries, want wrong and unknown", last.Kind, last.Tries)
		}
		s.verify(tok, identity.Card, s.PIN, token.VerdictOK)
		return
	}
	s.wantTries("tries told with the last answer", last.Tries, 0)
	for range 2 { // a reset unlocks nothing, nor does the right PIN
		s.verify(tok, identity.Card, s.PIN, token.VerdictBlocked)
		tries, verified := s.readTries(tok)
		s.wantTries("tries of the locked card", tries, 0)
		if verified {
			t.Error("the locked card takes the PIN for proved")
		}
		tok, _ = s.begin()
	}
}

func checkUnusableAttempt(t *testing.T, s *session) {
	tok, identity := s.begin()
	used := s.attempt(identity.Card)
	if err := used.Redeem(identity.Card, token.SecretPIN); err != nil {
		t.Fatalf("Redeem: %v", err)
	}
	for name, attempt := range map[string]*token.Attempt{
		"no attempt":                     nil,
		"a used attempt":                 used,
		"an attempt for another card":    token.NewAttempt(identity.Card+"0", token.SecretPIN, 1),
		"an attempt for no card":         token.NewAttempt("", token.SecretPIN, 1),
		"an attempt for the unlock code": token.NewAttempt(identity.Card, token.SecretUnlockCode, 1),
		"an attempt for nothing":         token.NewAttempt(identity.Card, 0, 1),
	} {
		s.silent(name, func() {
			verdict, err := tok.Verify(t.Context(), PIN(t, s.PIN), attempt)
			if !errors.Is(err, token.ErrAttempt) || verdict != (token.Verdict{}) {
				t.Errorf("Verify with %s gives %+v, %v, want %v", name, verdict, err, token.ErrAttempt)
			}
		})
	}
	// One that is good is good once.
	once := s.attempt(identity.Card)
	if verdict, err := tok.Verify(t.Context(), PIN(t, s.PIN), once); err != nil || verdict.Kind != token.VerdictOK {
		t.Fatalf("Verify with a good attempt gives %+v, %v", verdict, err)
	}
	s.silent("the same attempt again", func() {
		if _, err := tok.Verify(t.Context(), PIN(t, s.PIN), once); !errors.Is(err, token.ErrAttempt) {
			t.Errorf("Verify with the same attempt gives %v, want %v", err, token.ErrAttempt)
		}
	})
}

func checkMalformedPIN(t *testing.T, s *session) {
	tok, identity := s.begin()
	wiped := PIN(t, s.PIN)
	wiped.Wipe()
	for name, pin := range map[string]*token.PIN{
		"no PIN":        nil,
		"an empty PIN":  PIN(t, nil),
		"a wiped PIN":   wiped,
		"NULs":          PIN(t, make([]byte, len(s.PIN))),
		"the longest":   PIN(t, bytes.Repeat([]byte{0}, token.PINCapacity)),
		"full-width 12": PIN(t, []byte("12")),
	} {
		attempt := s.attempt(identity.Card)
		s.silent(name, func() {
			if verdict, err := tok.Verify(t.Context(), pin, attempt); err == nil {
				t.Errorf("Verify of %s gives %+v, want an error", name, verdict)
			}
		})
	}
	tries, _ := s.readTries(tok)
	s.wantTries("tries after malformed PINs", tries, s.Limit)
}

func checkNotIdentified(t *testing.T, s *session) {
	known, identity := s.begin()
	key := s.keys(known)[0]
	a := token.Algorithms(key.Public)[0]
	tok := s.Open()
	s.silent("a Token that has not identified its card", func() {
		attempt := s.attempt(identity.Card)
		if _, err := tok.Verify(t.Context(), PIN(t, s.PIN), attempt); err == nil {
			t.Error("Verify gives no error")
		}
		if err := attempt.Redeem(identity.Card, token.SecretPIN); err != nil {
			t.Errorf("the attempt was spent although nothing was sent: %v", err)
		}
		if _, err := tok.Verify(t.Context(), PIN(t, s.PIN), s.attempt("")); err == nil {
			t.Error("Verify with an attempt for no card gives no error")
		}
		if _, err := tok.Sign(t.Context(), key, a, digestFor(a)); err == nil {
			t.Error("Sign gives no error")
		}
		if keys, err := tok.Keys(t.Context()); err == nil {
			t.Errorf("Keys gives %d keys, want an error", len(keys))
		}
	})
}

func checkTriesAreFree(t *testing.T, s *session) {
	tok, identity := s.begin()
	s.verify(tok, identity.Card, s.WrongPIN, token.VerdictWrong)
	for range 3 * s.Limit {
		tries, verified := s.readTries(tok)
		s.wantTries("tries after one wrong PIN", tries, s.Limit-1)
		if verified {
			t.Fatal("the card takes the PIN for proved by asking")
		}
	}
	s.verify(tok, identity.Card, s.PIN, token.VerdictOK)
	_, verified := s.readTries(tok)
	if s.TriesReadable && !verified {
		t.Error("after the right PIN the card does not take it for proved")
	}
	for _, key := range s.ofPolicy(s.keys(tok), token.PINOnce) {
		if !s.signsWith(tok, key) {
			t.Errorf("%s does not sign any more after asking for the tries", key.Slot)
		}
	}
	s.silent("asking for the tries of nothing", func() {
		if tries, _, err := tok.Tries(t.Context(), 0); err != nil || tries != (token.Tries{}) {
			t.Errorf("Tries of no secret gives %v, %v, want unknown", tries, err)
		}
	})
}

func checkResetLogsOut(t *testing.T, s *session) {
	tok, identity := s.begin()
	keys := s.ofPolicy(s.keys(tok), token.PINOnce, token.PINAlways)
	for _, key := range keys {
		s.verify(tok, identity.Card, s.PIN, token.VerdictOK)
		tok, _ = s.begin()
		if _, verified := s.readTries(tok); verified {
			t.Error("after a reset the card still takes the PIN for proved")
		}
		if s.signs(tok, key) {
			t.Errorf("%s signs after a reset", key.Slot)
		}
	}
}
