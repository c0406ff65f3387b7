package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // registers SHA-256 with crypto.Hash
	_ "crypto/sha512" // registers SHA-384 and SHA-512
	"fmt"
	"strconv"
)

// Padding is how a digest becomes what the key operates on.
type Padding uint8

// Paddings.
const (
	PaddingPKCS1 Padding = 1 // RSASSA-PKCS1-v1_5, RFC 8017 section 8.2
	PaddingPSS   Padding = 2 // RSASSA-PSS, RFC 8017 section 8.1, salt as long as the hash
	PaddingECDSA Padding = 3 // ECDSA, FIPS 186-5 section 6.4
)

// Algorithm is a signature algorithm. It is data: what a key can do is looked
// up, never assumed. The zero value is invalid.
type Algorithm struct {
	Padding Padding
	Hash    crypto.Hash
}

// The algorithms. SHA-1 and MD5 are not here and never will be.
var (
	RSAPKCS1SHA256 = Algorithm{PaddingPKCS1, crypto.SHA256}
	RSAPKCS1SHA384 = Algorithm{PaddingPKCS1, crypto.SHA384}
	RSAPKCS1SHA512 = Algorithm{PaddingPKCS1, crypto.SHA512}
	RSAPSSSHA256   = Algorithm{PaddingPSS, crypto.SHA256}
	RSAPSSSHA384   = Algorithm{PaddingPSS, crypto.SHA384}
	RSAPSSSHA512   = Algorithm{PaddingPSS, crypto.SHA512}
	ECDSASHA256    = Algorithm{PaddingECDSA, crypto.SHA256}
	ECDSASHA384    = Algorithm{PaddingECDSA, crypto.SHA384}
	ECDSASHA512    = Algorithm{PaddingECDSA, crypto.SHA512}
)

// String returns the name, for example "RSA-PSS-SHA256".
func (a Algorithm) String() string {
	name := map[Padding]string{PaddingPKCS1: "RSA-PKCS1-", PaddingPSS: "RSA-PSS-", PaddingECDSA: "ECDSA-"}[a.Padding]
	switch a.Hash {
	case crypto.SHA256:
		return name + "SHA256"
	case crypto.SHA384:
		return name + "SHA384"
	case crypto.SHA512:
		return name + "SHA512"
	}
	return fmt.Sprintf("algorithm %d/%d", a.Padding, a.Hash)
}

// TypeOf names the type of a public key: "RSA-2048", "P-256", "P-384". It
// returns an error for keys that Inkan does not sign with (RSA below 2048
// bits, other curves).
func TypeOf(public crypto.PublicKey) (string, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= 2048 && bits <= 4096 {
			return fmt.Sprintf("RSA-%d", bits), nil
		}
		return "", fmt.Errorf("RSA key of %d bits is not used", k.N.BitLen())
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return k.Curve.Params().Name, nil
		}
		return "", fmt.Errorf("curve %s is not used", k.Curve.Params().Name)
	}
	return "", fmt.Errorf("key type %T is not used", public)
}

// Algorithms returns what a key can be used with, the usual one first; none
// for a key that Inkan does not sign with.
func Algorithms(public crypto.PublicKey) []Algorithm {
	if _, err := TypeOf(public); err != nil {
		return nil
	}
	switch k := public.(type) {
	case *rsa.PublicKey:
		return []Algorithm{
			RSAPKCS1SHA256, RSAPKCS1SHA384, RSAPKCS1SHA512,
			RSAPSSSHA256, RSAPSSSHA384, RSAPSSSHA512,
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P384() {
			return []Algorithm{ECDSASHA384, ECDSASHA256, ECDSASHA512}
		}
		return []Algorithm{ECDSASHA256, ECDSASHA384, ECDSASHA512}
	}
	return nil
}

// CheckRequest returns a [*Error] unless a digest of this length can be signed
// with this algorithm by this key.
func CheckRequest(public crypto.PublicKey, a Algorithm, digest []byte) error {
	fits := false
	for _, have := range Algorithms(public) {
		fits = fits || have == a
	}
	if !fits {
		keyType, err := TypeOf(public)
		return NewError(KindAlgorithmMismatch, "algorithm", a.String(), "key_type", keyType).Because(err)
	}
	if len(digest) != a.Hash.Size() {
		return NewError(KindDigestLength, "algorithm", a.String(),
			"got", strconv.Itoa(len(digest)), "want", strconv.Itoa(a.Hash.Size()))
	}
	return nil
}

// CheckSignature returns a [*Error] of kind [KindSignatureCheckFailed] unless
// the signature over the digest was made with the private key of public.
func CheckSignature(public crypto.PublicKey, a Algorithm, digest, signature []byte) error {
	ok := false
	switch k := public.(type) {
	case *rsa.PublicKey:
		if a.Padding == PaddingPSS {
			ok = rsa.VerifyPSS(k, a.Hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		} else {
			ok = rsa.VerifyPKCS1v15(k, a.Hash, digest, signature) == nil
		}
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(k, digest, signature)
	}
	if !ok {
		return NewError(KindSignatureCheckFailed)
	}
	return nil
}
