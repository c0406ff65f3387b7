package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Block returns what the private key operates on when it signs the digest:
// for RSA the encoded message, as long as the modulus (EMSA-PKCS1-v1_5 or
// EMSA-PSS), for ECDSA the digest cut or padded to the size of the curve's
// order. random gives the salt of PSS; nil means crypto/rand.
//
// It returns a [*Error] when digest, algorithm and key do not fit together, as
// [CheckRequest] says, and any error of random.
func (a Algorithm) Block(public crypto.PublicKey, digest []byte, random io.Reader) ([]byte, error) {
	if err := CheckRequest(public, a, digest); err != nil {
		return nil, err
	}
	switch k := public.(type) {
	case *rsa.PublicKey:
		if a.Padding == PaddingPKCS1 {
			return emsaPKCS1(k.Size(), a.Hash, digest)
		}
		if random == nil {
			random = rand.Reader
		}
		return emsaPSS(k.N.BitLen(), k.Size(), a.Hash, digest, random)
	case *ecdsa.PublicKey:
		return leftmostBits(k.Curve.Params().N.BitLen(), digest), nil
	}
	return nil, NewError(KindAlgorithmMismatch, "algorithm", a.String())
}

// DigestInfo returns the DER encoding of a DigestInfo with this digest (RFC 8017
// section 9.2, step 2), for a card that pads it itself. The digest is as long
// as the hash of a.
func (a Algorithm) DigestInfo(digest []byte) []byte {
	return append(digestInfoPrefix(a.Hash), digest...)
}

// digestInfoPrefix returns the DER encoding of a DigestInfo up to the digest
// (RFC 8017 section 9.2, note 1).
func digestInfoPrefix(hash crypto.Hash) []byte {
	switch hash {
	case crypto.SHA256:
		return []byte{
			0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
			0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
		}
	case crypto.SHA384:
		return []byte{
			0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
			0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30,
		}
	case crypto.SHA512:
		return []byte{
			0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
			0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40,
		}
	}
	return nil
}

// errModulusTooShort cannot happen with the keys of TypeOf; the encoders check
// it because RFC 8017 tells them to.
var errModulusTooShort = errors.New("modulus too short for this hash")

// emsaPKCS1 is EMSA-PKCS1-v1_5 (RFC 8017 section 9.2): 00 01 FF…FF 00
// DigestInfo, at least eight FF.
func emsaPKCS1(size int, hash crypto.Hash, digest []byte) ([]byte, error) {
	prefix := digestInfoPrefix(hash)
	info := len(prefix) + len(digest)
	if prefix == nil || size < info+11 {
		return nil, errModulusTooShort
	}
	block := make([]byte, size)
	block[1] = 0x01
	for i := 2; i < size-info-1; i++ {
		block[i] = 0xFF
	}
	copy(block[size-info:], prefix)
	copy(block[size-len(digest):], digest)
	return block, nil
}

// emsaPSS is EMSA-PSS-ENCODE (RFC 8017 section 9.1.1) with a salt as long as
// the hash and MGF1 over the same hash, for emBits = bits-1 (section 8.1.1).
// The result is size bytes: one zero in front where emLen is one less.
func emsaPSS(bits, size int, hash crypto.Hash, digest []byte, random io.Reader) ([]byte, error) {
	h := hash.Size()
	emBits := bits - 1
	emLen := (emBits + 7) / 8
	if emLen < 2*h+2 {
		return nil, errModulusTooShort
	}
	salt := make([]byte, h)
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, fmt.Errorf("making salt: %w", err)
	}
	block := make([]byte, size)
	em := block[size-emLen:]
	db, seed := em[:emLen-h-1], em[emLen-h-1:emLen-1]

	// M' = eight zero bytes, digest, salt; H = Hash(M').
	m := hash.New()
	m.Write(make([]byte, 8))
	m.Write(digest)
	m.Write(salt)
	m.Sum(seed[:0])

	// DB = PS 01 salt, masked by MGF1(H).
	db[len(db)-h-1] = 0x01
	copy(db[len(db)-h:], salt)
	xorMGF1(db, hash, seed)
	db[0] &= 0xFF >> (8*emLen - emBits)
	em[emLen-1] = 0xBC
	return block, nil
}

// xorMGF1 masks out with MGF1 of seed (RFC 8017 appendix B.2.1).
func xorMGF1(out []byte, hash crypto.Hash, seed []byte) {
	var counter [4]byte
	var mask []byte
	for i := range out {
		at := i % hash.Size()
		if at == 0 {
			binary.BigEndian.PutUint32(counter[:], uint32(i/hash.Size()))
			m := hash.New()
			m.Write(seed)
			m.Write(counter[:])
			mask = m.Sum(mask[:0])
		}
		out[i] ^= mask[at]
	}
}

// leftmostBits turns a digest into the number that ECDSA signs, written with
// the length of the order: the leftmost bits of a longer digest (FIPS 186-5
// section 6.4.1 step 2), a shorter one with zeros in front. The orders of
// P-256 and P-384 fill whole bytes.
func leftmostBits(orderBits int, digest []byte) []byte {
	block := make([]byte, (orderBits+7)/8)
	digest = digest[:min(len(digest), len(block))]
	copy(block[len(block)-len(digest):], digest)
	return block
}
