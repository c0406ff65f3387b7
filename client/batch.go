package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// MaxBatch is how many documents one batch may have. Together with their names
// they must fit 64 KiB.
const MaxBatch = 256

// BatchRequest asks for the signatures of several documents with one key.
type BatchRequest struct {
	KeyID     string            // key identity, as [Client.Keys] gives it
	Algorithm inkanpb.Algorithm // one of the key's
	Documents []Document        // 1 to [MaxBatch], signed in this order
	RequestID string            // as in [SignRequest], of the batch as a whole
	Repeat    bool              // as in [SignRequest]
}

// Document is one document of a batch.
type Document struct {
	Digest []byte // made with the algorithm's hash
	Name   string // as [SignRequest].DocumentName
}

// BatchSignature is the signature of one document of a batch.
type BatchSignature struct {
	Index int // of the document in [BatchRequest].Documents
	Signature
}

// BatchError is why a batch ended before its last document, and what became of
// each: the list is exact. What is NotDone can be asked for in a new batch.
type BatchError struct {
	Done    []int // indexes of the documents that have a signature
	Unknown []int // nobody knows whether the card signed them; no signature came
	NotDone []int // no signature was made that anybody has
	Err     error // mostly a [*Error]
}

// Error implements error.
func (e *BatchError) Error() string {
	return fmt.Sprintf("%v (signed %d, not known %d, not signed %d)", e.Err, len(e.Done), len(e.Unknown), len(e.NotDone))
}

// Unwrap returns the error that ended the batch.
func (e *BatchError) Unwrap() error { return e.Err }

// SignBatch signs several documents. A person is asked for the PIN once, if the
// key needs one, and is shown how many documents there are and their names.
// Each signature is yielded as soon as it is released. The first failure ends
// the batch with a [*BatchError], and so do the end of ctx and a loop that stops.
//
// When the connection is lost the answer is asked for once inkand is back, as
// [Client.Sign] does it; nothing is signed by that.
func (c *Client) SignBatch(ctx context.Context, q BatchRequest) iter.Seq2[BatchSignature, error] {
	return func(yield func(BatchSignature, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		b := &batch{c: c, req: &inkanpb.SignBatchRequest{KeyId: q.KeyID, Algorithm: q.Algorithm}, yield: yield}
		var err error
		for _, d := range q.Documents {
			b.req.Documents = append(b.req.Documents, &inkanpb.BatchDocument{Digest: d.Digest, Name: d.Name})
			if err == nil {
				err = c.checkText("name", d.Name)
			}
		}
		if err == nil {
			err = b.ask(ctx, asked{id: q.RequestID, repeat: q.Repeat})
		}
		if err != nil && !b.enough {
			b.fail(err)
		}
	}
}

// batch is what came of a batch so far.
type batch struct {
	c      *Client
	req    *inkanpb.SignBatchRequest
	yield  func(BatchSignature, error) bool
	came   int               // signatures yielded: those of the first documents
	end    *inkanpb.BatchEnd // nil: it did not come
	enough bool              // the caller wants no more
}

// ask sends the batch, and asks for its answer where that did not come whole:
// after a loss of the connection, and when the call was ended meanwhile.
func (b *batch) ask(ctx context.Context, first asked) error {
	send := func(ctx context.Context, as asked) error {
		b.req.RequestId, b.req.Repeat = as.id, as.repeat
		return b.receive(ctx)
	}
	_, err := once(ctx, b.c, first, func(as asked) (*batch, error) { return b, send(b.c.agents.with(ctx), as) })
	if b.enough || b.end != nil || !errors.Is(err, ErrCallEnded) {
		return b.c.agents.after(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	told := send(ctx, asked{id: b.req.GetRequestId(), repeat: true})
	if e, ok := errors.AsType[*Error](err); ok && errors.Is(told, ErrRequestNotKnown) {
		return e.because(told) // nothing was begun
	}
	return err
}

// lastWord is how long a call that was ended waits for what became of its
// batch: the card finishes the signature that it is making.
const lastWord = 5 * time.Second

// receive yields the signatures that were not yielded yet.
func (b *batch) receive(ctx context.Context) error {
	b.end = nil
	stream, err := b.c.signing.SignBatch(ctx, b.req)
	if err != nil {
		return err
	}
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return b.whole()
		}
		if err != nil {
			return b.c.fromStatus(err)
		}
		if b.end = r.GetEnd(); b.end != nil {
			continue
		}
		s := r.GetSignature()
		if int(s.GetIndex()) != b.came { // a repeat begins at the first
			continue
		}
		b.came++
		signature := Signature{Bytes: s.GetSignature(), Record: s.GetRecord(), Warnings: s.GetWarnings()}
		if !b.yield(BatchSignature{int(s.GetIndex()), signature}, nil) {
			b.enough = true
			return nil
		}
	}
}

// whole checks that a batch that ended well is complete.
func (b *batch) whole() error {
	if b.came == len(b.req.GetDocuments()) {
		return nil
	}
	return NewError(inkanpb.Reason_REASON_INTERNAL, b.c.language, map[string]string{"detail": "the batch ended early"})
}

// fail yields the error with what is known of each document. Without inkand's
// own word that is what came, and whether anything was begun.
func (b *batch) fail(err error) {
	all := len(b.req.GetDocuments())
	done, unknown := b.came, all-b.came
	switch {
	case b.end != nil:
		done, unknown = int(b.end.GetDone()), int(b.end.GetUnknown())
	case errors.Is(err, ErrRequestNotKnown), !errors.Is(err, ErrServiceUnreachable) && !errors.Is(err, ErrCallEnded):
		unknown = 0
	}
	e := &BatchError{Err: err}
	for i := range all {
		switch {
		case i < done:
			e.Done = append(e.Done, i)
		case i < done+unknown:
			e.Unknown = append(e.Unknown, i)
		default:
			e.NotDone = append(e.NotDone, i)
		}
	}
	b.yield(BatchSignature{}, e)
}
