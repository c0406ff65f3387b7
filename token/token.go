// Package token is the domain of Inkan: cards, keys, PINs, tries and the
// states people see, free of any wire format.
//
// It guarantees that values which must not be confused cannot be: a PIN never
// prints, a number of tries may be unknown, the state of a card is another
// type than the state of a certificate, and a VERIFY needs an [Attempt] that
// proves its try was recorded. A caller must take an Attempt from the PIN
// guard; nothing else in the program makes one (layering_test.go holds that).
//
// Kinds of tokens live in packages below this one and pass the suite of
// token/tokentest.
package token

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
)

// CardID is a card identity: application and serial, for example
// "piv-00112233445566778899aabbccddeeff". Tries and states hang on it and on
// nothing else: not on a reader's name, an ATR or a certificate.
type CardID string

// KeyID is a key identity: card identity and SHA-256 of the public key, for
// example "piv-0011….9f86…".
type KeyID string

// NewKeyID makes the key identity of the public key with this DER-encoded
// SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) on this card.
func NewKeyID(card CardID, spki []byte) KeyID {
	sum := sha256.Sum256(spki)
	return KeyID(string(card) + "." + hex.EncodeToString(sum[:]))
}

// Card returns the card identity inside k, or "" if there is none.
func (k KeyID) Card() CardID {
	card, _, ok := strings.Cut(string(k), ".")
	if !ok {
		return ""
	}
	return CardID(card)
}

// Secret is one of the secrets that a card counts tries for.
type Secret uint8

// The secrets of a card. Values are written to the PIN-try journal: they
// never change.
const (
	SecretPIN        Secret = 1 // PIN, 暗証番号
	SecretUnlockCode Secret = 2 // unlock code (PUK), ロック解除コード
	SecretAdminKey   Secret = 3 // admin key, 管理鍵
)

// String returns the word of mission.md.
func (s Secret) String() string {
	switch s {
	case SecretPIN:
		return "PIN"
	case SecretUnlockCode:
		return "unlock code"
	case SecretAdminKey:
		return "admin key"
	}
	return fmt.Sprintf("secret %d", uint8(s))
}

// PINPolicy says when a card wants the PIN for a key.
type PINPolicy uint8

// PIN policies (SP 800-73-5 part 1 table 5: 9A and 9C want the PIN, 9C for
// each signature, 9E never).
const (
	PINNever  PINPolicy = 1
	PINOnce   PINPolicy = 2
	PINAlways PINPolicy = 3
)

// Key is one key of a card, as read from it.
type Key struct {
	ID          KeyID
	Card        CardID
	Slot        string           // place on the card, for example "9c"
	Label       string           // for people
	Public      crypto.PublicKey // *rsa.PublicKey or *ecdsa.PublicKey
	SPKI        []byte           // DER of Public
	Certificate []byte           // DER, or nil
	PINPolicy   PINPolicy
	DecryptOnly bool // it is for decryption: it is listed and never signs
}

// NewKey fills in what follows from the public key. It returns an error for a
// key type that Inkan does not sign with.
func NewKey(card CardID, slot, label string, public crypto.PublicKey, certificate []byte, policy PINPolicy) (Key, error) {
	if _, err := TypeOf(public); err != nil {
		return Key{}, err
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("encoding public key of %s: %w", slot, err)
	}
	return Key{
		ID: NewKeyID(card, spki), Card: card, Slot: slot, Label: label,
		Public: public, SPKI: spki, Certificate: certificate, PINPolicy: policy,
	}, nil
}

// Identity is what a card says about itself, without a PIN.
type Identity struct {
	Card        CardID
	Serial      string // as people read it
	Application string // "PIV", …
	Virtual     bool   // known to be a virtual card
	// Token is what a PKCS#11 module calls the card: manufacturer, model and
	// serial number; "" where none was asked.
	Token string
}

// Token is one application on one card, seen through an exclusive connection.
//
// A Token belongs to one goroutine and to one transaction: whoever opened the
// connection resets the card before the first and after the last call. Each
// method sends each command at most once; what a lost answer meant is for the
// caller to decide, never for the Token.
type Token interface {
	// Identify selects the application and reads the card identity. It has no
	// side effect on any count. [ErrNotMine] means: another kind of card.
	Identify(ctx context.Context) (Identity, error)

	// Keys reads the keys and certificates. It needs no PIN.
	Keys(ctx context.Context) ([]Key, error)

	// Tries asks the card how often a secret may still be wrong, where asking
	// is known to be free; otherwise it returns unknown tries and sends
	// nothing. verified reports that the card takes the secret for proved.
	Tries(ctx context.Context, secret Secret) (tries Tries, verified bool, err error)

	// Verify redeems the attempt and sends the PIN once. It returns an error
	// only when the attempt could not be redeemed, that is: nothing was sent.
	// All that happened on the wire is in the Verdict.
	Verify(ctx context.Context, pin *PIN, attempt *Attempt) (Verdict, error)

	// ChangePIN redeems an attempt for the PIN and sends the old and the next PIN
	// once (CHANGE REFERENCE DATA). It promises what Verify promises: an error
	// means that nothing was sent, all else is in the Verdict, which is about the
	// old PIN. With no verdict the card has the old PIN or the next one, unless
	// Cause is of kind [KindNewPINRefusedByCard]: then the card refused the form of the
	// next PIN and has the old one. The attempt stays spent either way.
	//
	// next must pass [PIN.CheckNew]; that it differs from old is for the caller.
	ChangePIN(ctx context.Context, old, next *PIN, attempt *Attempt) (Verdict, error)

	// Unlock redeems an attempt for the unlock code and sends the code and the
	// next PIN once (RESET RETRY COUNTER). It promises what ChangePIN promises;
	// the Verdict, its tries and "blocked" are about the unlock code.
	Unlock(ctx context.Context, code, next *PIN, attempt *Attempt) (Verdict, error)

	// Sign makes a signature over the digest, at once after Verify where the
	// key wants a PIN. The caller checks it with [CheckSignature].
	Sign(ctx context.Context, key Key, algorithm Algorithm, digest []byte) ([]byte, error)
}

// Beginner is a Token some of whose keys want the PIN once more for each
// signature, which shows only when it has begun (PKCS#11,
// CKA_ALWAYS_AUTHENTICATE).
type Beginner interface {
	Token

	// Begin begins what Sign ends. again means that the key wants the PIN first:
	// [Beginner.VerifyAgain], with an attempt of its own.
	Begin(ctx context.Context, key Key, algorithm Algorithm, digest []byte) (again bool, err error)

	// VerifyAgain redeems an attempt and sends the PIN once for what was begun. It
	// promises what Verify promises.
	VerifyAgain(ctx context.Context, pin *PIN, attempt *Attempt) (Verdict, error)
}

// PINFormat is what a PIN or unlock code of some kind of card can look like. It
// is checked before any try is counted.
type PINFormat struct {
	MinLength int // bytes
	MaxLength int // bytes
	Allowed   func(b byte) bool
	Charset   string // for people, for example "digits"
	// PadTo is the length to which the card wants it padded with Pad; 0: as it
	// is.
	PadTo int
	Pad   byte
}
