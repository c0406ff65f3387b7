package clienttest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Conformance checks what a client may rely on, with a fresh inkand for each
// part: its card as [CardPIN] and [CardUnlockCode] say, full tries, and the
// caller a signer and administrator. start returns the way to it.
func Conformance(t *testing.T, start func(t *testing.T) client.Options) {
	for name, part := range map[string]func(t *testing.T, h *here){
		"keys and certificates":             keysAndCertificates,
		"signatures":                        signatures,
		"wrong PINs are counted":            wrongPINs,
		"what spends no try":                freeRefusals,
		"a locked card is unlocked":         lockAndUnlock,
		"a card that is stopped and lifted": stopAndLift,
		"a watch sees each change":          watching,
		"who answers":                       service,
	} {
		t.Run(name, func(t *testing.T) { part(t, &here{T: t, options: start(t)}) })
	}
}

// here is one part with its inkand.
type here struct {
	*testing.T
	options client.Options
}

func (h *here) client(pin client.PINSource) *client.Client {
	h.Helper()
	o := h.options
	o.PIN = pin
	c, err := client.Dial(h.Context(), o)
	if err != nil {
		h.Fatalf("dialling: %v", err)
	}
	h.Cleanup(func() { _ = c.Close() })
	return c
}

func (h *here) key(c *client.Client, slot string) *inkanpb.Key {
	h.Helper()
	keys, err := c.Keys(h.Context())
	if err != nil {
		h.Fatalf("listing keys: %v", err)
	}
	for _, k := range keys {
		if k.GetSlot() == slot {
			return k
		}
	}
	h.Fatalf("no key in slot %s of %d keys", slot, len(keys))
	return nil
}

func (h *here) card(c *client.Client) *inkanpb.CardStatus {
	h.Helper()
	status, err := c.Status(h.Context())
	if err != nil || len(status.GetCards()) != 1 {
		h.Fatalf("got %v, %v; want a status with one card", status, err)
	}
	return status.GetCards()[0]
}

// sign makes one signature that must verify.
func (h *here) sign(c *client.Client, key *inkanpb.Key) error {
	h.Helper()
	digest := sha256.Sum256([]byte("入札書"))
	algorithm := inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256
	if key.GetType()[0] == 'R' {
		algorithm = inkanpb.Algorithm_ALGORITHM_RSA_PSS_SHA256
	}
	got, err := c.Sign(h.Context(), client.SignRequest{KeyID: key.GetId(), Algorithm: algorithm, Digest: digest[:], DocumentName: "入札書.pdf"})
	if err != nil {
		return err
	}
	public, err := x509.ParsePKIXPublicKey(key.GetPublicKey())
	if err != nil {
		return err
	}
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(public, digest[:], got.Bytes) {
			return errors.New("the signature does not verify")
		}
	case *rsa.PublicKey:
		return rsa.VerifyPSS(public, crypto.SHA256, digest[:], got.Bytes, nil)
	}
	if got.Record == 0 {
		return errors.New("the signature has no record")
	}
	return nil
}

// refused checks the reason and what comes with it.
func (h *here) refused(what string, err, want error, tries int) {
	h.Helper()
	e, ok := errors.AsType[*client.Error](err)
	if !ok || !errors.Is(err, want) {
		h.Errorf("%s: got %v, want %v", what, err, want)
		return
	}
	ja, nextJA := e.In("ja")
	en, nextEN := e.In("en")
	if ja == "" || en == "" || ja == en || nextJA == "" || nextEN == "" || e.Code == "" {
		h.Errorf("%s: texts %q, %q, %q, %q, code %q; want all of them", what, ja, nextJA, en, nextEN, e.Code)
	}
	if tries >= 0 && (!e.TriesKnown || e.TriesLeft != tries) || tries < 0 && e.TriesKnown {
		h.Errorf("%s: %d tries left, known %t; want %d", what, e.TriesLeft, e.TriesKnown, tries)
	}
}

// noTries is the number of tries of an error that is not about any.
const noTries = -1

func keysAndCertificates(t *testing.T, h *here) {
	c := h.client(nil)
	for slot, policy := range map[string]inkanpb.PinPolicy{
		"9a": inkanpb.PinPolicy_PIN_POLICY_ONCE, "9c": inkanpb.PinPolicy_PIN_POLICY_ALWAYS, "9e": inkanpb.PinPolicy_PIN_POLICY_NEVER,
	} {
		key := h.key(c, slot)
		if key.GetPinPolicy() != policy || !key.GetVirtual() || len(key.GetAlgorithms()) == 0 || len(key.GetCertificate().GetDer()) != 0 {
			t.Errorf("key %s is %v", slot, key)
		}
		certificate, err := c.Certificate(t.Context(), key.GetId())
		if err != nil {
			t.Errorf("certificate of %s: %v", slot, err)
			continue
		}
		if parsed, err := x509.ParseCertificate(certificate.GetDer()); err != nil || string(parsed.RawSubjectPublicKeyInfo) != string(key.GetPublicKey()) {
			t.Errorf("certificate of %s is not that of its key: %v", slot, err)
		}
	}
	_, err := c.Certificate(t.Context(), "none")
	h.refused("an unknown key", err, client.ErrKeyNotFound, noTries)
}

func signatures(t *testing.T, h *here) {
	c := h.client(PIN(CardPIN))
	for _, slot := range []string{"9a", "9c", "9e"} {
		if err := h.sign(c, h.key(c, slot)); err != nil {
			t.Errorf("signing with %s: %v", slot, err)
		}
	}
	records, err := c.LastRecords(t.Context(), 1)
	if err != nil || len(records) != 1 || records[0].GetDocumentName() != "入札書.pdf" || records[0].GetOutcome() != "OK" {
		t.Errorf("got newest record %v, %v; want that of the signature", records, err)
	}
	if _, err := c.VerifyPIN(t.Context(), h.card(c).GetId()); err != nil {
		t.Errorf("verifying: %v", err)
	}
}

func wrongPINs(t *testing.T, h *here) {
	c := h.client(PIN("654321"))
	h.refused("a wrong PIN", h.sign(c, h.key(c, "9a")), client.ErrPINWrong, 9)
	if pin := h.card(c).GetPin(); pin.GetTriesLeft() != 9 || !pin.GetTriesKnown() {
		t.Errorf("status shows %v, want 9 tries", pin)
	}
	right := h.client(PIN(CardPIN))
	if err := h.sign(right, h.key(right, "9a")); err != nil {
		t.Errorf("the right PIN: %v", err)
	}
	if pin := h.card(c).GetPin(); pin.GetTriesLeft() != 10 {
		t.Errorf("status shows %v, want 10 tries", pin)
	}
}

func freeRefusals(t *testing.T, h *here) {
	none := h.client(nil)
	key := h.key(none, "9a")
	h.refused("nobody to ask", h.sign(none, key), client.ErrNoPINAgent, noTries)
	no := h.client(PINFunc(func(context.Context, client.Prompt, []byte) (int, error) { return 0, client.ErrCancel }))
	h.refused("a person's no", h.sign(no, key), client.ErrPromptCancelled, noTries)
	h.refused("five digits", h.sign(h.client(PIN("12345")), key), client.ErrPINMalformed, noTries)
	_, err := none.Sign(t.Context(), client.SignRequest{KeyID: key.GetId(), Algorithm: key.GetAlgorithms()[0], Digest: []byte("short")})
	h.refused("a digest that is none", err, client.ErrDigestLength, noTries)
	_, err = none.VerifyPIN(t.Context(), "no-such-card")
	h.refused("an unknown card", err, client.ErrCardNotFound, noTries)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = none.Status(ctx)
	h.refused("a caller that gave up", err, client.ErrCallEnded, noTries)
	if pin := h.card(none).GetPin(); pin.GetTriesLeft() != 10 {
		t.Errorf("status shows %v, want 10 tries", pin)
	}
}

// everything gives another wrong PIN to each prompt, and knows the rest.
type everything struct{ given int }

func (e *everything) PIN(_ context.Context, _ client.Prompt, buf []byte) (int, error) {
	e.given++
	return copy(buf, []byte{'7', '0', '0', '0', '0', byte('0' + e.given%10)}), nil
}

func (e *everything) Secret(ctx context.Context, p client.Prompt, buf []byte) (int, error) {
	if p.Secret == inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE {
		return copy(buf, CardUnlockCode), nil
	}
	return copy(buf, "39174628"), nil
}

func (e *everything) Confirm(_ context.Context, p client.Prompt) (string, error) {
	return p.Confirmation, nil
}

func lockAndUnlock(t *testing.T, h *here) {
	c := h.client(&everything{})
	id := h.card(c).GetId()
	var err error
	for left := 9; left > 0; left-- {
		_, err = c.VerifyPIN(t.Context(), id)
		h.refused("a wrong PIN", err, client.ErrPINWrong, left)
	}
	if _, err = c.VerifyPIN(t.Context(), id); err == nil {
		t.Error("the tenth wrong PIN was right")
	}
	_, err = c.VerifyPIN(t.Context(), id)
	if !errors.Is(err, client.ErrCardLocked) || h.card(c).GetState() != inkanpb.CardState_CARD_STATE_LOCKED {
		t.Errorf("got %v and state %s, want a locked card", err, h.card(c).GetState())
	}
	if _, err := c.Unlock(t.Context(), id); err != nil {
		t.Fatalf("unlocking: %v", err)
	}
	if card := h.card(c); card.GetState() != inkanpb.CardState_CARD_STATE_READY || card.GetPin().GetTriesLeft() != 10 {
		t.Errorf("after unlocking: %v", card)
	}
	if _, err := h.client(PIN("39174628")).VerifyPIN(t.Context(), id); err != nil {
		t.Errorf("the new PIN: %v", err)
	}
}

func stopAndLift(t *testing.T, h *here) {
	c := h.client(PIN(CardPIN))
	card := h.card(c)
	serial := card.GetSerial()
	if _, err := c.StopHere(t.Context(), card.GetId(), serial[len(serial)-4:], "lost"); err != nil {
		t.Fatalf("stopping: %v", err)
	}
	h.refused("a stopped card", h.sign(c, h.key(c, "9a")), client.ErrCardStoppedHere, noTries)
	if _, err := c.Lift(t.Context(), card.GetId(), "found"); err != nil {
		t.Fatalf("lifting: %v", err)
	}
	if err := h.sign(c, h.key(c, "9a")); err != nil {
		t.Errorf("after lifting: %v", err)
	}
	_, err := c.Lift(t.Context(), card.GetId(), "again")
	h.refused("lifting twice", err, client.ErrCardNotStopped, noTries)
}

func watching(t *testing.T, h *here) {
	wrong := h.client(PIN("654321"))
	key := h.key(wrong, "9a")
	var last uint64
	for u, err := range h.client(nil).Watch(t.Context()) {
		if err = errors.Join(err, u.Lost); err != nil {
			t.Fatal(err)
		}
		if u.Sequence <= last && last != 0 {
			t.Errorf("sequence %d follows %d", u.Sequence, last)
		}
		first := last == 0
		last = u.Sequence
		if u.Status.GetCards()[0].GetPin().GetTriesLeft() == 9 {
			return
		}
		if first {
			h.refused("a wrong PIN", h.sign(wrong, key), client.ErrPINWrong, 9)
		}
	}
}

func service(t *testing.T, h *here) {
	s, err := h.client(nil).Service(t.Context())
	if err != nil || s.APILevel != inkanpb.APILevel || s.Version == "" {
		t.Errorf("got %+v, %v; want API level %d and a version", s, err, inkanpb.APILevel)
	}
}
