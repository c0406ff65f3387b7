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
// [Options].PIN. The request is sent once: after an error a try may have been
// spent, which the error says where it is known.
func (c *Client) Sign(ctx context.Context, q SignRequest) (Signature, error) {
	if err := c.checkText("document_name", q.DocumentName); err != nil {
		return Signature{}, err
	}
	r, err := c.signing.Sign(c.agents.with(ctx), &inkanpb.SignRequest{
		KeyId:        q.KeyID,
		Algorithm:    q.Algorithm,
		Digest:       q.Digest,
		DocumentName: q.DocumentName,
	})
	if err := c.agents.after(err); err != nil {
		return Signature{}, err
	}
	return Signature{Bytes: r.GetSignature(), Record: r.GetRecord(), Warnings: r.GetWarnings()}, nil
}
