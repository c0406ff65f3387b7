package client

import (
	"context"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// SignRequest asks for one signature.
type SignRequest struct {
	KeyID     string            // key identity, as [Client.Keys] gives it
	Algorithm inkanpb.Algorithm // one of the key's
	Digest    []byte            // of the document, made with the algorithm's hash
	// DocumentName is shown to the person and kept in the log, 256 characters
	// at most.
	DocumentName string
	// RequestID is the program's own name for this signature, at most 64
	// printable ASCII characters without spaces; empty: a new one is made.
	// Within 24 hours the same program gets for the same request under the same
	// name what it got the first time, and no second signature is made: so a
	// program that was interrupted can ask again.
	RequestID string
	// Repeat asks for the answer to RequestID alone: nothing is begun, and
	// nobody is asked for a PIN. [ErrRequestNotKnown]: there is none.
	Repeat bool
}

// Signature is what [Client.Sign] returns.
type Signature struct {
	// Bytes is the signature: for RSA as long as the modulus, for ECDSA ASN.1
	// DER (RFC 3279 section 2.2.3).
	Bytes []byte
	// Record is the number of this signature's record in the log.
	Record uint64
	// Warnings are stable codes (INK-6001): things to know although it was
	// signed. [Explain] has their words.
	Warnings []string
}

// Sign signs one digest. If the key needs a PIN it is asked for, once; see
// [Options].PIN. It is done once: when the connection is lost during the call,
// the answer is asked for once inkand is back, and nothing else is sent. After
// an error a try may have been spent, which the error says where it is known.
func (c *Client) Sign(ctx context.Context, q SignRequest) (Signature, error) {
	if err := c.checkText("document_name", q.DocumentName); err != nil {
		return Signature{}, err
	}
	r, err := once(ctx, c, asked{id: q.RequestID, repeat: q.Repeat}, func(as asked) (*inkanpb.SignResponse, error) {
		return c.signing.Sign(c.agents.with(ctx), &inkanpb.SignRequest{
			KeyId:        q.KeyID,
			Algorithm:    q.Algorithm,
			Digest:       q.Digest,
			DocumentName: q.DocumentName,
			RequestId:    as.id,
			Repeat:       as.repeat,
		})
	})
	if err := c.agents.after(err); err != nil {
		return Signature{}, err
	}
	return Signature{Bytes: r.GetSignature(), Record: r.GetRecord(), Warnings: r.GetWarnings()}, nil
}
