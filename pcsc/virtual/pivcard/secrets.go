package pivcard

import (
	"crypto/subtle"
	"fmt"
	"io"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// PIN and unlock code are 8 bytes on the wire, PINs 6 to 8 digits padded with FF (SP
// 800-73-5 part 2 section 2.4.3).
const (
	secretLength = 8
	minPINDigits = 6
	padding      = 0xFF
)

// reference is what a secret is compared with. It is stored as two shares, so
// that the secret itself stands nowhere in memory or on disk.
type reference struct {
	Mask   []byte `json:"mask"`
	Masked []byte `json:"masked"`
}

func newReference(random io.Reader, secret []byte) (reference, error) {
	r := reference{Mask: make([]byte, len(secret)), Masked: make([]byte, len(secret))}
	if _, err := io.ReadFull(random, r.Mask); err != nil {
		return reference{}, fmt.Errorf("masking secret: %w", err)
	}
	subtle.XORBytes(r.Masked, r.Mask, secret)
	return r, nil
}

func (r reference) complete(length int) bool {
	return len(r.Mask) == length && len(r.Masked) == length
}

// matches compares in constant time, without a copy of the candidate.
func (r reference) matches(candidate []byte) bool {
	if len(candidate) != secretLength {
		return false
	}
	var difference byte
	for i, b := range candidate {
		difference |= b ^ r.Mask[i] ^ r.Masked[i]
	}
	return subtle.ConstantTimeByteEq(difference, 0) == 1
}

// pad is for the demo secrets of a new card, which are public.
func pad(secret []byte) []byte {
	for len(secret) < secretLength {
		secret = append(secret, padding)
	}
	return secret
}

// isPIN reports whether b has the form of a PIN.
func isPIN(b []byte) bool {
	if len(b) != secretLength {
		return false
	}
	digits := 0
	for digits < secretLength && b[digits] >= '0' && b[digits] <= '9' {
		digits++
	}
	for _, c := range b[digits:] {
		if c != padding {
			return false
		}
	}
	return digits >= minPINDigits
}

// verify is VERIFY (SP 800-73-5 part 2 section 3.2.1).
func (c *Card) verify(command apdu.Command) apdu.SW {
	if len(command.Data) == 0 && command.P2 == refPIN {
		return c.verifyWithoutData(command.P1)
	}
	a := attemptOf(command)
	switch {
	case command.P2 != refPIN:
		return c.refuse(a, apdu.SWRefNotFound)
	case command.P1 != 0:
		return c.refuse(a, apdu.SWIncorrectP1P2)
	case !isPIN(command.Data): // may be answered 6A80 without counting
		return c.refuse(a, apdu.SWWrongData)
	}
	a.expected, a.given = c.profile.PIN, command.Data
	sw := c.try(a)
	c.session.verified = sw == apdu.SWOK
	c.session.fresh = sw == apdu.SWOK
	return sw
}

// verifyWithoutData asks for the tries left (P1 00) or logs out (P1 FF).
func (c *Card) verifyWithoutData(p1 byte) apdu.SW {
	b := &c.profile.Behaviour
	switch {
	case p1 == 0xFF:
		c.session.verified = false
		return apdu.SWOK
	case p1 != 0x00:
		return apdu.SWIncorrectP1P2
	case b.EmptyVerifyBurns:
		return c.burn()
	}
	c.truth.note(eventStatus)
	left := c.truth.last.PINLeft
	switch {
	case b.EmptyVerify != "":
		return b.EmptyVerify.at(left, "")
	case c.session.verified:
		return apdu.SWOK
	case left == 0:
		return b.Blocked.at(left, wordBlocked)
	}
	return b.wrong().at(left, "")
}

// burn takes a question for a wrong PIN, as some cards do.
func (c *Card) burn() apdu.SW {
	sw := c.try(attempt{event: eventStatus, ref: referencePIN})
	c.session.verified = false
	return sw
}

// change is CHANGE REFERENCE DATA (SP 800-73-5 part 2 section 3.2.2): the old
// secret and the new one, side by side.
func (c *Card) change(command apdu.Command) apdu.SW {
	a, expected := attemptOf(command), c.profile.PIN
	if command.P2 == refUnlock {
		expected = c.profile.UnlockCode
	}
	switch {
	case command.P2 != refPIN && command.P2 != refUnlock:
		return c.refuse(a, apdu.SWRefNotFound)
	case command.P1 != 0:
		return c.refuse(a, apdu.SWIncorrectP1P2)
	case len(command.Data) != 2*secretLength,
		command.P2 == refPIN && !isPIN(command.Data[secretLength:]):
		return c.refuse(a, apdu.SWWrongData)
	}
	a.expected, a.given = expected, command.Data[:secretLength]
	a.succeed = func() error { return c.replace(command.P2, command.Data[secretLength:]) }
	sw := c.try(a)
	if command.P2 == refPIN {
		c.session.verified = sw == apdu.SWOK
	}
	return sw
}

// resetRetry is RESET RETRY COUNTER (SP 800-73-5 part 2 section 3.2.3): the
// unlock code and the new PIN, side by side.
func (c *Card) resetRetry(command apdu.Command) apdu.SW {
	a := attemptOf(command)
	switch {
	case command.P2 != refPIN:
		return c.refuse(a, apdu.SWRefNotFound)
	case command.P1 != 0:
		return c.refuse(a, apdu.SWIncorrectP1P2)
	case len(command.Data) != 2*secretLength, !isPIN(command.Data[secretLength:]):
		return c.refuse(a, apdu.SWWrongData)
	}
	a.expected, a.given = c.profile.UnlockCode, command.Data[:secretLength]
	a.succeed = func() error { return c.replace(refPIN, command.Data[secretLength:]) }
	sw := c.try(a)
	if sw != apdu.SWOK {
		c.session.verified = false
	}
	return sw
}

// attempt is one use of a secret.
type attempt struct {
	event    string
	ref      string // whose try is spent
	empty    bool   // there is no secret in the command
	expected reference
	given    []byte
	succeed  func() error // durable work of a success, before its answer
}

// attemptOf names the use that a command makes of a secret.
func attemptOf(command apdu.Command) attempt {
	a := attempt{event: eventVerify, ref: referencePIN, empty: len(command.Data) == 0}
	switch command.INS {
	case insChangeReferenceData:
		a.event = eventChange
		if command.P2 == refUnlock {
			a.ref = referenceUnlock
		}
	case insResetRetryCounter:
		a.event, a.ref = eventResetRetry, referenceUnlock
	}
	return a
}

// try spends a try, and only then compares. The order is the whole point: when
// power goes between the two, the try is gone and nothing was learned.
func (c *Card) try(a attempt) apdu.SW {
	b := &c.profile.Behaviour
	if c.left(a.ref) == 0 {
		return c.refuse(a, b.Blocked.at(0, wordBlocked))
	}
	if err := c.truth.record(event{Event: a.event, Ref: a.ref}); err != nil {
		return apdu.SWMemoryFailure
	}
	sw := b.wrong().at(c.left(a.ref), "")
	if c.left(a.ref) == 0 {
		sw = b.lastWrong().at(0, "")
	}
	if a.expected.matches(a.given) {
		if a.succeed != nil {
			if err := a.succeed(); err != nil {
				return apdu.SWMemoryFailure
			}
		}
		sw = apdu.SWOK
	}
	if err := c.truth.record(event{Event: a.event + resultSuffix, Ref: a.ref, SW: sw.String()}); err != nil {
		return apdu.SWMemoryFailure
	}
	return sw
}

// refuse records a command whose secret is not compared, and answers it.
func (c *Card) refuse(a attempt, sw apdu.SW) apdu.SW {
	if a.empty {
		return sw
	}
	if err := c.truth.record(event{Event: a.event, Ref: a.ref, SW: sw.String()}); err != nil {
		return apdu.SWMemoryFailure
	}
	return sw
}

func (c *Card) left(ref string) int {
	if ref == referencePIN {
		return c.truth.last.PINLeft
	}
	return c.truth.last.UnlockLeft
}

// replace makes a new secret durable.
func (c *Card) replace(ref byte, secret []byte) error {
	fresh, err := newReference(c.options.Rand, secret)
	if err != nil {
		return err
	}
	next := c.profile.clone()
	if ref == refUnlock {
		next.UnlockCode = fresh
	} else {
		next.PIN = fresh
	}
	return c.store(next)
}
