package apdu

import (
	"context"
	"errors"
	"fmt"
)

// Transmitter sends one command APDU and returns the response APDU. It never
// repeats a command.
type Transmitter interface {
	Transmit(ctx context.Context, command []byte) ([]byte, error)
}

// Options says how to talk to a card.
type Options struct {
	// Extended allows extended length fields. Without it longer data goes by
	// command chaining and longer answers come by GET RESPONSE.
	Extended bool
}

// Errors of Exchange.
var (
	// ErrSecret means that nothing was sent: the command carries a secret.
	ErrSecret = errors.New("commands with a secret are not exchanged: they may be sent only once")
	// ErrTooLong means that the card gave more than the caps allow.
	ErrTooLong = errors.New("answer from the card is too long")
)

// Instruction bytes (ISO/IEC 7816-4 section 5.5, table of INS codes). The odd
// ones are the same commands with BER-TLV data.
const (
	insVerify        = 0x20
	insVerifyTLV     = 0x21
	insChangeRef     = 0x24
	insChangeRefTLV  = 0x25
	insResetRetry    = 0x2C
	insResetRetryTLV = 0x2D
	insGetResponse   = 0xC0
)

// Class byte (ISO/IEC 7816-4 section 5.4.1).
const (
	claChaining        = 0x10 // not the last command of a chain
	claProprietary     = 0x80 // not an interindustry class
	claFurther         = 0x40 // further interindustry: channels 4 to 19
	channelMaskFirst   = 0x03 // channels 0 to 3
	channelMaskFurther = 0x4F // channels 4 to 19 and the bit that says so
)

// Caps on what a card may give as one answer.
const (
	maxResponseRounds = 64 // GET RESPONSE commands
	maxResponseData   = MaxResponse - 2
)

// carriesSecret reports whether a command with this INS holds a PIN or code,
// so that a second sending could spend a second try.
func carriesSecret(ins byte) bool {
	switch ins {
	case insVerify, insVerifyTLV, insChangeRef, insChangeRefTLV, insResetRetry, insResetRetryTLV:
		return true
	}
	return false
}

// Exchange sends a command and collects the whole answer: it chains long data
// (ISO/IEC 7816-4 section 5.3.3), follows 61xx with GET RESPONSE, at most 64
// times (section 5.3.4), and sends the command once more after a first 6Cxx,
// which says that it was not executed (section 5.6). A chain is never sent
// again.
//
// It returns the last status word, also when that is an error of the card. Its
// own error is [ErrSecret] (also for a VERIFY without data: that is asked with
// Transmit), [ErrTooLong], one that wraps [ErrMalformed], or the transmitter's:
// then the outcome is not known.
func Exchange(ctx context.Context, t Transmitter, c Command, o Options) (Response, error) {
	if carriesSecret(c.INS) {
		return Response{}, ErrSecret
	}
	if _, err := c.Bytes(); err != nil { // refuse before the first part of a chain is out
		return Response{}, err
	}
	e := exchange{ctx: ctx, t: t, mayCorrectLe: true}
	if !o.Extended {
		c.Ne = min(c.Ne, maxShortNe)
		for len(c.Data) > maxShortData {
			part := Command{CLA: c.CLA | claChaining, INS: c.INS, P1: c.P1, P2: c.P2, Data: c.Data[:maxShortData]}
			r, err := e.send(part)
			if err != nil || r.SW != SWOK {
				return r, err
			}
			c.Data = c.Data[maxShortData:]
			e.mayCorrectLe = false
		}
	}
	r, err := e.sendCorrected(c)
	if err != nil {
		return Response{}, err
	}
	return e.collect(c.CLA, r)
}

type exchange struct {
	ctx          context.Context
	t            Transmitter
	mayCorrectLe bool
}

func (e *exchange) send(c Command) (Response, error) {
	b, err := c.Bytes()
	if err != nil {
		return Response{}, err
	}
	answer, err := e.t.Transmit(e.ctx, b)
	if err != nil {
		return Response{}, err
	}
	return ParseResponse(answer)
}

// sendCorrected sends c, and once more with the Le that a 6Cxx asks for.
func (e *exchange) sendCorrected(c Command) (Response, error) {
	r, err := e.send(c)
	if err != nil {
		return Response{}, err
	}
	n, wrong := r.SW.WrongLe()
	if !wrong || !e.mayCorrectLe {
		return r, nil
	}
	e.mayCorrectLe = false
	c.Ne = n
	return e.send(c)
}

// collect follows 61xx until the card has given everything.
func (e *exchange) collect(cla byte, r Response) (Response, error) {
	data, rounds := r.Data, 0
	for {
		n, more := r.SW.More()
		if !more {
			return Response{Data: data, SW: r.SW}, nil
		}
		if rounds++; rounds > maxResponseRounds {
			return Response{}, fmt.Errorf("more than %d parts: %w", maxResponseRounds, ErrTooLong)
		}
		var err error
		r, err = e.sendCorrected(Command{CLA: responseClass(cla), INS: insGetResponse, Ne: n})
		if err != nil {
			return Response{}, fmt.Errorf("getting response: %w", err)
		}
		if len(data)+len(r.Data) > maxResponseData {
			return Response{}, fmt.Errorf("more than %d bytes: %w", maxResponseData, ErrTooLong)
		}
		data = append(data, r.Data...)
	}
}

// responseClass keeps the logical channel of a class byte and drops the rest:
// GET RESPONSE is an interindustry command without chaining.
func responseClass(cla byte) byte {
	switch {
	case cla&claProprietary != 0:
		return 0
	case cla&claFurther != 0:
		return cla & channelMaskFurther
	}
	return cla & channelMaskFirst
}
