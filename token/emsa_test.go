package token_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/token"
)

// Algorithms returns its result by value; the tests go through all of them.
var (
	rsaAlgorithms = []token.Algorithm{
		token.RSAPKCS1SHA256, token.RSAPKCS1SHA384, token.RSAPKCS1SHA512,
		token.RSAPSSSHA256, token.RSAPSSSHA384, token.RSAPSSSHA512,
	}
	ecdsaAlgorithms = []token.Algorithm{token.ECDSASHA256, token.ECDSASHA384, token.ECDSASHA512}
)

func newRSA(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatalf("generating RSA-%d: %v", bits, err)
	}
	return key
}

func newECDSA(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatalf("generating %s: %v", curve.Params().Name, err)
	}
	return key
}

func digestOf(hash crypto.Hash, document string) []byte {
	h := hash.New()
	_, _ = io.WriteString(h, document)
	return h.Sum(nil)
}

// rawRSA is what a card does: m^d mod n (RSASP1, RFC 8017 section 5.2.1).
func rawRSA(key *rsa.PrivateKey, block []byte) []byte {
	m := new(big.Int).SetBytes(block)
	return m.Exp(m, key.D, key.N).FillBytes(make([]byte, key.Size()))
}

func TestRSABlockRaisedToThePrivateExponentIsASignature(t *testing.T) {
	// A modulus of 2049 bits gives PSS an encoded message one byte shorter
	// than the modulus; 2055 leaves seven bits to clear.
	for _, bits := range []int{2048, 2049, 2055, 3072} {
		key := newRSA(t, bits)
		for _, a := range rsaAlgorithms {
			digest := digestOf(a.Hash, "見積書")
			block, err := a.Block(&key.PublicKey, digest, nil)
			if err != nil {
				t.Fatalf("RSA-%d %v: Block: %v", bits, a, err)
			}
			if len(block) != key.Size() {
				t.Fatalf("RSA-%d %v: block of %d bytes, want %d", bits, a, len(block), key.Size())
			}
			signature := rawRSA(key, block)
			if err := token.CheckSignature(&key.PublicKey, a, digest, signature); err != nil {
				t.Errorf("RSA-%d %v: signature made from the block: %v", bits, a, err)
			}
			other := digestOf(a.Hash, "請求書")
			if err := token.CheckSignature(&key.PublicKey, a, other, signature); token.KindOf(err) != token.KindSignatureCheckFailed {
				t.Errorf("RSA-%d %v: check against another digest = %v, want %s", bits, a, err, token.KindSignatureCheckFailed)
			}
		}
	}
}

func TestPKCS1BlockIsTheOneOfTheStandardLibrary(t *testing.T) {
	key := newRSA(t, 2048)
	for _, a := range rsaAlgorithms[:3] {
		digest := digestOf(a.Hash, "入札書")
		block, err := a.Block(&key.PublicKey, digest, nil)
		if err != nil {
			t.Fatalf("%v: %v", a, err)
		}
		want, err := rsa.SignPKCS1v15(nil, key, a.Hash, digest)
		if err != nil {
			t.Fatalf("%v: %v", a, err)
		}
		if got := rawRSA(key, block); !bytes.Equal(got, want) {
			t.Errorf("%v: signature differs from that of crypto/rsa", a)
		}
	}
}

func TestPSSBlockTakesItsSaltFromRandom(t *testing.T) {
	key := newRSA(t, 2048)
	digest := digestOf(crypto.SHA256, "契約書")
	block := func(random io.Reader) []byte {
		b, err := token.RSAPSSSHA256.Block(&key.PublicKey, digest, random)
		if err != nil {
			t.Fatalf("Block: %v", err)
		}
		return b
	}
	fixed := strings.Repeat("s", 32)
	if !bytes.Equal(block(strings.NewReader(fixed)), block(strings.NewReader(fixed))) {
		t.Error("same salt, different blocks")
	}
	if bytes.Equal(block(nil), block(nil)) {
		t.Error("two blocks with random salts are the same")
	}
	_, err := token.RSAPSSSHA256.Block(&key.PublicKey, digest, strings.NewReader("short"))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Block with too little randomness = %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

func TestECDSABlockIsTheLeftmostBitsOfTheDigest(t *testing.T) {
	sha256, sha384, sha512 := digestOf(crypto.SHA256, "x"), digestOf(crypto.SHA384, "x"), digestOf(crypto.SHA512, "x")
	tests := []struct {
		name      string
		curve     elliptic.Curve
		algorithm token.Algorithm
		digest    []byte
		want      []byte
	}{
		{"SHA-256 fills P-256", elliptic.P256(), token.ECDSASHA256, sha256, sha256},
		{"SHA-384 is cut for P-256", elliptic.P256(), token.ECDSASHA384, sha384, sha384[:32]},
		{"SHA-512 is cut for P-256", elliptic.P256(), token.ECDSASHA512, sha512, sha512[:32]},
		{"SHA-256 is padded in front for P-384", elliptic.P384(), token.ECDSASHA256, sha256, append(make([]byte, 16), sha256...)},
		{"SHA-384 fills P-384", elliptic.P384(), token.ECDSASHA384, sha384, sha384},
		{"SHA-512 is cut for P-384", elliptic.P384(), token.ECDSASHA512, sha512, sha512[:48]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key := newECDSA(t, tt.curve)
			got, err := tt.algorithm.Block(&key.PublicKey, tt.digest, nil)
			if err != nil {
				t.Fatalf("Block: %v", err)
			}
			if !bytes.Equal(got, tt.want) {
				t.Errorf("block %x, want %x", got, tt.want)
			}
			// A card signs the block as it is: crypto/ecdsa takes a digest of
			// the curve's length unchanged.
			signature, err := ecdsa.SignASN1(rand.Reader, key, got)
			if err != nil {
				t.Fatalf("signing: %v", err)
			}
			if err := token.CheckSignature(&key.PublicKey, tt.algorithm, tt.digest, signature); err != nil {
				t.Errorf("signature over the block: %v", err)
			}
		})
	}
}

func TestBlockRefusesWhatDoesNotFitTheKey(t *testing.T) {
	rsaKey, ecKey := newRSA(t, 2048), newECDSA(t, elliptic.P256())
	sha256 := digestOf(crypto.SHA256, "x")
	tests := []struct {
		name      string
		algorithm token.Algorithm
		public    crypto.PublicKey
		digest    []byte
		want      token.Kind
	}{
		{"ECDSA with an RSA key", token.ECDSASHA256, &rsaKey.PublicKey, sha256, token.KindAlgorithmMismatch},
		{"RSA with an ECDSA key", token.RSAPSSSHA256, &ecKey.PublicKey, sha256, token.KindAlgorithmMismatch},
		{"no key", token.RSAPSSSHA256, nil, sha256, token.KindAlgorithmMismatch},
		{"no algorithm", token.Algorithm{}, &rsaKey.PublicKey, sha256, token.KindAlgorithmMismatch},
		{"SHA-1", token.Algorithm{Padding: token.PaddingPKCS1, Hash: crypto.SHA1}, &rsaKey.PublicKey, sha256[:20], token.KindAlgorithmMismatch},
		{"a digest one byte short", token.RSAPKCS1SHA256, &rsaKey.PublicKey, sha256[:31], token.KindDigestLength},
		{"an empty digest", token.ECDSASHA256, &ecKey.PublicKey, nil, token.KindDigestLength},
		{"the digest of another hash", token.ECDSASHA256, &ecKey.PublicKey, digestOf(crypto.SHA512, "x"), token.KindDigestLength},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			block, err := tt.algorithm.Block(tt.public, tt.digest, nil)
			if block != nil || token.KindOf(err) != tt.want {
				t.Errorf("Block = %x, %v, want %s", block, err, tt.want)
			}
		})
	}
}
