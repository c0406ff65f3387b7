package pivcard

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"math/big"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// Tags of the dynamic authentication template (SP 800-73-5 part 2 section 3.2.4).
const (
	tagTemplate       = 0x7C
	tagChallenge      = 0x81
	tagResponse       = 0x82
	tagExponentiation = 0x85
)

// maxDigest is the longest hash that ECDSA takes here, in bytes (SHA-512).
const maxDigest = 64

// generalAuthenticate is GENERAL AUTHENTICATE (SP 800-73-5 part 2 section
// 3.2.4). The challenge is what a private key operates on, the exponentiation
// the public key of the other side; the empty response asks for the result.
func (c *Card) generalAuthenticate(command apdu.Command, fresh bool) ([]byte, apdu.SW) {
	if !c.session.selected {
		return nil, apdu.SWNotAllowed
	}
	if command.P2 == refAdmin {
		return c.authenticateAdmin(command)
	}
	k := c.key(Slot(command.P2))
	if k == nil || k.keyType != KeyType(command.P1) {
		return nil, apdu.SWIncorrectP1P2
	}
	if !c.session.allows(k.slot, fresh) {
		return nil, apdu.SWSecurityStatus
	}
	input, result, ok := k.operate(command.Data)
	if !ok {
		return nil, apdu.SWWrongData
	}
	e := event{Event: eventSign, Slot: k.slot.String(), SW: apdu.SWOK.String(), Input: sha256Hex(input), Signature: sha256Hex(result)}
	if k.slot == SlotKeyManagement { // the result is a secret of somebody: not even its hash
		e.Event, e.Signature = eventDecipher, ""
	}
	if err := c.truth.record(e); err != nil {
		return nil, apdu.SWMemoryFailure
	}
	return apdu.AppendTLV(nil, tagTemplate, apdu.AppendTLV(nil, tagResponse, result)), apdu.SWOK
}

// operate applies the private key to what is in a template, or returns false
// when the key does not take it.
func (k *key) operate(data []byte) (input, result []byte, ok bool) {
	response, err := apdu.Find(data, tagTemplate, tagResponse)
	if err != nil || len(response) != 0 {
		return nil, nil, false
	}
	private, isEC := k.private.(*ecdsa.PrivateKey)
	if k.slot == SlotKeyManagement && isEC { // for key establishment only
		if input, err = apdu.Find(data, tagTemplate, tagExponentiation); err != nil {
			return nil, nil, false
		}
		result, ok = agree(private, input)
		return input, result, ok
	}
	if input, err = apdu.Find(data, tagTemplate, tagChallenge); err != nil {
		return nil, nil, false
	}
	result, ok = k.sign(input)
	return input, result, ok
}

// agree is ECC CDH (SP 800-56A section 5.7.1.2) with an uncompressed point; the
// result is the x coordinate.
func agree(private *ecdsa.PrivateKey, point []byte) ([]byte, bool) {
	own, err := private.ECDH()
	if err != nil {
		return nil, false
	}
	other, err := own.Curve().NewPublicKey(point)
	if err != nil {
		return nil, false
	}
	shared, err := own.ECDH(other)
	return shared, err == nil
}

// allows applies the PIN policies (SP 800-73-5 part 1 table 5).
func (s *session) allows(slot Slot, fresh bool) bool {
	switch slot {
	case SlotCardAuth:
		return true
	case SlotAuthentication, SlotKeyManagement:
		return s.verified
	case SlotSignature:
		return s.verified && fresh
	}
	return false
}

// sign applies the private key, or returns false for input that the key does
// not take.
func (k *key) sign(input []byte) ([]byte, bool) {
	switch private := k.private.(type) {
	case *rsa.PrivateKey:
		return rsaRaw(private, input)
	case *ecdsa.PrivateKey:
		if len(input) == 0 || len(input) > maxDigest {
			return nil, false
		}
		// FIPS 186-5 section 6.4.1: of a longer hash the left-most bits count.
		signature, err := ecdsa.SignASN1(rand.Reader, private, input)
		return signature, err == nil
	}
	return nil, false
}

// rsaRaw is RSASP1 (RFC 8017 section 5.2.1) with the Chinese remainder theorem,
// over a block that the host has padded. Its time tells about the key: good
// enough for a card that keeps its keys in a file, not for a real one.
func rsaRaw(private *rsa.PrivateKey, block []byte) ([]byte, bool) {
	m := new(big.Int).SetBytes(block)
	if len(block) != private.Size() || m.Cmp(private.N) >= 0 || len(private.Primes) != 2 {
		return nil, false
	}
	p, q := private.Primes[0], private.Primes[1]
	m1 := new(big.Int).Exp(m, private.Precomputed.Dp, p)
	m2 := new(big.Int).Exp(m, private.Precomputed.Dq, q)
	m1.Sub(m1, m2).Mul(m1, private.Precomputed.Qinv).Mod(m1, p)
	m2.Add(m2, m1.Mul(m1, q))
	return m2.FillBytes(make([]byte, private.Size())), true
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
