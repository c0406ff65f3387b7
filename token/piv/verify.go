package piv

import (
	"context"
	"fmt"
	"slices"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/apdu"
	"github.com/inkan-project/inkan/token"
)

// VERIFY (SP 800-73-5 part 2 section 3.2.1).
const referencePIN = 0x80 // PIV Card Application PIN (part 1 section 5.1)

// Tries asks by VERIFY without data where [Options].EmptyVerifySafe says that
// this is free, and only for the PIN; else it sends nothing and the tries are
// unknown. 9000 means that the PIN is verified and says nothing of the tries.
func (t *Token) Tries(ctx context.Context, secret token.Secret) (tries token.Tries, verified bool, err error) {
	if secret != token.SecretPIN || !t.options.EmptyVerifySafe {
		return token.Tries{}, false, nil
	}
	if t.id == "" {
		return token.Tries{}, false, errNotIdentified
	}
	sw, err := t.transmitOnce(ctx, "VERIFY", []byte{0x00, insVerify, 0x00, referencePIN})
	if err != nil {
		return token.Tries{}, false, fault("asking for the tries left", err)
	}
	if sw == apdu.SWOK {
		return token.Tries{}, true, nil
	}
	if sw == apdu.SWRefDataUnusable { // to a question it may mean: no PIN was set
		return token.Tries{}, false, nil
	}
	return verdictOf(sw, t.options.Words).Tries, false, nil
}

// Verify redeems the attempt for the card that [Token.Identify] found and
// sends the PIN once. It returns an error, and has sent nothing, when no card
// is identified, when the PIN cannot be one (a [*token.Error]; the attempt
// stays as it was), or when the attempt is refused ([token.ErrAttempt]).
func (t *Token) Verify(ctx context.Context, pin *token.PIN, attempt *token.Attempt) (token.Verdict, error) {
	if t.id == "" {
		return token.Verdict{}, errNotIdentified
	}
	if err := pin.Check(t.PINFormat()); err != nil {
		return token.Verdict{}, err
	}
	format := t.PINFormat()
	field := max(format.PadTo, pin.Len()) // Lc in one byte: token.PINCapacity is far below
	command, err := pin.Command([]byte{0x00, insVerify, 0x00, referencePIN, byte(field)}, format.PadTo, format.Pad)
	if err != nil {
		return token.Verdict{}, fmt.Errorf("building VERIFY: %w", err)
	}
	if err := attempt.Redeem(t.id, token.SecretPIN); err != nil {
		return token.Verdict{}, err
	}
	return t.send(ctx, "verifying PIN", "VERIFY", command), nil
}

// send sends a command with a secret once and reads what the card says of it.
func (t *Token) send(ctx context.Context, doing, name string, command []byte) token.Verdict {
	sw, err := t.transmitOnce(ctx, name, command)
	if err != nil {
		return token.Verdict{Kind: token.VerdictNone, Cause: fault(doing, err)}
	}
	v := verdictOf(sw, t.options.Words)
	if v.Kind == token.VerdictNone {
		v.Cause = fault(doing, sw.Err())
	}
	return v
}

// verdictOf reads a status word of VERIFY, CHANGE REFERENCE DATA and RESET RETRY
// COUNTER (SP 800-73-5 part 2 sections 3.2.1 to 3.2.3; 6984: ISO/IEC 7816-4
// section 5.6). What is not known to be an answer about
// the secret is no verdict: the try stays spent and nobody is told "wrong".
func verdictOf(sw apdu.SW, words token.PINWords) token.Verdict {
	const counter = 0x000F
	v := token.Verdict{SW: uint16(sw)}
	n, counted := sw.Counter()
	if !counted && slices.Contains(words.Counted, uint16(sw)&^counter) {
		n, counted = int(sw&counter), true
	}
	blocked := slices.Contains(words.Blocked, uint16(sw)) && n == 0
	switch {
	case sw == apdu.SWOK:
		v.Kind = token.VerdictOK
	case sw == apdu.SWBlocked, sw == apdu.SWRefDataUnusable, blocked:
		v.Kind, v.Tries = token.VerdictBlocked, token.KnownTries(0)
	case counted:
		v.Kind, v.Tries = token.VerdictWrong, token.KnownTries(n)
	case slices.Contains(words.Wrong, uint16(sw)):
		v.Kind = token.VerdictWrong
	}
	return v
}

// transmitOnce sends a command with a secret, past the exchange, which may send
// twice. The answer is a status word alone: anything else may be a torn one, so
// that its last two bytes mean nothing.
func (t *Token) transmitOnce(ctx context.Context, name string, command []byte) (apdu.SW, error) {
	answer, err := t.card.Transmit(ctx, command)
	if err == nil && len(answer) != 2 {
		err = fmt.Errorf("answer of %d bytes to %s: %w", len(answer), name, pcsc.ErrNoAnswer)
	}
	if err != nil {
		t.id = ""
		return 0, transportError{err}
	}
	return apdu.SW(uint16(answer[0])<<8 | uint16(answer[1])), nil
}
