package piv

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/inkan-project/inkan/pcsc/apdu"
	"github.com/inkan-project/inkan/token"
)

// Dynamic authentication template (SP 800-73-5 part 2 section 3.2.4).
const (
	tagTemplate  = 0x7C
	tagChallenge = 0x81 // here: what the key operates on
	tagResponse  = 0x82 // empty in the command: a signature is wanted
)

// algorithmIdentifier returns P1 of GENERAL AUTHENTICATE (SP 800-78-5 section
// 6.2, table 9).
func algorithmIdentifier(public crypto.PublicKey) (byte, bool) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		switch k.N.BitLen() {
		case 2048:
			return 0x07, true
		case 3072:
			return 0x05, true
		}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return 0x11, true
		case elliptic.P384():
			return 0x14, true
		}
	}
	return 0, false
}

// Sign makes a signature by GENERAL AUTHENTICATE. It returns a [*token.Error]:
// before anything is sent when the request does not fit the key or the card is
// not the key's, or [token.KindCardFault] with the status word, which is 6982
// when the card wants the PIN first.
func (t *Token) Sign(ctx context.Context, key token.Key, algorithm token.Algorithm, digest []byte) ([]byte, error) {
	if t.id == "" {
		return nil, errNotIdentified
	}
	if key.Card != t.id {
		return nil, token.NewError(token.KindCardChanged, "card", string(key.Card))
	}
	s, ok := slotNamed(key.Slot)
	if !ok {
		return nil, token.NewError(token.KindKeyNotFound, "key", string(key.ID))
	}
	if !s.signs {
		return nil, token.NewError(token.KindKeyDecryptsOnly)
	}
	block, err := algorithm.Block(key.Public, digest, nil)
	if err != nil {
		return nil, err
	}
	identifier, ok := algorithmIdentifier(key.Public)
	if !ok {
		keyType, _ := token.TypeOf(key.Public)
		return nil, token.NewError(token.KindAlgorithmMismatch, "algorithm", algorithm.String(), "key_type", keyType)
	}
	signature, err := t.authenticate(ctx, identifier, s.reference, block)
	if err == nil {
		err = checkForm(key.Public, signature)
	}
	if err != nil {
		return nil, fault("signing", err)
	}
	return signature, nil
}

// authenticate has a key operate on a block. Errors are not yet mapped.
func (t *Token) authenticate(ctx context.Context, algorithm, reference byte, block []byte) ([]byte, error) {
	template := apdu.AppendTLV(nil, tagResponse, nil)
	template = apdu.AppendTLV(template, tagChallenge, block)
	command := apdu.Command{
		INS: insGeneralAuthenticate, P1: algorithm, P2: reference,
		Data: apdu.AppendTLV(nil, tagTemplate, template), Ne: shortAnswer,
	}
	if command.Extended() { // RSA: the answer is as long as the question
		command.Ne = longAnswer
	}
	r, err := t.exchange(ctx, command)
	if err != nil {
		return nil, err
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	return apdu.Find(r.Data, tagTemplate, tagResponse)
}

// errForm means that a card gave bytes which cannot be a signature.
var errForm = errors.New("not the form of a signature")

// checkForm refuses what cannot be a signature, so that a fault of the card is
// told as what it is. Whether it is the right one is for the caller to check.
func checkForm(public crypto.PublicKey, signature []byte) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if len(signature) != k.Size() {
			return fmt.Errorf("%d bytes from a key of %d: %w", len(signature), k.Size(), errForm)
		}
		return nil
	case *ecdsa.PublicKey:
		var rs struct{ R, S *big.Int } // Ecdsa-Sig-Value, RFC 3279 section 2.2.3
		rest, err := asn1.Unmarshal(signature, &rs)
		if err != nil {
			return fmt.Errorf("decoding ECDSA signature: %w: %w", err, errForm)
		}
		n := k.Curve.Params().N
		for _, v := range []*big.Int{rs.R, rs.S} {
			if v.Sign() <= 0 || v.Cmp(n) >= 0 {
				return fmt.Errorf("r or s out of range: %w", errForm)
			}
		}
		if len(rest) != 0 {
			return fmt.Errorf("%d bytes behind the ECDSA signature: %w", len(rest), errForm)
		}
		return nil
	}
	return errForm
}
