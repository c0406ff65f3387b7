package pivcard

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // 3DES is what cards and tools in use authenticate with (SP 800-78-5 table 9)
	"crypto/subtle"
	"fmt"
	"io"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// AdminAlgorithm is the algorithm of the management key (SP 800-78-5 section
// 6.2 and table 9; there 3DES is deprecated, and it is still the only one of
// yubico-piv-tool 2.2.0).
type AdminAlgorithm byte

// Algorithms of the management key.
const (
	AdminTDEA   AdminAlgorithm = 0x03
	AdminAES128 AdminAlgorithm = 0x08
	AdminAES192 AdminAlgorithm = 0x0A
	AdminAES256 AdminAlgorithm = 0x0C
)

// refAdmin is the key reference of the management key (SP 800-73-5 part 1
// table 5).
const refAdmin = 0x9B

// Tags of the dynamic authentication template (SP 800-73-5 part 2 section 3.2.4).
const tagWitness = 0x80

func (a AdminAlgorithm) keyLength() int {
	switch a {
	case AdminTDEA, AdminAES192:
		return 24
	case AdminAES128:
		return 16
	case AdminAES256:
		return 32
	}
	return 0
}

// isNamed reports whether P1 means this algorithm: 3DES has a second name, 00
// (SP 800-78-5 table 9), by which OpenSC asks for random bytes.
func (a AdminAlgorithm) isNamed(p1 byte) bool {
	return AdminAlgorithm(p1) == a || p1 == 0 && a == AdminTDEA
}

func (a AdminAlgorithm) cipher(key []byte) (cipher.Block, error) {
	if a == AdminTDEA {
		return des.NewTripleDESCipher(key) //nolint:gosec // see the import
	}
	return aes.NewCipher(key)
}

// DemoAdminKey returns the management key of a new card, which is public: 01
// to 08, again and again. With 24 bytes it is the one that yubico-piv-tool
// uses when none is given.
func DemoAdminKey(a AdminAlgorithm) []byte {
	return bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 4)[:a.keyLength()]
}

// adminKey is the management key, masked as the other secrets are.
type adminKey struct {
	Algorithm AdminAlgorithm `json:"algorithm"`
	reference
}

func newAdminKey(random io.Reader, a AdminAlgorithm, key []byte) (adminKey, error) {
	if a.keyLength() == 0 || len(key) != a.keyLength() {
		return adminKey{}, fmt.Errorf("there is no management key of algorithm %02X and %d bytes on this card", byte(a), len(key))
	}
	r, err := newReference(random, key)
	return adminKey{Algorithm: a, reference: r}, err
}

func (k adminKey) complete() bool {
	return k.Algorithm.keyLength() > 0 && k.reference.complete(k.Algorithm.keyLength())
}

// block returns the cipher of the management key.
func (k adminKey) block() (cipher.Block, error) {
	key := make([]byte, len(k.Mask))
	subtle.XORBytes(key, k.Mask, k.Masked)
	defer clear(key)
	return k.Algorithm.cipher(key)
}

// adminSession is what the card keeps between the two steps.
type adminSession struct {
	witness   []byte // what the host must decrypt (mutual authentication)
	challenge []byte // what the host must encrypt (external authentication)
}

// authenticateAdmin is GENERAL AUTHENTICATE with the management key (SP
// 800-73-5 part 2 section 3.2.4): mutual by witness (appendix A.2), or of the
// host alone by challenge (A.1). There is no count of tries: the key is not one that
// people type.
func (c *Card) authenticateAdmin(command apdu.Command) ([]byte, apdu.SW) {
	pending := c.session.proving
	c.session.proving = adminSession{}
	if !c.profile.AdminKey.Algorithm.isNamed(command.P1) {
		return nil, apdu.SWIncorrectP1P2
	}
	block, err := c.profile.AdminKey.block()
	if err != nil {
		return nil, apdu.SWNoDiagnosis
	}
	template, err := apdu.Find(command.Data, tagTemplate)
	if err != nil {
		return nil, apdu.SWWrongData
	}
	witness, hasWitness := find(template, tagWitness)
	challenge, hasChallenge := find(template, tagChallenge)
	response, hasResponse := find(template, tagResponse)
	switch {
	case hasWitness && len(witness) == 0: // step 1 of mutual authentication
		return c.askAdmin(block, tagWitness)
	case !hasWitness && hasChallenge && len(challenge) == 0: // step 1 of external authentication
		return c.askAdmin(block, tagChallenge)
	case hasWitness && hasChallenge && pending.witness != nil:
		return c.proveMutual(block, pending.witness, witness, challenge)
	case hasResponse && !hasChallenge && !hasWitness && pending.challenge != nil:
		expected := make([]byte, block.BlockSize())
		block.Encrypt(expected, pending.challenge)
		return nil, c.admit(expected, response)
	}
	return nil, apdu.SWWrongData
}

// find returns the value of a data object and whether it is there.
func find(template []byte, tag uint32) ([]byte, bool) {
	value, err := apdu.Find(template, tag)
	return value, err == nil
}

// askAdmin is the first step: a random block, encrypted if it is a witness.
func (c *Card) askAdmin(block cipher.Block, tag uint32) ([]byte, apdu.SW) {
	plain := make([]byte, block.BlockSize())
	if _, err := io.ReadFull(c.options.Rand, plain); err != nil {
		return nil, apdu.SWNoDiagnosis
	}
	sent := bytes.Clone(plain)
	if tag == tagWitness {
		block.Encrypt(sent, plain)
		c.session.proving.witness = plain
	} else {
		c.session.proving.challenge = plain
	}
	return apdu.AppendTLV(nil, tagTemplate, apdu.AppendTLV(nil, tag, sent)), apdu.SWOK
}

// proveMutual is the second step of mutual authentication: the host shows the
// decrypted witness, the card encrypts the host's challenge.
func (c *Card) proveMutual(block cipher.Block, expected, witness, challenge []byte) ([]byte, apdu.SW) {
	if len(challenge) != block.BlockSize() {
		return nil, apdu.SWWrongData
	}
	if sw := c.admit(expected, witness); sw != apdu.SWOK {
		return nil, sw
	}
	response := make([]byte, block.BlockSize())
	block.Encrypt(response, challenge)
	return apdu.AppendTLV(nil, tagTemplate, apdu.AppendTLV(nil, tagResponse, response)), apdu.SWOK
}

// admit compares what the host proves, and puts it on record.
func (c *Card) admit(expected, given []byte) apdu.SW {
	sw := apdu.SWSecurityStatus
	c.session.admin = subtle.ConstantTimeCompare(expected, given) == 1
	if c.session.admin {
		sw = apdu.SWOK
	}
	if err := c.truth.record(event{Event: eventAdmin, SW: sw.String()}); err != nil {
		c.session.admin = false
		return apdu.SWMemoryFailure
	}
	return sw
}

// setAdminKey is SET MANAGEMENT KEY of YubiKeys ("PIV Commands", SET
// MANAGEMENT KEY: INS FF, P1 FF, P2 FF without and FE with touch), which
// yubico-piv-tool sends. The data are algorithm, 9B, length and key.
func (c *Card) setAdminKey(command apdu.Command) apdu.SW {
	const header = 3
	switch d := command.Data; {
	case !c.session.admin:
		return apdu.SWSecurityStatus
	case command.P1 != 0xFF || command.P2 != 0xFF:
		return apdu.SWIncorrectP1P2
	case len(d) < header || d[1] != refAdmin || int(d[2]) != len(d)-header:
		return apdu.SWWrongData
	}
	fresh, err := newAdminKey(c.options.Rand, AdminAlgorithm(command.Data[0]), command.Data[header:])
	if err != nil {
		return apdu.SWWrongData
	}
	next := c.profile.clone()
	next.AdminKey = fresh
	return c.keep(next, event{Event: eventSetAdmin})
}
