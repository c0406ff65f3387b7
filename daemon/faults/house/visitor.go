package house

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Visitor is one caller with the SDK, who counts what it was told. One call at
// a time.
type Visitor struct {
	h      *House
	client *client.Client
	person *person
}

// Visit connects to the process that runs in the house.
func (h *House) Visit(ctx context.Context) (*Visitor, error) {
	p := &person{}
	c, err := client.Dial(ctx, client.Options{Socket: h.Socket(), PIN: p, Language: "en", Comeback: -1})
	if err != nil {
		return nil, err
	}
	v := &Visitor{h: h, client: c, person: p}
	if err := v.meet(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return v, nil
}

// meet learns which card and keys there are, once.
func (v *Visitor) meet(ctx context.Context) error {
	if v.h.Card() != "" {
		return nil
	}
	status, err := v.client.Status(ctx)
	if err != nil {
		return err
	}
	keys, err := v.client.Keys(ctx)
	if err != nil {
		return err
	}
	if len(status.GetCards()) != 1 {
		return fmt.Errorf("inkand shows %d cards", len(status.GetCards()))
	}
	card := status.GetCards()[0]
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	v.h.card = card.GetId()
	v.h.tail = card.GetSerial()[max(0, len(card.GetSerial())-4):]
	for _, k := range keys {
		v.h.keys[k.GetSlot()] = k.GetId()
	}
	return nil
}

// Close ends the visit.
func (v *Visitor) Close() { _ = v.client.Close() }

// Status returns the card as inkand shows it, and what it says of itself.
func (v *Visitor) Status(ctx context.Context) (*inkanpb.CardStatus, *inkanpb.ServiceStatus, error) {
	status, err := v.client.Status(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(status.GetCards()) != 1 {
		return nil, nil, fmt.Errorf("inkand shows %d cards", len(status.GetCards()))
	}
	return status.GetCards()[0], status.GetService(), nil
}

// call is one signature that was asked for.
type call struct {
	end       ending
	record    uint64
	signature string // SHA-256, as the truth log writes it
}

type ending uint8

const (
	cut     ending = iota // no answer came: nobody knows
	got                   // a signature came
	refused               // inkand said no
)

// endingOf tells an answer from none.
func endingOf(err error) ending {
	switch {
	case err == nil:
		return got
	case errors.Is(err, client.ErrServiceUnreachable), errors.Is(err, client.ErrCallEnded), errors.Is(err, client.ErrInternal),
		errors.Is(err, client.ErrAuditUnavailable), errors.Is(err, client.ErrJournalUnavailable):
		return cut
	}
	return refused
}

// IsCut reports whether a call ended without an answer.
func IsCut(err error) bool { return endingOf(err) == cut }

// IsGone reports whether inkand is not there any more.
func IsGone(err error) bool { return errors.Is(err, client.ErrServiceUnreachable) }

// Sign asks for one signature with the key in a slot.
func (v *Visitor) Sign(ctx context.Context, slot, pin string) error {
	h := v.h
	h.mu.Lock()
	h.number++
	document, key := fmt.Sprintf("document %d", h.number), h.keys[slot]
	made := &call{}
	h.calls[document] = made
	h.mu.Unlock()

	v.person.knows(secrets{pin: pin})
	digest := sha256.Sum256([]byte(document))
	sig, err := v.client.Sign(ctx, client.SignRequest{
		KeyID: key, Algorithm: inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256, Digest: digest[:], DocumentName: document,
	})
	sum := sha256.Sum256(sig.Bytes)
	h.mu.Lock()
	defer h.mu.Unlock()
	made.end, made.record, made.signature = endingOf(err), sig.Record, hex.EncodeToString(sum[:])
	if err != nil || slot != noPIN {
		h.tried(err)
	}
	return err
}

// noPIN is the slot whose key needs no PIN (SP 800-73-5 part 1 section 3.1.4).
const noPIN = "9e"

// tried takes note of how a try of the PIN ended; h.mu is held.
func (h *House) tried(err error) {
	switch {
	case err == nil, errors.Is(err, client.ErrPINWrong):
		h.doubts = 0
	case errors.Is(err, client.ErrPINNoVerdict), isUnknown(err):
		h.doubts++
	}
}

// Verify proves a PIN.
func (v *Visitor) Verify(ctx context.Context, pin string) error {
	v.person.knows(secrets{pin: pin})
	_, err := v.client.VerifyPIN(ctx, v.h.Card())
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	v.h.tried(err)
	return err
}

// Change changes the PIN.
func (v *Visitor) Change(ctx context.Context, pin, next string) error {
	return v.renew(next, func() error {
		v.person.knows(secrets{pin: pin, next: next})
		_, err := v.client.ChangePIN(ctx, v.h.Card())
		return err
	})
}

// Unlock gives the card a new PIN by its unlock code.
func (v *Visitor) Unlock(ctx context.Context, code, next string) error {
	return v.renew(next, func() error {
		v.person.knows(secrets{code: code, next: next})
		_, err := v.client.Unlock(ctx, v.h.Card())
		return err
	})
}

// isUnknown reports whether a card may or may not have a new PIN after a call.
func isUnknown(err error) bool {
	return IsCut(err) || errors.Is(err, client.ErrChangeUnknown) || errors.Is(err, client.ErrUnlockUnknown)
}

// renew notes which PIN the card has after something that changes it.
func (v *Visitor) renew(next string, change func() error) error {
	err := change()
	h := v.h
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		h.pins = []string{next}
	case isUnknown(err) && !slices.Contains(h.pins, next):
		h.pins = append(slices.Clone(h.pins), next)
	}
	h.tried(err)
	return err
}

// StopHere stops the card.
func (v *Visitor) StopHere(ctx context.Context) error {
	_, err := v.client.StopHere(ctx, v.h.Card(), v.h.tail, "lost")
	v.h.settle(yes, err)
	return err
}

// Lift lifts the stop.
func (v *Visitor) Lift(ctx context.Context) error {
	_, err := v.client.Lift(ctx, v.h.Card(), "found")
	v.h.settle(no, err)
	return err
}

// settle takes note of a stop or lift.
func (h *House) settle(to settled, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		h.stop = to
	case IsCut(err) && h.stop != to:
		h.stop = either
	}
}

// Acknowledge lets tries go on: as a person without a reason, else as an
// administrator.
func (v *Visitor) Acknowledge(ctx context.Context, reason string) error {
	_, err := v.client.Acknowledge(ctx, v.h.Card(), reason)
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	if err == nil {
		v.h.doubts = 0
	}
	return err
}

// PINs returns the PINs of which the card has one.
func (h *House) PINs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.pins)
}

// person answers every prompt with what it knows. The PINs here are those of a
// virtual card, which everybody may know.
type person struct {
	mu sync.Mutex // guards the secrets
	secrets
}

type secrets struct{ pin, code, next string }

func (p *person) knows(s secrets) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets = s
}

// PIN implements client.PINSource.
func (p *person) PIN(ctx context.Context, prompt client.Prompt, buf []byte) (int, error) {
	return p.Secret(ctx, prompt, buf)
}

// Secret implements client.SecretSource.
func (p *person) Secret(_ context.Context, prompt client.Prompt, buf []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch prompt.Secret {
	case inkanpb.SecretKind_SECRET_KIND_PIN:
		return copy(buf, p.pin), nil
	case inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE:
		return copy(buf, p.code), nil
	default:
		return copy(buf, p.next), nil
	}
}

// Confirm implements client.Confirmer.
func (p *person) Confirm(_ context.Context, prompt client.Prompt) (string, error) {
	return prompt.Confirmation, nil
}
