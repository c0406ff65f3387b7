package token_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/token"
)

const testCard token.CardID = "piv-00112233445566778899aabbccddeeff"

// wantMeta checks kind and values of an error.
func wantMeta(t *testing.T, err error, kind token.Kind, meta map[string]string) {
	t.Helper()
	e, ok := errors.AsType[*token.Error](err)
	if !ok {
		t.Fatalf("error %v is no *token.Error, want kind %s", err, kind)
	}
	if e.Kind != kind {
		t.Errorf("kind %s, want %s", e.Kind, kind)
	}
	if diff := cmp.Diff(meta, e.Meta); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestAttemptIsRedeemedOnce(t *testing.T) {
	attempt := token.NewAttempt(testCard, token.SecretPIN, 7)
	if attempt.Card() != testCard || attempt.Secret() != token.SecretPIN || attempt.Number() != 7 {
		t.Errorf("attempt is for %s of %s, number %d", attempt.Secret(), attempt.Card(), attempt.Number())
	}
	if err := attempt.Redeem(testCard, token.SecretPIN); err != nil {
		t.Fatalf("first Redeem = %v, want nil", err)
	}
	if err := attempt.Redeem(testCard, token.SecretPIN); !errors.Is(err, token.ErrAttempt) {
		t.Errorf("second Redeem = %v, want %v", err, token.ErrAttempt)
	}
}

func TestAttemptIsOnlyForItsCardAndSecret(t *testing.T) {
	for name, redeem := range map[string]func(*token.Attempt) error{
		"another card":   func(a *token.Attempt) error { return a.Redeem("piv-other", token.SecretPIN) },
		"no card":        func(a *token.Attempt) error { return a.Redeem("", token.SecretPIN) },
		"another secret": func(a *token.Attempt) error { return a.Redeem(testCard, token.SecretUnlockCode) },
		"no secret":      func(a *token.Attempt) error { return a.Redeem(testCard, 0) },
	} {
		attempt := token.NewAttempt(testCard, token.SecretPIN, 1)
		if err := redeem(attempt); !errors.Is(err, token.ErrAttempt) {
			t.Errorf("Redeem for %s = %v, want %v", name, err, token.ErrAttempt)
		}
		if err := attempt.Redeem(testCard, token.SecretPIN); err != nil {
			t.Errorf("after a refusal for %s the attempt is gone: %v", name, err)
		}
	}
	var none *token.Attempt
	if err := none.Redeem(testCard, token.SecretPIN); !errors.Is(err, token.ErrAttempt) {
		t.Errorf("Redeem of no attempt = %v, want %v", err, token.ErrAttempt)
	}
}

func TestAttemptIsRedeemedOnceByManyAtATime(t *testing.T) {
	attempt := token.NewAttempt(testCard, token.SecretPIN, 1)
	var redeemed atomic.Int32
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if attempt.Redeem(testCard, token.SecretPIN) == nil {
				redeemed.Add(1)
			}
		})
	}
	wg.Wait()
	if n := redeemed.Load(); n != 1 {
		t.Errorf("redeemed %d times, want once", n)
	}
}

func TestUnknownTriesAreNeverANumber(t *testing.T) {
	var unknown token.Tries
	if _, known := unknown.Count(); known || unknown.String() != "unknown" {
		t.Errorf("zero value is %q, want unknown", unknown)
	}
	if unknown == token.KnownTries(0) {
		t.Error("unknown equals none left")
	}
	for n, want := range map[int]int{-1: 0, 0: 0, 1: 1, 10: 10, 15: 15, 16: 15, 256: 15} {
		got, known := token.KnownTries(n).Count()
		if got != want || !known {
			t.Errorf("KnownTries(%d) = %d, %v, want %d", n, got, known, want)
		}
		if s := token.KnownTries(n).String(); s != fmt.Sprint(want) {
			t.Errorf("KnownTries(%d) prints %q, want %d", n, s, want)
		}
	}
}

func TestKeyIdentityIsCardAndPublicKey(t *testing.T) {
	key := newECDSA(t, elliptic.P256())
	a, err := token.NewKey(testCard, "9c", "signature", &key.PublicKey, nil, token.PINAlways)
	if err != nil {
		t.Fatalf("NewKey: %v", err)
	}
	b, err := token.NewKey(testCard, "9a", "other words", &key.PublicKey, []byte{1}, token.PINOnce)
	if err != nil {
		t.Fatalf("NewKey: %v", err)
	}
	if a.ID != b.ID {
		t.Errorf("same card and public key have two identities: %s, %s", a.ID, b.ID)
	}
	if a.ID.Card() != testCard || !strings.HasPrefix(string(a.ID), string(testCard)+".") || len(a.ID) != len(testCard)+1+64 {
		t.Errorf("key identity %q, want %s.<64 hex digits>", a.ID, testCard)
	}
	if other := token.NewKeyID("piv-other", a.SPKI); other == a.ID {
		t.Error("the same key on two cards has one identity")
	}
	if parsed, err := x509.ParsePKIXPublicKey(a.SPKI); err != nil || !key.PublicKey.Equal(parsed) {
		t.Errorf("SPKI gives %v, %v, want the public key", parsed, err)
	}
	if _, err := token.NewKey(testCard, "9c", "", &newECDSA(t, elliptic.P521()).PublicKey, nil, token.PINAlways); err == nil {
		t.Error("NewKey takes a curve that is not used")
	}
	for _, id := range []token.KeyID{"", "nodot"} {
		if got := id.Card(); got != "" {
			t.Errorf("card of key identity %q is %q, want none", id, got)
		}
	}
}

func TestErrorsKeepKindValuesAndCause(t *testing.T) {
	cause := errors.New("the cause")
	err := fmt.Errorf("signing: %w", token.NewError(token.KindPINWrong, "card", string(testCard)).WithTries(token.KnownTries(9)).Because(cause))
	wantMeta(t, err, token.KindPINWrong, map[string]string{"card": string(testCard), "tries_left": "9"})
	if !errors.Is(err, cause) {
		t.Error("the cause is lost")
	}
	if got, want := err.Error(), "signing: PIN_WRONG: the cause"; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
	detailed := token.Errorf(token.KindCardFault, "slot %s", "9a")
	if got, want := detailed.Error(), "CARD_FAULT: slot 9a"; got != want {
		t.Errorf("Error = %q, want %q", got, want)
	}
	wantMeta(t, token.NewError(token.KindInternal, "name without value"), token.KindInternal, nil)
	for err, want := range map[error]token.Kind{
		nil: "", cause: token.KindInternal, detailed: token.KindCardFault,
	} {
		if got := token.KindOf(err); got != want {
			t.Errorf("KindOf(%v) = %q, want %q", err, got, want)
		}
	}
}

func TestNamesInTheJournalNeverChange(t *testing.T) {
	for s, want := range map[token.Secret]string{1: "PIN", 2: "unlock code", 3: "admin key", 9: "secret 9"} {
		if got := s.String(); got != want {
			t.Errorf("secret %d is %q, want %q", s, got, want)
		}
	}
	for k, want := range map[token.VerdictKind]string{0: "no verdict", 1: "ok", 2: "wrong", 3: "blocked", 9: "no verdict"} {
		if got := k.String(); got != want {
			t.Errorf("verdict %d is %q, want %q", k, got, want)
		}
	}
}
