package client

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"strings"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Signer signs with one key of a card. It implements [crypto.Signer]: every
// Sign asks for the PIN if the key needs one. It is valid as long as its
// Client is open; a card that was taken out and put back works again.
type Signer struct {
	client   *Client
	key      *inkanpb.Key
	public   crypto.PublicKey
	document string
}

// Signer returns the signer of a key. [ErrKeyNotFound] if no inserted card
// has it.
func (c *Client) Signer(ctx context.Context, keyID string) (*Signer, error) {
	keys, err := c.Keys(ctx)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if key.GetId() != keyID {
			continue
		}
		public, err := x509.ParsePKIXPublicKey(key.GetPublicKey())
		if err != nil {
			e := NewError(inkanpb.Reason_REASON_CARD_FAULT, c.language, map[string]string{"detail": "public key of " + keyID})
			return nil, e.because(fmt.Errorf("reading public key: %w", err))
		}
		return &Signer{client: c, key: key, public: public}, nil
	}
	return nil, NewError(inkanpb.Reason_REASON_KEY_NOT_FOUND, c.language, map[string]string{"key": keyID})
}

// ForDocument returns a signer of the same key whose prompts and records name
// this document.
func (s *Signer) ForDocument(name string) *Signer {
	c := *s
	c.document = name
	return &c
}

// Key returns what inkand said about the key.
func (s *Signer) Key() *inkanpb.Key { return s.key }

// Public returns the public key, an *rsa.PublicKey or *ecdsa.PublicKey.
func (s *Signer) Public() crypto.PublicKey { return s.public }

// Sign implements [crypto.Signer] with a context that does not end; inkand
// ends a prompt that nobody answers. The card uses its own random numbers, so
// the first argument is ignored.
func (s *Signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.SignContext(context.Background(), digest, opts)
}

// SignContext signs a digest. opts is a [crypto.Hash], or [*rsa.PSSOptions]
// with a salt as long as the hash (rsa.PSSSaltLengthEqualsHash, its number, or
// rsa.PSSSaltLengthAuto). SHA-1 and MD5 are [ErrAlgorithmRefused], other
// hashes [ErrAlgorithmMismatch]; nothing is then sent.
func (s *Signer) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	algorithm, err := s.algorithm(opts)
	if err != nil {
		return nil, err
	}
	signature, err := s.client.Sign(ctx, SignRequest{
		KeyID: s.key.GetId(), Algorithm: algorithm, Digest: digest, DocumentName: s.document,
	})
	return signature.Bytes, err
}

// algorithm finds the algorithm that opts ask for.
func (s *Signer) algorithm(opts crypto.SignerOpts) (inkanpb.Algorithm, error) {
	refuse := func(reason inkanpb.Reason, values ...string) (inkanpb.Algorithm, error) {
		metadata := map[string]string{}
		for i := 0; i+1 < len(values); i += 2 {
			metadata[values[i]] = values[i+1]
		}
		return 0, NewError(reason, s.client.language, metadata)
	}
	if opts == nil || opts.HashFunc() == 0 {
		return refuse(inkanpb.Reason_REASON_REQUEST_INVALID, "detail", "no hash: a digest is signed, never a document")
	}
	hash := opts.HashFunc()
	family := "ECDSA-"
	if _, ok := s.public.(*rsa.PublicKey); ok {
		family = "RSA-PKCS1-"
	}
	if pss, ok := opts.(*rsa.PSSOptions); ok {
		family = "RSA-PSS-"
		if l := pss.SaltLength; l != rsa.PSSSaltLengthAuto && l != rsa.PSSSaltLengthEqualsHash && l != hash.Size() {
			return refuse(inkanpb.Reason_REASON_REQUEST_INVALID, "detail", fmt.Sprintf("PSS salt of %d bytes: it must be as long as the hash", l))
		}
	}
	if hash == crypto.MD5SHA1 {
		return refuse(inkanpb.Reason_REASON_ALGORITHM_REFUSED, "algorithm", family+"MD5-SHA1")
	}
	name := family + strings.ReplaceAll(hash.String(), "-", "") // "SHA-256" is SHA256 in our names
	algorithm, known := ParseAlgorithm(name)
	if hash == crypto.MD5 || known && AlgorithmRefused(algorithm) {
		return refuse(inkanpb.Reason_REASON_ALGORITHM_REFUSED, "algorithm", name)
	}
	_, isRSA := s.public.(*rsa.PublicKey)
	if !known || isRSA != strings.HasPrefix(name, "RSA-") {
		return refuse(inkanpb.Reason_REASON_ALGORITHM_MISMATCH, "algorithm", name, "key_type", s.key.GetType())
	}
	return algorithm, nil
}
