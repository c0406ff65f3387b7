package broker

import (
	"context"
	"crypto"
	"encoding/hex"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/failpoint"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/token"
)

// SignRequest asks for one signature.
type SignRequest struct {
	Key          token.KeyID
	Algorithm    token.Algorithm
	Digest       []byte
	DocumentName string // as given by the program
}

// Signature is a signature that may be released.
type Signature struct {
	Bytes   []byte                 // RSA: modulus length, big-endian; ECDSA: ASN.1 DER
	Record  uint64                 // its record in the log
	Warning token.CertificateState // state of the certificate worth a warning, or 0
}

// Sign makes one signature. It returns a [*token.Error]; nothing was released
// then.
func (b *Broker) Sign(ctx context.Context, caller Caller, req SignRequest) (Signature, error) {
	rec := caller.record("sign", req.Key.Card())
	rec.Key, rec.Digest, rec.DocumentName = req.Key, req.Digest, req.DocumentName
	return once(ctx, b, caller, rec, []string{string(req.Key), req.Algorithm.String(), string(req.Digest), req.DocumentName},
		func(t *turn) (Signature, error) { return b.sign(ctx, caller, req, t) },
		func(rec audit.Record) (Signature, error) { return b.signedBefore(caller, rec) })
}

// signedBefore lets out a signature once more. Its record is durable; whether
// it may leave is asked as it was the first time.
func (b *Broker) signedBefore(caller Caller, rec audit.Record) (Signature, error) {
	a, err := answerIn(rec)
	if err != nil {
		return Signature{}, err
	}
	left, err := b.stops.release(rec.Card)
	if err == nil {
		if err = caller.check(); err != nil {
			left()
		}
	}
	if err != nil {
		again := caller.record(rec.Operation, rec.Card)
		again.Key, again.Digest, again.DocumentName, again.Virtual = rec.Key, rec.Digest, rec.DocumentName, rec.Virtual
		again.Detail = "a repeat of the request"
		b.refused(again, err)
		return Signature{}, err
	}
	caller.afterSend(left)
	return Signature{Bytes: a.Signature, Record: rec.Sequence, Warning: token.CertificateState(a.Certificate)}, nil
}

// sign makes the signature of a request that was not done before.
func (b *Broker) sign(ctx context.Context, caller Caller, req SignRequest, t *turn) (Signature, error) {
	key, card, err := b.Key(ctx, req.Key)
	if err != nil {
		return Signature{}, err
	}
	if err := token.CheckRequest(key.Public, req.Algorithm, req.Digest); err != nil {
		return Signature{}, err
	}
	state, err := b.usable(key)
	if err != nil {
		return Signature{}, err
	}
	public, err := b.registered(ctx, key)
	if err != nil {
		return Signature{}, err
	}
	out := Signature{Warning: state}
	op := b.operation(caller, card, "sign", t)
	if key.PINPolicy != token.PINNever {
		op.secret, op.send = token.SecretPIN, sendVerify
		op.begin = func(ctx context.Context, tok token.Beginner) (bool, error) {
			return tok.Begin(ctx, key, req.Algorithm, req.Digest)
		}
	}
	op.releases = true
	op.prompt.KeyLabel, op.prompt.DocumentCount = key.Label, 1
	op.prompt.DocumentNames = []string{req.DocumentName}
	op.record.Key, op.record.Algorithm = key.ID, req.Algorithm.String()
	op.record.Digest, op.record.DocumentName = req.Digest, req.DocumentName
	op.answer = func() answer { return answer{Signature: out.Bytes, Certificate: uint8(state)} }
	op.work = func(ctx context.Context, lease cardowner.Lease) error {
		sig, err := lease.Sign(ctx, key, req.Algorithm, req.Digest)
		if err != nil {
			return err
		}
		failpoint.Hit(failpoint.Signed)
		if err := token.CheckSignature(public, req.Algorithm, req.Digest, sig); err != nil {
			return err
		}
		failpoint.Hit(failpoint.Checked)
		out.Bytes = sig
		return nil
	}
	err = op.run(ctx)
	if err == nil {
		err = caller.check()
	}
	if err != nil {
		op.left()
		return Signature{}, err
	}
	caller.afterSend(op.left)
	out.Record = op.done
	return out, nil
}

// operation prepares what all use cases of a card have in common.
func (b *Broker) operation(caller Caller, card cardowner.Card, name string, t *turn) *operation {
	id := card.Identity.Card
	rec := caller.record(name, id)
	rec.Virtual, rec.Request = card.Virtual, t.request
	return &operation{
		b: b, caller: caller, card: card, turn: t, record: rec,
		prompt: prompt.Request{
			Agent: caller.Agent, UID: caller.UID, Program: caller.Program, PID: caller.PID,
			Ask: prompt.AskPIN, Card: id, Company: b.company(card), Purpose: name,
			Format: card.Profile.PIN, Virtual: card.Virtual, Timeout: b.cfg.PromptTimeout,
		},
	}
}

// record is what all records of a call say of it.
func (c Caller) record(operation string, card token.CardID) audit.Record {
	return audit.Record{Operation: operation, HasUID: true, UID: c.UID, PID: c.PID, Program: c.Program, Card: card}
}

// usable refuses certificates that are not valid by their dates, and returns
// the state where it is worth a warning.
func (b *Broker) usable(key token.Key) (token.CertificateState, error) {
	if key.DecryptOnly {
		return 0, token.NewError(token.KindKeyDecryptsOnly)
	}
	_, state := b.Certificate(key)
	switch state {
	case token.CertificateNotYetValid:
		return 0, token.NewError(token.KindCertificateNotYetValid)
	case token.CertificateExpired:
		return 0, token.NewError(token.KindCertificateExpired)
	case token.CertificateSuspended:
		return 0, token.NewError(token.KindCertificateSuspended)
	case token.CertificateRevoked:
		return 0, token.NewError(token.KindCertificateRevoked)
	case token.CertificateGood:
		return 0, nil
	case token.CertificateExpiring, token.CertificateUnknown:
	}
	return state, nil
}

// registered returns the public key that the register has for a key identity.
func (b *Broker) registered(ctx context.Context, key token.Key) (crypto.PublicKey, error) {
	known, ok, err := b.cfg.Register.Key(ctx, key.ID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, token.Errorf(token.KindInternal, "key %s is not registered", hex.EncodeToString([]byte(key.ID)[:8]))
	}
	return known.Public, nil
}
