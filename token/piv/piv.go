// Package piv is the PIV application (SP 800-73-5) on a card as a
// [token.Token]: identity from the CHUID, keys from their certificates, PIN
// and signatures.
//
// It guarantees that a PIN or unlock code is sent at most once for each redeemed
// attempt and only to the card that was identified since this Token was opened, that
// nothing is ever sent again by itself, and that what a card says is checked
// before it is used. A caller must give it an exclusive connection, reset the
// card before and after, and check every signature with the public key.
package piv

import (
	"context"
	"errors"
	"fmt"

	"github.com/inkan-project/inkan/pcsc/apdu"
	"github.com/inkan-project/inkan/token"
)

// Options says what is known of a kind of card (its card profile). The zero
// value is the careful choice for an unknown card.
type Options struct {
	// Extended allows extended length fields.
	Extended bool
	// EmptyVerifySafe allows VERIFY without data as a question for the tries
	// left (SP 800-73-5 part 2 section 3.2.1). On some ISO 7816 cards, though
	// on none that keeps to that section, it spends a try.
	EmptyVerifySafe bool
	// Words are the status words by which this card speaks about the PIN,
	// besides those of the standard.
	Words token.PINWords
	// PIN is what a PIN can look like; the zero value is PINFormat().
	PIN token.PINFormat
	// UnlockCode is what an unlock code can look like; the zero value is
	// UnlockCodeFormat(). It must be padded as the PIN is.
	UnlockCode token.PINFormat
	// Skipped is told which key is not shown and why; nil = nobody. A slot
	// without a certificate is not told.
	Skipped func(slot string, reason error)
}

// Token is the PIV application on one card. It implements [token.Token].
type Token struct {
	card    apdu.Transmitter
	options Options
	// id is the card that answered to Identify and has not been lost since;
	// empty = no PIN may be sent and no key used.
	id token.CardID
}

var _ token.Token = (*Token)(nil)

// Open returns the Token of a card; it sends nothing.
func Open(card apdu.Transmitter, o Options) *Token {
	if o.PIN.Allowed == nil {
		o.PIN = PINFormat()
	}
	if o.UnlockCode.Allowed == nil {
		o.UnlockCode = UnlockCodeFormat()
	}
	return &Token{card: card, options: o}
}

// FromProfile returns what a card profile says as Options.
func FromProfile(p token.Profile) Options {
	return Options{
		Extended: p.Extended, EmptyVerifySafe: p.EmptyVerifySafe, Words: p.Words,
		PIN: p.PIN, UnlockCode: p.UnlockCode,
	}
}

// PINFormat returns what a PIN of this card can look like.
func (t *Token) PINFormat() token.PINFormat { return t.options.PIN }

// PINFormat is the form of a PIN of SP 800-73-5 part 2 section 2.4.3: six to
// eight decimal digits in ASCII, padded to eight bytes with FF.
func PINFormat() token.PINFormat {
	return token.PINFormat{
		MinLength: 6, MaxLength: 8, Charset: "digits", PadTo: 8, Pad: 0xFF,
		Allowed: func(b byte) bool { return b >= '0' && b <= '9' },
	}
}

// UnlockCodeFormat is the form of an unlock code (PUK) that somebody types. SP
// 800-73-5 part 2 section 2.4.3 allows any eight bytes; yubico-piv-tool and
// YubiKeys take six to eight characters, padded with FF to eight bytes, which
// are eight bytes like any other. No key on a keyboard gives what is not
// printable, and full-width characters would be a wrong code.
func UnlockCodeFormat() token.PINFormat {
	return token.PINFormat{
		MinLength: 6, MaxLength: 8, Charset: "printable ASCII and spaces", PadTo: 8, Pad: 0xFF,
		Allowed: func(b byte) bool { return b >= ' ' && b <= '~' },
	}
}

// Commands (SP 800-73-5 part 2 table 2 and ISO/IEC 7816-4 section 5.5).
const (
	insVerify              = 0x20 // part 2 section 3.2.1
	insChangeReferenceData = 0x24 // part 2 section 3.2.2
	insResetRetryCounter   = 0x2C // part 2 section 3.2.3
	insGeneralAuthenticate = 0x87 // part 2 section 3.2.4
	insSelect              = 0xA4 // part 2 section 3.1.1
	insGetData             = 0xCB // part 2 section 3.1.2
)

// Most bytes wanted in an answer. Without extended length the exchange asks
// for 256 and fetches the rest by GET RESPONSE.
const (
	shortAnswer = 256
	longAnswer  = 65536
)

// errNotIdentified is a bug in the caller: nothing was sent.
var errNotIdentified = errors.New("card is not identified in this transaction")

// Identify selects the application and reads the CHUID. It sends two commands
// (and GET RESPONSE for a CHUID that needs it). It returns [token.ErrNotMine]
// for a card without PIV, else a [*token.Error].
func (t *Token) Identify(ctx context.Context) (token.Identity, error) {
	t.id = ""
	if err := t.selectApplication(ctx); err != nil {
		return token.Identity{}, err
	}
	const doing = "reading card identity"
	chuid, found, err := t.getData(ctx, tagCHUID)
	if status, ok := errors.AsType[apdu.StatusError](err); ok && unsupported(status.SW) {
		// It says yes to every SELECT, but has no GET DATA.
		return token.Identity{}, fmt.Errorf("%s: %w: %w", doing, token.ErrNotMine, err)
	}
	if err != nil {
		return token.Identity{}, fault(doing, err)
	}
	identity, err := identityOf(chuid, found)
	if err != nil {
		return token.Identity{}, fault(doing, err)
	}
	t.id = identity.Card
	return identity, nil
}

func (t *Token) selectApplication(ctx context.Context) error {
	// AID without its version (SP 800-73-5 part 1 section 2.2).
	aid := []byte{0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00}
	const doing = "selecting PIV"
	r, err := t.exchange(ctx, apdu.Command{INS: insSelect, P1: 0x04, Data: aid, Ne: shortAnswer})
	switch {
	case err != nil:
		return fault(doing, err)
	case r.SW == apdu.SWOK:
		return nil
	case unsupported(r.SW):
		return fmt.Errorf("%s: %w: %w", doing, token.ErrNotMine, r.Err())
	}
	return fault(doing, r.Err())
}

// unsupported reports a status word by which a card says that it knows no such
// application or command, rather than that something went wrong.
func unsupported(sw apdu.SW) bool {
	switch sw {
	case apdu.SWNotFound, apdu.SWNotSupported, apdu.SWIncorrectP1P2, apdu.SWWrongData, apdu.SWWrongLength,
		apdu.SWInsUnsupported, apdu.SWClaUnsupported, apdu.SWChannel, apdu.SWSecureMessaging,
		0x6999: // Java Card API, ISO7816.SW_APPLET_SELECT_FAILED
		return true
	}
	return false
}

// getData reads a data object (SP 800-73-5 part 2 section 3.1.2). found is
// false if the card does not have it. Errors are not yet mapped.
func (t *Token) getData(ctx context.Context, tag uint32) (object []byte, found bool, err error) {
	list := apdu.AppendTLV(nil, tagTagList, []byte{byte(tag >> 16), byte(tag >> 8), byte(tag)})
	r, err := t.exchange(ctx, apdu.Command{INS: insGetData, P1: 0x3F, P2: 0xFF, Data: list, Ne: longAnswer})
	if err != nil {
		return nil, false, err
	}
	switch r.SW {
	case apdu.SWOK:
	case apdu.SWNotFound, apdu.SWRefNotFound:
		return nil, false, nil
	default:
		return nil, false, r.Err()
	}
	object, err = apdu.Find(r.Data, tagObject)
	if err != nil {
		return nil, false, err
	}
	return object, true, nil
}

// exchange sends a command that carries no secret. After an error of the
// transport the card may be another one: it must be identified again.
func (t *Token) exchange(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	r, err := apdu.Exchange(ctx, t.card, c, apdu.Options{Extended: t.options.Extended})
	switch {
	case errors.Is(err, apdu.ErrTooLong): // the card is there, and talks too much
		return apdu.Response{}, err
	case err != nil:
		t.id = ""
		return apdu.Response{}, transportError{err}
	}
	return r, nil
}
