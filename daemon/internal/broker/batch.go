package broker

import (
	"context"
	"errors"
	"sync"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/failpoint"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// signBatch is the operation of the records of a batch.
const signBatch = "sign-batch"

// MaxBatch is how many documents a batch may have: a card is held for all of
// them.
const MaxBatch = 256

// BatchRequest is the manifest of a batch: what one person agrees to with one
// PIN, and nothing besides.
type BatchRequest struct {
	Key       token.KeyID
	Algorithm token.Algorithm
	Documents []Document
}

// Document is one document of a batch.
type Document struct {
	Digest []byte
	Name   string // as given by the program
}

// Signed is a signature of a batch that may leave.
type Signed struct {
	Index     int // of the document
	Signature Signature
	Left      func() // must be called once it has left, or cannot leave any more
}

// BatchEnd says what became of each document, in the order of the manifest: so
// many have a signature in the log, of the next so many nobody knows, the
// others have none.
type BatchEnd struct {
	Done, Unknown, NotDone int
}

// SignBatch signs all documents in one use of the card and hands each signature
// to send as soon as its record is durable. send must not wait. The first
// failure ends the batch, and so does the end of ctx; the end tells how far it
// got, whatever the error.
func (b *Broker) SignBatch(ctx context.Context, caller Caller, req BatchRequest, send func(Signed)) (BatchEnd, error) {
	end := BatchEnd{NotDone: len(req.Documents)}
	if n := len(req.Documents); n == 0 || n > MaxBatch {
		return end, token.Errorf(token.KindRequestInvalid, "documents: 1 to %d", MaxBatch)
	}
	fields := []string{string(req.Key), req.Algorithm.String()}
	for _, d := range req.Documents {
		fields = append(fields, string(d.Digest), d.Name)
	}
	rec := caller.record(signBatch, req.Key.Card())
	rec.Key = req.Key
	type nothing struct{} // what there is to say of a refusal, too, is in end
	_, err := once(ctx, b, caller, rec, fields,
		func(t *turn) (_ nothing, err error) {
			end, err = b.batch(ctx, caller, req, t, send)
			return nothing{}, err
		},
		func(rec audit.Record) (_ nothing, err error) {
			end, err = b.batchBefore(ctx, caller, rec, len(req.Documents), send)
			return nothing{}, err
		})
	return end, err
}

// batch does a batch that was not done before.
func (b *Broker) batch(ctx context.Context, caller Caller, req BatchRequest, t *turn, send func(Signed)) (BatchEnd, error) {
	var digests [][]byte
	var names []string
	for _, d := range req.Documents {
		digests, names = append(digests, d.Digest), append(names, d.Name)
	}
	with, err := b.signer(ctx, req.Key, req.Algorithm, digests...)
	if err != nil {
		return BatchEnd{NotDone: len(req.Documents)}, err
	}
	s := &batch{
		op: b.signing(caller, with, signBatch, names, t), call: ctx, with: with, documents: req.Documents, send: send,
		always: with.key.PINPolicy == token.PINAlways,
	}
	s.op.use = s.use
	err = s.op.run(ctx)
	return endOf(len(req.Documents), s.done, s.unknown()), err
}

func endOf(documents, done, unknown int) BatchEnd {
	return BatchEnd{Done: done, Unknown: unknown, NotDone: documents - done - unknown}
}

// batch is many signatures in one use of a card.
//
// While the card makes one signature the result of the one before is made
// durable, together with the intent of the next, and let out: so the card need
// not wait for the disk. A key that wants its PIN for each signature waits for the
// next intent all the same, because its try is spent only after all went well
// so far.
type batch struct {
	op        *operation
	call      context.Context //nolint:containedctx // of the caller: the use of a card has one that does not end
	with      signer
	documents []Document
	always    bool // the key wants VERIFY before each signature
	begins    bool // it may want the PIN once more when a signature has begun
	send      func(Signed)

	intents []uint64       // records, of the documents that have one
	begun   int            // documents whose intent may be in the log
	done    int            // documents whose result is
	made    []byte         // signature of document done, not recorded yet
	attempt *token.Attempt // without a verdict in the journal, or nil
	verdict token.Verdict
	broken  bool // journal or log
}

// unknown is how many documents there are of which nobody knows.
func (s *batch) unknown() int {
	if s.broken {
		return s.begun - s.done
	}
	return 0
}

// use is everything that happens in the use of the card.
func (s *batch) use(ctx context.Context, lease cardowner.Lease) error {
	op := s.op
	if err := op.ready(lease.OnCard); err != nil {
		return err
	}
	if _, begins := lease.Token.(token.Beginner); begins && op.secret != 0 {
		s.always, s.begins = false, true
	}
	failpoint.Hit(failpoint.BeforeIntent)
	if err := s.intend(lease.OnCard, 0); err != nil {
		return err
	}
	op.turn.intent, op.done = s.intents[0], s.intents[0]
	failpoint.Hit(failpoint.BeforeSecret)
	var failure error
	for i := 0; i < len(s.documents) && failure == nil; i++ {
		failure = s.document(ctx, lease, i)
	}
	if s.broken {
		return failure
	}
	err := s.conclude(failure)
	failpoint.Hit(failpoint.Recorded)
	return err
}

// document makes one signature. The intent is durable.
func (s *batch) document(ctx context.Context, lease cardowner.Lease, i int) error {
	if err := s.may(); err != nil {
		return err
	}
	if s.always && i > 0 {
		if err := s.op.b.cfg.Guard.Admit(s.op.account(lease.OnCard), s.op.entered.who); err != nil {
			return err
		}
		if err := s.intend(lease.OnCard, i); err != nil {
			return err
		}
	}
	if err := s.prove(ctx, lease, i); err != nil {
		return err
	}
	var writing sync.WaitGroup
	var unwritten error
	writing.Go(func() { unwritten = s.beside(i) })
	signature, err := s.with.sign(ctx, lease, s.documents[i].Digest)
	writing.Wait()
	if unwritten != nil {
		return unwritten
	}
	if err == nil {
		s.made = signature
	}
	return err
}

// prove sends the PIN where signature i wants it.
func (s *batch) prove(ctx context.Context, lease cardowner.Lease, i int) (err error) {
	op := s.op
	if op.secret == 0 {
		return nil
	}
	if s.always || i == 0 {
		if s.verdict, err = op.prove(ctx, lease, s.attempt); err != nil {
			return err
		}
	}
	if s.begins {
		op.begin = s.with.begin(s.documents[i].Digest)
		if s.attempt, s.verdict, err = op.proveAgain(ctx, lease, s.attempt, s.verdict); err != nil {
			return err
		}
	}
	if !s.always && !s.begins || i == len(s.documents)-1 {
		op.entered.wipe()
	}
	return op.b.stops.check(op.id())
}

// may returns why the next signature must not be begun, or nil.
func (s *batch) may() error {
	if err := s.call.Err(); err != nil {
		return token.NewError(token.KindCallEnded).Because(context.Cause(s.call))
	}
	return errors.Join(s.op.b.stops.check(s.op.id()), s.op.caller.check())
}

// intend makes the intent of a document durable, with its try.
func (s *batch) intend(onCard token.Tries, i int) error {
	guard := s.op.b.cfg.Guard
	if s.op.secret == 0 {
		return s.intent(i, guard.Mark)
	}
	err := s.intent(i, func(mark pinguard.AuditMark) (err error) {
		s.attempt, err = guard.Debit(s.op.account(onCard), s.op.entered.who, mark)
		return err
	})
	if err != nil && s.attempt != nil {
		err = errors.Join(err, s.op.b.ledger.abandon(s.attempt))
	}
	return err
}

// beside writes what need not be waited for while the card makes signature i.
func (s *batch) beside(i int) error {
	if s.attempt != nil { // the next try cannot be spent before
		if err := s.op.b.ledger.settle(s.attempt, s.verdict); err != nil {
			s.broken = true
			return err
		}
		s.attempt = nil
	}
	next := i + 1
	if s.always || next == len(s.documents) {
		next = 0
	}
	return s.result(next)
}

// conclude ends the batch: what was made is recorded and let out, and what was
// begun and not made has a result too.
func (s *batch) conclude(failure error) error {
	var tries token.Tries
	if s.attempt != nil { // it was what failed
		tries = token.KnownTries(s.op.b.cfg.Guard.After(s.attempt, s.verdict).Left)
		if e, ok := errors.AsType[*token.Error](failure); ok {
			failure = e.WithTries(tries)
		}
	}
	if err := s.result(0); err != nil && (s.broken || failure == nil) {
		failure = err
	}
	if failure == nil || s.broken {
		return failure
	}
	for i := s.done; i < len(s.intents); i++ {
		if err := s.failed(i, failure, tries); err != nil {
			return err
		}
	}
	return failure
}

// slot gives the journal the verdict where it has none, else a mark.
func (s *batch) slot(mark pinguard.AuditMark) error {
	if s.attempt == nil {
		return s.op.b.cfg.Guard.Mark(mark)
	}
	attempt := s.attempt
	s.attempt = nil
	return s.op.b.cfg.Guard.Settle(attempt, s.verdict, mark)
}
