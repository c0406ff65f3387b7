package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/token"
)

// modulusOf returns a public key of so many bits that nobody can sign with.
func modulusOf(bits uint) *rsa.PublicKey {
	return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}
}

func TestAlgorithmsFollowFromTheKey(t *testing.T) {
	p384 := []token.Algorithm{token.ECDSASHA384, token.ECDSASHA256, token.ECDSASHA512}
	tests := []struct {
		name     string
		public   crypto.PublicKey
		wantType string
		want     []token.Algorithm
	}{
		{"RSA-2048", modulusOf(2048), "RSA-2048", rsaAlgorithms},
		{"RSA-4096", modulusOf(4096), "RSA-4096", rsaAlgorithms},
		{"RSA-2047 is too short", modulusOf(2047), "", nil},
		{"RSA-1024 is too short", modulusOf(1024), "", nil},
		{"RSA-4097 is too long", modulusOf(4097), "", nil},
		{"P-256", &newECDSA(t, elliptic.P256()).PublicKey, "P-256", ecdsaAlgorithms},
		{"P-384 begins with its own hash", &newECDSA(t, elliptic.P384()).PublicKey, "P-384", p384},
		{"P-521 is not used", &newECDSA(t, elliptic.P521()).PublicKey, "", nil},
		{"P-224 is not used", &newECDSA(t, elliptic.P224()).PublicKey, "", nil},
		{"Ed25519 is not used", ed25519.PublicKey(make([]byte, 32)), "", nil},
		{"a private key is not used", newECDSA(t, elliptic.P256()), "", nil},
		{"nothing", nil, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := token.TypeOf(tt.public)
			if got != tt.wantType || (err == nil) != (tt.wantType != "") {
				t.Errorf("TypeOf = %q, %v, want %q", got, err, tt.wantType)
			}
			if diff := cmp.Diff(tt.want, token.Algorithms(tt.public)); diff != "" {
				t.Errorf("Algorithms (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAlgorithmNames(t *testing.T) {
	for a, want := range map[token.Algorithm]string{
		token.RSAPKCS1SHA256: "RSA-PKCS1-SHA256",
		token.RSAPKCS1SHA384: "RSA-PKCS1-SHA384",
		token.RSAPKCS1SHA512: "RSA-PKCS1-SHA512",
		token.RSAPSSSHA256:   "RSA-PSS-SHA256",
		token.RSAPSSSHA384:   "RSA-PSS-SHA384",
		token.RSAPSSSHA512:   "RSA-PSS-SHA512",
		token.ECDSASHA256:    "ECDSA-SHA256",
		token.ECDSASHA384:    "ECDSA-SHA384",
		token.ECDSASHA512:    "ECDSA-SHA512",
		{}:                   "algorithm 0/0",
	} {
		if got := a.String(); got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	}
}

func TestCheckRequestSaysWhatDoesNotFit(t *testing.T) {
	key := modulusOf(2048)
	if err := token.CheckRequest(key, token.RSAPSSSHA384, make([]byte, 48)); err != nil {
		t.Errorf("CheckRequest of what fits = %v, want nil", err)
	}
	err := token.CheckRequest(key, token.RSAPSSSHA384, make([]byte, 32))
	wantMeta(t, err, token.KindDigestLength, map[string]string{"algorithm": "RSA-PSS-SHA384", "got": "32", "want": "48"})
	err = token.CheckRequest(key, token.ECDSASHA256, make([]byte, 32))
	wantMeta(t, err, token.KindAlgorithmMismatch, map[string]string{"algorithm": "ECDSA-SHA256", "key_type": "RSA-2048"})
	err = token.CheckRequest(modulusOf(1024), token.RSAPSSSHA256, make([]byte, 32))
	wantMeta(t, err, token.KindAlgorithmMismatch, map[string]string{"algorithm": "RSA-PSS-SHA256", "key_type": ""})
}

func TestCheckSignatureTakesNoOtherSignature(t *testing.T) {
	rsaKey, ecKey := newRSA(t, 2048), newECDSA(t, elliptic.P256())
	digest := digestOf(crypto.SHA256, "x")
	pkcs1, err := rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, digest)
	if err != nil {
		t.Fatal(err)
	}
	longSalt, err := rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, digest, &rsa.PSSOptions{SaltLength: 64})
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.SignASN1(rand.Reader, ecKey, digest)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		public    crypto.PublicKey
		algorithm token.Algorithm
		signature []byte
		good      bool
	}{
		{"PKCS#1 as PKCS#1", &rsaKey.PublicKey, token.RSAPKCS1SHA256, pkcs1, true},
		{"PKCS#1 as PSS", &rsaKey.PublicKey, token.RSAPSSSHA256, pkcs1, false},
		{"PSS with a longer salt", &rsaKey.PublicKey, token.RSAPSSSHA256, longSalt, false},
		{"ECDSA as ECDSA", &ecKey.PublicKey, token.ECDSASHA256, ec, true},
		{"ECDSA by another key", &newECDSA(t, elliptic.P256()).PublicKey, token.ECDSASHA256, ec, false},
		{"RSA by another key", &newRSA(t, 2048).PublicKey, token.RSAPKCS1SHA256, pkcs1, false},
		{"ECDSA with a byte behind", &ecKey.PublicKey, token.ECDSASHA256, append(append([]byte{}, ec...), 0), false},
		{"nothing for RSA", &rsaKey.PublicKey, token.RSAPKCS1SHA256, nil, false},
		{"nothing for ECDSA", &ecKey.PublicKey, token.ECDSASHA256, nil, false},
		{"no key", nil, token.ECDSASHA256, ec, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := token.CheckSignature(tt.public, tt.algorithm, digest, tt.signature)
			if tt.good && err != nil || !tt.good && token.KindOf(err) != token.KindSignatureCheckFailed {
				t.Errorf("CheckSignature = %v, want good %v", err, tt.good)
			}
		})
	}
}
