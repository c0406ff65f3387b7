package client

import (
	"context"
	"errors"
	"time"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// MaxPINLength is the size in bytes of the buffer a PINSource fills.
const MaxPINLength = 64

// MaxConfirmation is the most characters that a [Confirmer] can hand on.
const MaxConfirmation = 32

// ErrCancel is returned by a [PINSource] when the person does not want to
// enter the PIN. The call then fails with [ErrPromptCancelled].
var ErrCancel = errors.New("PIN entry cancelled by the person")

// Why a prompt is cancelled without asking the source: causes of the
// [ErrPromptCancelled] that the call returns.
var (
	errOnlyPIN     = errors.New("this program can give the PIN only, no other secret")
	errNoConfirmer = errors.New("this program cannot ask a person to confirm")
	errNothing     = errors.New("inkand asks for something that this version does not know")
)

// PINSource gives a PIN when inkand asks for one. It is never asked for
// another secret: a PIN that went to a card as its unlock code would spend one
// of the tries after which the card must be re-issued. A source for people
// also implements [SecretSource] and [Confirmer].
//
// PIN writes the secret's bytes into buf, which is [MaxPINLength] bytes of
// locked memory, and returns how many. It must not keep buf nor copy it, and
// must not cut a PIN that is longer: that is an error. inkand checks the form
// before it spends a try. PIN must return soon after ctx is done, which is
// when the prompt's time is over or nobody waits for it any more. A Client
// calls it for one prompt at a time: what the caller did before the call that
// needed the PIN happens before PIN is called, and what PIN did happens before
// that call returns (unless that call's own context ended).
//
// [ErrCancel] and every other error end the prompt without a try; an error
// other than ErrCancel is a cause of the error that the call returns.
type PINSource interface {
	PIN(ctx context.Context, p Prompt, buf []byte) (n int, err error)
}

// SecretSource is a [PINSource] that can be asked for the other secrets, too:
// the unlock code, a new PIN, and the new PIN once more, as Prompt.Secret says.
// Secret keeps the rules of PIN. Without it such a prompt is cancelled, so a
// source that knows one PIN only must not implement this.
type SecretSource interface {
	PINSource
	Secret(ctx context.Context, p Prompt, buf []byte) (n int, err error)
}

// Confirmer is a [PINSource] that can show why something must be typed beside
// the secret, and take it. Confirm is asked before the secret when
// Prompt.Confirmation says what is to be typed, and alone when Prompt.Secret is
// none. It returns what the person typed; inkand compares. Without it such a
// prompt is cancelled. Only a person can confirm: a program that returns
// Prompt.Confirmation by itself spends the last tries of a company's seal.
type Confirmer interface {
	Confirm(ctx context.Context, p Prompt) (typed string, err error)
}

// Tries is what is known of the tries left. The zero value is: nothing.
type Tries struct {
	Left  int
	Known bool // false: Left says nothing
	// Confirmed is true if the card itself said so; false means that Left is
	// the most there can be.
	Confirmed bool
}

// Prompt is everything the person should see before entering a secret. Tries
// are those of the secret that is asked for, for a new PIN those of the PIN. The
// words are inkand's, but DocumentNames are as given by the program that
// asks; a source that prints them must mind control characters.
type Prompt struct {
	Secret        inkanpb.SecretKind
	CardID        string   // card identity
	Company       string   // on the card's certificate
	KeyLabel      string   // of the key that signs
	Program       string   // executable of the caller; empty = not readable
	PID           int      // process of the caller
	Purpose       string   // "sign", "verify", "change-pin", "unlock", "acknowledge"
	DocumentNames []string // perhaps not all of them
	DocumentCount int
	Tries         Tries
	MinLength     int // shortest form that can be the secret, in bytes; 0 = not said
	MaxLength     int // longest, in bytes; 0 = not said
	Virtual       bool
	// Confirmation is what must be typed besides, letter for letter; empty =
	// nothing.
	Confirmation       string
	ConfirmationReason inkanpb.ConfirmationReason // why
	Timeout            time.Duration              // to answer; 0 = not said
}

func promptOf(p *inkanpb.PinPrompt) Prompt {
	return Prompt{
		Secret:        p.GetSecret(),
		CardID:        p.GetCardId(),
		Company:       p.GetCompany(),
		KeyLabel:      p.GetKeyLabel(),
		Program:       p.GetProgram(),
		PID:           int(p.GetPid()),
		Purpose:       p.GetPurpose(),
		DocumentNames: p.GetDocumentNames(),
		DocumentCount: int(p.GetDocumentCount()),
		Tries:         Tries{Left: int(p.GetTriesLeft()), Known: p.TriesLeft != nil, Confirmed: p.TriesLeft != nil && p.GetTriesKnown()},
		MinLength:     int(p.GetMinLength()),
		MaxLength:     int(p.GetMaxLength()),
		Virtual:       p.GetVirtual(),

		Confirmation:       p.GetConfirmation(),
		ConfirmationReason: p.GetConfirmationReason(),
		Timeout:            p.GetTimeout().AsDuration(),
	}
}
