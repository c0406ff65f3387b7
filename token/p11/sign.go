package p11

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// Mechanisms that take what is to be signed as it is (PKCS#11 v3.1 sections
// 6.1.6, 6.1.7, 6.1.10, 6.3.12). Those that hash by themselves want the
// document, which never comes here.
const (
	mechanismRSAPKCS    = 0x0001
	mechanismRSARaw     = 0x0003
	mechanismRSAPKCSPSS = 0x000D
	mechanismECDSA      = 0x1041
)

// work is a signature that was begun.
type work struct {
	key       token.KeyID
	algorithm token.Algorithm
	digest    []byte
	data      []byte // what the module gets
}

// errNotBegun is a bug in the caller: nothing was asked.
var errNotBegun = errors.New("no signature was begun")

// Begin implements [token.Beginner]: it finds the private key and begins the
// signature (C_SignInit). again says that the key wants the PIN for it
// (CKA_ALWAYS_AUTHENTICATE).
func (t *Token) Begin(ctx context.Context, key token.Key, algorithm token.Algorithm, digest []byte) (again bool, err error) {
	t.begun = nil
	if t.id == "" {
		return false, errNotIdentified
	}
	if key.Card != t.id {
		return false, token.NewError(token.KindCardChanged, "card", string(key.Card))
	}
	if key.DecryptOnly {
		return false, token.NewError(token.KindKeyDecryptsOnly)
	}
	request, data, err := t.begin(key, algorithm, digest)
	if err != nil {
		return false, err
	}
	answer, err := t.ask(ctx, frame.Request{Op: frame.OpBegin, Begin: request})
	if err != nil || !answer.OK() {
		return false, t.fault("beginning the signature", answer, err)
	}
	t.begun = &work{key.ID, algorithm, bytes.Clone(digest), data}
	return answer.Again, nil
}

// begin picks the mechanism and what it gets.
func (t *Token) begin(key token.Key, algorithm token.Algorithm, digest []byte) (*frame.Begin, []byte, error) {
	block, err := algorithm.Block(key.Public, digest, nil)
	if err != nil {
		return nil, nil, err
	}
	id, err := hex.DecodeString(key.Slot)
	if err != nil {
		id = nil // a name from elsewhere: the public key tells
	}
	b := &frame.Begin{ID: id, SPKI: key.SPKI}
	has := func(mechanism uint) bool {
		b.Mechanism = mechanism
		return slices.Contains(t.mechanisms, mechanism)
	}
	_, isRSA := key.Public.(*rsa.PublicKey)
	switch {
	case !isRSA && has(mechanismECDSA):
		return b, block, nil
	case isRSA && algorithm.Padding == token.PaddingPKCS1 && has(mechanismRSAPKCS):
		return b, algorithm.DigestInfo(digest), nil
	case isRSA && algorithm.Padding == token.PaddingPSS && has(mechanismRSAPKCSPSS):
		b.PSS = pssOf(algorithm.Hash)
		return b, digest, nil
	case isRSA && has(mechanismRSARaw):
		return b, block, nil
	}
	return nil, nil, token.NewError(token.KindMechanismMissing, "algorithm", algorithm.String(), "module", t.module.Name)
}

// pssOf returns CKM_SHA…, CKG_MGF1_SHA… and the length of the salt, which is
// that of the hash (PKCS#11 v3.1 sections 6.1.9, 6.20).
func pssOf(hash crypto.Hash) *frame.PSS {
	p := &frame.PSS{Salt: uint(hash.Size())}
	switch hash {
	case crypto.SHA256:
		p.Hash, p.MGF = 0x250, 0x02
	case crypto.SHA384:
		p.Hash, p.MGF = 0x260, 0x03
	case crypto.SHA512:
		p.Hash, p.MGF = 0x270, 0x04
	}
	return p
}

// Sign makes a signature, or ends the one that was begun for this digest.
func (t *Token) Sign(ctx context.Context, key token.Key, algorithm token.Algorithm, digest []byte) ([]byte, error) {
	w := t.begun
	if w == nil || w.key != key.ID || w.algorithm != algorithm || !bytes.Equal(w.digest, digest) {
		if _, err := t.Begin(ctx, key, algorithm, digest); err != nil {
			return nil, err
		}
		w = t.begun
	}
	t.begun = nil
	answer, err := t.ask(ctx, frame.Request{Op: frame.OpSign, Data: w.data})
	if err != nil || !answer.OK() {
		return nil, t.fault("signing", answer, err)
	}
	signature, err := inForm(key.Public, answer.Signature)
	if err != nil {
		return nil, token.Errorf(token.KindCardFault, "signing, %v", err)
	}
	return signature, nil
}

// inForm brings a signature into the form of Inkan: that of PKCS#11 for ECDSA
// is r and s side by side (v3.1 section 6.3.1), ours is DER.
func inForm(public crypto.PublicKey, raw []byte) ([]byte, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if len(raw) != k.Size() {
			return nil, fmt.Errorf("a signature of %d bytes by a key of %d", len(raw), k.Size())
		}
		return raw, nil
	case *ecdsa.PublicKey:
		size := (k.Curve.Params().N.BitLen() + 7) / 8
		if len(raw) != 2*size {
			return nil, fmt.Errorf("a signature of %d bytes, want %d", len(raw), 2*size)
		}
		r, s := new(big.Int).SetBytes(raw[:size]), new(big.Int).SetBytes(raw[size:])
		return asn1.Marshal(struct{ R, S *big.Int }{r, s})
	}
	return nil, errors.New("a key of an unknown type")
}
