package tokentest

import (
	"errors"
	"testing"

	"github.com/inkan-project/inkan/token"
)

// change is one of the two ways to a new PIN: what the checks have in common.
type change struct {
	name        string
	secret      token.Secret
	right       []byte // the secret that allows it
	wrong       []byte
	limit       int
	malformed   token.Kind // of a secret that cannot be one
	wrongSecret token.Secret
	send        func(tok token.Token, secret, next *token.PIN, attempt *token.Attempt) (token.Verdict, error)
}

func (s *session) changes() []change {
	return []change{
		{
			name: "ChangePIN", secret: token.SecretPIN, right: s.PIN, wrong: s.WrongPIN, limit: s.Limit,
			malformed: token.KindPINMalformed, wrongSecret: token.SecretUnlockCode,
			send: func(tok token.Token, secret, next *token.PIN, attempt *token.Attempt) (token.Verdict, error) {
				return tok.ChangePIN(s.Context(), secret, next, attempt)
			},
		},
		{
			name: "Unlock", secret: token.SecretUnlockCode, right: s.UnlockCode, wrong: s.WrongUnlockCode, limit: s.UnlockLimit,
			malformed: token.KindUnlockCodeMalformed, wrongSecret: token.SecretPIN,
			send: func(tok token.Token, secret, next *token.PIN, attempt *token.Attempt) (token.Verdict, error) {
				return tok.Unlock(s.Context(), secret, next, attempt)
			},
		},
	}
}

// forBoth runs a check for changing and for unlocking, each on a fresh card.
func forBoth(check func(t *testing.T, s *session, c change)) func(t *testing.T, s *session) {
	return func(t *testing.T, first *session) {
		for i, c := range first.changes() {
			t.Run(c.name, func(t *testing.T) {
				s := &session{T: t, Card: first.Card}
				if i > 0 {
					s.Card = first.fresh(t)
				}
				check(t, s, s.changes()[i])
			})
		}
	}
}

// try sends a secret and a new PIN with an attempt of its own and wants one
// command and an answer of a kind.
func (s *session) try(tok token.Token, card token.CardID, c change, secret, next []byte, want token.VerdictKind) token.Verdict {
	s.Helper()
	sent := s.Commands()
	verdict, err := c.send(tok, PIN(s, secret), PIN(s, next), s.attemptFor(card, c.secret))
	if err != nil {
		s.Fatalf("%s: %v", c.name, err)
	}
	if verdict.Kind != want {
		s.Fatalf("%s gives %q (SW %04X, cause %v), want %q", c.name, verdict.Kind, verdict.SW, verdict.Cause, want)
	}
	if n := s.Commands() - sent; n != 1 {
		s.Errorf("%s took %d commands, want 1", c.name, n)
	}
	return verdict
}

func checkRightChange(_ *testing.T, s *session, c change) {
	tok, identity := s.begin()
	if c.secret == token.SecretUnlockCode && !s.NeverLocks { // what it is for
		for range s.Limit {
			if _, err := tok.Verify(s.Context(), PIN(s, s.WrongPIN), s.attempt(identity.Card)); err != nil {
				s.Fatal(err)
			}
		}
	} else {
		s.verify(tok, identity.Card, s.WrongPIN, token.VerdictWrong)
	}
	s.try(tok, identity.Card, c, c.right, s.NewPIN, token.VerdictOK)
	tok, _ = s.begin()
	tries, _ := s.readTries(tok)
	s.wantTries("tries after the change", tries, s.Limit)
	s.verify(tok, identity.Card, s.PIN, token.VerdictWrong) // the old one
	s.verify(tok, identity.Card, s.NewPIN, token.VerdictOK)
	// The unlock code stays what it was.
	s.try(tok, identity.Card, s.changes()[1], s.UnlockCode, s.LaterPIN, token.VerdictOK)
	s.verify(tok, identity.Card, s.LaterPIN, token.VerdictOK)
}

func checkWrongChange(t *testing.T, s *session, c change) {
	tok, identity := s.begin()
	if c.limit > 1 {
		verdict := s.try(tok, identity.Card, c, c.wrong, s.NewPIN, token.VerdictWrong)
		s.wantTries("tries told with the answer", verdict.Tries, c.limit-1)
	}
	tries, _ := s.readTries(tok)
	left := s.Limit
	if c.secret == token.SecretPIN {
		left--
	}
	s.wantTries("tries of the PIN", tries, left)
	s.try(tok, identity.Card, c, c.right, s.NewPIN, token.VerdictOK) // gives them back
	verdict := s.try(tok, identity.Card, c, c.wrong, s.LaterPIN, token.VerdictWrong)
	s.wantTries("tries after a right one and a wrong one", verdict.Tries, c.limit-1)
	s.verify(tok, identity.Card, s.LaterPIN, token.VerdictWrong)
	s.verify(tok, identity.Card, s.NewPIN, token.VerdictOK)
}

// checkDead uses a secret up: after that not even the right one is taken.
func checkDead(t *testing.T, s *session, c change) {
	tok, identity := s.begin()
	for i := range c.limit - 1 {
		verdict := s.try(tok, identity.Card, c, c.wrong, s.NewPIN, token.VerdictWrong)
		s.wantTries("tries told with the answer", verdict.Tries, c.limit-1-i)
	}
	last, err := c.send(tok, PIN(t, c.wrong), PIN(t, s.NewPIN), s.attemptFor(identity.Card, c.secret))
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	if last.Kind != token.VerdictWrong && last.Kind != token.VerdictBlocked {
		t.Fatalf("the last wrong one gives %q (SW %04X), want wrong or blocked", last.Kind, last.SW)
	}
	if s.NeverLocks { // what ends it is the caller's own count
		if _, known := last.Tries.Count(); known || last.Kind != token.VerdictWrong {
			t.Errorf("a card without a counter gives %q and %v tries, want wrong and unknown", last.Kind, last.Tries)
		}
		return
	}
	s.wantTries("tries told with the last answer", last.Tries, 0)
	for range 2 { // a reset changes nothing
		s.try(tok, identity.Card, c, c.right, s.NewPIN, token.VerdictBlocked)
		tok, _ = s.begin()
	}
	if c.secret == token.SecretUnlockCode { // the PIN is another secret
		s.verify(tok, identity.Card, s.PIN, token.VerdictOK)
	} else {
		s.verify(tok, identity.Card, s.PIN, token.VerdictBlocked)
	}
}

// checkLostChange loses the answer, or the command on its way. The Token cannot
// tell which, and sends nothing more before the card is identified again.
func checkLostChange(t *testing.T, s *session, c change) {
	for _, arrives := range []bool{false, true} {
		tok, identity := s.begin()
		s.Lose(arrives)
		verdict := s.try(tok, identity.Card, c, c.right, s.NewPIN, token.VerdictNone)
		if verdict.Tries != (token.Tries{}) || verdict.SW != 0 {
			t.Errorf("a lost answer gives %v tries and SW %04X", verdict.Tries, verdict.SW)
		}
		if kind := token.KindOf(verdict.Cause); kind == "" || kind == token.KindInternal || kind == token.KindNewPINRefused || kind == token.KindNewPINRefusedByCard {
			t.Errorf("a lost answer has the cause %v", verdict.Cause)
		}
		s.silent("the Token after a lost answer", func() {
			for _, again := range s.changes() {
				attempt := s.attemptFor(identity.Card, again.secret)
				if _, err := again.send(tok, PIN(t, again.right), PIN(t, s.NewPIN), attempt); err == nil {
					t.Errorf("%s gives no error", again.name)
				}
			}
			if _, err := tok.Verify(t.Context(), PIN(t, s.PIN), s.attempt(identity.Card)); err == nil {
				t.Error("Verify gives no error")
			}
		})
		tok, _ = s.begin()
		now, before := s.PIN, s.NewPIN
		if arrives {
			now, before = before, now
		}
		s.verify(tok, identity.Card, before, token.VerdictWrong)
		s.verify(tok, identity.Card, now, token.VerdictOK)
	}
}

// checkRefusedChange is about what is refused before anything is sent: the
// attempt stays good.
func checkRefusedChange(t *testing.T, s *session, c change) {
	tok, identity := s.begin()
	wiped := PIN(t, s.NewPIN)
	wiped.Wipe()
	right := func() *token.PIN { return PIN(t, c.right) }
	next := func() *token.PIN { return PIN(t, s.NewPIN) }
	attempt := s.attemptFor(identity.Card, c.secret)
	for name, tt := range map[string]struct {
		secret, next *token.PIN
		want         token.Kind
	}{
		"no new PIN":             {right(), nil, token.KindNewPINRefused},
		"an empty new PIN":       {right(), PIN(t, nil), token.KindNewPINRefused},
		"a wiped new PIN":        {right(), wiped, token.KindNewPINRefused},
		"a new PIN of NULs":      {right(), PIN(t, make([]byte, len(s.NewPIN))), token.KindNewPINRefused},
		"a new PIN of one digit": {right(), PIN(t, []byte("77777777")), token.KindNewPINRefused},
		"no secret":              {nil, next(), c.malformed},
		"an empty secret":        {PIN(t, nil), next(), c.malformed},
		"a wiped secret":         {wiped, next(), c.malformed},
		"a secret of NULs":       {PIN(t, make([]byte, len(c.right))), next(), c.malformed},
		"full-width characters":  {PIN(t, []byte("１２")), next(), c.malformed},
	} {
		s.silent(name, func() {
			if verdict, err := c.send(tok, tt.secret, tt.next, attempt); token.KindOf(err) != tt.want || verdict != (token.Verdict{}) {
				t.Errorf("%s with %s gives %+v, %v, want %s", c.name, name, verdict, err, tt.want)
			}
		})
	}
	if verdict, err := c.send(tok, right(), next(), attempt); err != nil || verdict.Kind != token.VerdictOK {
		t.Errorf("%s with the attempt that nothing was sent with gives %+v, %v", c.name, verdict, err)
	}
}

// checkUnusableChange is about attempts: each is for one secret of one card.
func checkUnusableChange(t *testing.T, s *session, c change) {
	tok, identity := s.begin()
	used := s.attemptFor(identity.Card, c.secret)
	if err := used.Redeem(identity.Card, c.secret); err != nil {
		t.Fatal(err)
	}
	for name, attempt := range map[string]*token.Attempt{
		"no attempt":                      nil,
		"a used attempt":                  used,
		"an attempt for another card":     s.attemptFor(identity.Card+"0", c.secret),
		"an attempt for no card":          s.attemptFor("", c.secret),
		"an attempt for the other secret": s.attemptFor(identity.Card, c.wrongSecret),
		"an attempt for the admin key":    s.attemptFor(identity.Card, token.SecretAdminKey),
		"an attempt for nothing":          s.attemptFor(identity.Card, 0),
	} {
		s.silent(name, func() {
			verdict, err := c.send(tok, PIN(t, c.right), PIN(t, s.NewPIN), attempt)
			if !errors.Is(err, token.ErrAttempt) || verdict != (token.Verdict{}) {
				t.Errorf("%s with %s gives %+v, %v, want %v", c.name, name, verdict, err, token.ErrAttempt)
			}
		})
	}
	once := s.attemptFor(identity.Card, c.secret)
	if verdict, err := c.send(tok, PIN(t, c.right), PIN(t, s.NewPIN), once); err != nil || verdict.Kind != token.VerdictOK {
		t.Fatalf("%s with a good attempt gives %+v, %v", c.name, verdict, err)
	}
	s.silent("the same attempt again", func() {
		if _, err := c.send(tok, PIN(t, c.right), PIN(t, s.LaterPIN), once); !errors.Is(err, token.ErrAttempt) {
			t.Errorf("%s with the same attempt gives %v, want %v", c.name, err, token.ErrAttempt)
		}
		stranger := s.Open() // it has identified nothing
		if _, err := c.send(stranger, PIN(t, c.right), PIN(t, s.LaterPIN), s.attemptFor(identity.Card, c.secret)); err == nil {
			t.Errorf("%s of a Token that has not identified its card gives no error", c.name)
		}
	})
}
