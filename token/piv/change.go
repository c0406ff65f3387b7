package piv

import (
	"context"
	"errors"
	"fmt"

	"github.com/inkan-project/inkan/pcsc/apdu"
	"github.com/inkan-project/inkan/token"
)

// errPadding is a card profile that nobody should have let through: the two
// secrets of RESET RETRY COUNTER are told apart by their one length.
var errPadding = errors.New("unlock code and PIN are not padded alike")

// ChangePIN redeems the attempt for the card that [Token.Identify] found and
// sends CHANGE REFERENCE DATA once (SP 800-73-5 part 2 section 3.2.2), which
// gives all tries back when the old PIN was right. It returns errors as
// [Token.Verify] does, [token.KindNewPINRefused] among them.
func (t *Token) ChangePIN(ctx context.Context, old, next *token.PIN, attempt *token.Attempt) (token.Verdict, error) {
	if t.id == "" {
		return token.Verdict{}, errNotIdentified
	}
	if err := old.Check(t.options.PIN); err != nil {
		return token.Verdict{}, err
	}
	command, err := t.commandWith(insChangeReferenceData, old, next)
	if err != nil {
		return token.Verdict{}, fmt.Errorf("building CHANGE REFERENCE DATA: %w", err)
	}
	if err := attempt.Redeem(t.id, token.SecretPIN); err != nil {
		return token.Verdict{}, err
	}
	return withNewPIN(t.send(ctx, "changing PIN", "CHANGE REFERENCE DATA", command)), nil
}

// Unlock redeems the attempt for the card that [Token.Identify] found and sends
// RESET RETRY COUNTER once (SP 800-73-5 part 2 section 3.2.3). What the verdict
// says is about the unlock code: 63Cx counts its tries, and after 6983 nothing
// unlocks the card any more. It returns errors as [Token.ChangePIN] does,
// [token.KindUnlockCodeMalformed] among them.
func (t *Token) Unlock(ctx context.Context, code, next *token.PIN, attempt *token.Attempt) (token.Verdict, error) {
	if t.id == "" {
		return token.Verdict{}, errNotIdentified
	}
	if err := code.CheckCode(t.options.UnlockCode); err != nil {
		return token.Verdict{}, err
	}
	if c, p := t.options.UnlockCode, t.options.PIN; c.PadTo != p.PadTo || c.Pad != p.Pad {
		return token.Verdict{}, errPadding
	}
	command, err := t.commandWith(insResetRetryCounter, code, next)
	if err != nil {
		return token.Verdict{}, fmt.Errorf("building RESET RETRY COUNTER: %w", err)
	}
	if err := attempt.Redeem(t.id, token.SecretUnlockCode); err != nil {
		return token.Verdict{}, err
	}
	return withNewPIN(t.send(ctx, "unlocking", "RESET RETRY COUNTER", command)), nil
}

// commandWith builds a command about the PIN that carries a secret and the next
// PIN. The next PIN is checked first.
func (t *Token) commandWith(ins byte, secret, next *token.PIN) ([]byte, error) {
	format := t.options.PIN
	if err := next.CheckNew(format); err != nil {
		return nil, err
	}
	length := max(format.PadTo, secret.Len()) + max(format.PadTo, next.Len()) // Lc in one byte: twice token.PINCapacity is below
	return secret.CommandWith(next, []byte{0x00, ins, 0x00, referencePIN, byte(length)}, format.PadTo, format.Pad)
}

// withNewPIN tells of words without a verdict those by which a card refuses the
// form of what it was given (6A80: sections 3.2.2 and 3.2.3; 6700: ISO/IEC
// 7816-4 section 5.6). The first secret had the form that the card profile
// gives, so that it is about the next PIN.
func withNewPIN(v token.Verdict) token.Verdict {
	word := apdu.SW(v.SW)
	if v.Kind != token.VerdictNone || word != apdu.SWWrongData && word != apdu.SWWrongLength {
		return v
	}
	v.Cause = token.NewError(token.KindNewPINRefusedByCard).
		With("status_word", word.String()).Because(word.Err())
	return v
}
