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
		func(rec audit.Record) (Signature, error) {
			again, err := b.signedBefore(caller, rec)
			if err == nil {
				caller.afterSend(again.Left)
			}
			return again.Signature, err
		})
}

// signedBefore begins to let out a signature once more. Its record is durable;
// whether it may leave is asked as it was the first time.
func (b *Broker) signedBefore(caller Caller, rec audit.Record) (Signed, error) {
	a, err := answerIn(rec)
	if err != nil {
		return Signed{}, err
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
		return Signed{}, err
	}
	signature := Signature{Bytes: a.Signature, Record: rec.Sequence, Warning: token.CertificateState(a.Certificate)}
	return Signed{Signature: signature, Left: left}, nil
}

// sign makes the signature of a request that was not done before.
func (b *Broker) sign(ctx context.Context, caller Caller, req SignRequest, t *turn) (Signature, error) {
	with, err := b.signer(ctx, req.Key, req.Algorithm, req.Digest)
	if err != nil {
		return Signature{}, err
	}
	out := Signature{Warning: with.state}
	op := b.signing(caller, with, "sign", []string{req.DocumentName}, t)
	op.releases = true
	op.record.Digest, op.record.DocumentName = req.Digest, req.DocumentName
	op.answer = func() answer { return answer{Signature: out.Bytes, Certificate: uint8(with.state)} }
	op.begin = with.begin(req.Digest)
	op.work = func(ctx context.Context, lease cardowner.Lease) error {
		var err error
		out.Bytes, err = with.sign(ctx, lease, req.Digest)
		return err
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

// signer is a key that may sign now.
type signer struct {
	key       token.Key
	card      cardowner.Card
	algorithm token.Algorithm
	public    crypto.PublicKey       // as registered
	state     token.CertificateState // of the certificate, worth a warning, or 0
}

// signer returns a key for these digests, or why it may not sign them.
func (b *Broker) signer(ctx context.Context, id token.KeyID, algorithm token.Algorithm, digests ...[]byte) (signer, error) {
	key, card, err := b.Key(ctx, id)
	if err != nil {
		return signer{}, err
	}
	for _, digest := range digests {
		if err := token.CheckRequest(key.Public, algorithm, digest); err != nil {
			return signer{}, err
		}
	}
	state, err := b.usable(key)
	if err != nil {
		return signer{}, err
	}
	public, err := b.registered(ctx, key)
	return signer{key, card, algorithm, public, state}, err
}

// begin begins one signature with a token that wants that.
func (s signer) begin(digest []byte) func(context.Context, token.Beginner) (bool, error) {
	return func(ctx context.Context, tok token.Beginner) (bool, error) {
		return tok.Begin(ctx, s.key, s.algorithm, digest)
	}
}

// sign makes one signature and checks it.
func (s signer) sign(ctx context.Context, lease cardowner.Lease, digest []byte) ([]byte, error) {
	sig, err := lease.Sign(ctx, s.key, s.algorithm, digest)
	if err != nil {
		return nil, err
	}
	failpoint.Hit(failpoint.Signed)
	if err := token.CheckSignature(s.public, s.algorithm, digest, sig); err != nil {
		return nil, err
	}
	failpoint.Hit(failpoint.Checked)
	return sig, nil
}

// signing prepares what one signature and many have in common.
func (b *Broker) signing(caller Caller, with signer, name string, documents []string, t *turn) *operation {
	op := b.operation(caller, with.card, name, t)
	if with.key.PINPolicy != token.PINNever {
		op.secret, op.send = token.SecretPIN, sendVerify
	}
	op.prompt.Purpose = "sign"
	op.prompt.KeyLabel, op.prompt.DocumentCount, op.prompt.DocumentNames = with.key.Label, len(documents), documents
	op.record.Key, op.record.Algorithm = with.key.ID, with.algorithm.String()
	return op
}

// operation prepares what all use cases of a card have in common.
func (b *Broker) operation(caller Caller, card cardowner.Card, name string, t *turn) *operation {
	id := card.Identity.Card
	rec := caller.record(name, id)
	rec.Virtual, rec.Request = card.Virtual, t.request
	op := &operation{
		b: b, caller: caller, card: card, turn: t, record: rec,
		prompt: prompt.Request{
			Agent: caller.Agent, UID: caller.UID, Program: caller.Program, PID: caller.PID,
			Ask: prompt.AskPIN, Card: id, Company: b.company(card), Purpose: name,
			Format: card.Profile.PIN, Virtual: card.Virtual, Timeout: b.cfg.PromptTimeout,
		},
	}
	op.use = op.useCard
	return op
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
