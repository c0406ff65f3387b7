package piv_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc/apdu"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/piv"
)

// Test data: a GUID, a FASC-N and the tags of the certificate objects.
const (
	testGUID  = "00112233445566778899aabbccddeeff"
	testFASCN = "d4e739da739ced39ce739d836858210842108421c84210c3eb"
	testCard  = token.CardID("piv-" + testGUID)

	chuidObject = 0x5FC102
	object9A    = 0x5FC105
	object9C    = 0x5FC10A
	object9D    = 0x5FC10B
	object9E    = 0x5FC101
)

// fakeCard answers as it is told and keeps every command.
type fakeCard struct {
	sent    [][]byte
	selects uint16            // answer to SELECT; 0 = 9000
	objects map[uint32][]byte // answers to GET DATA, with status word; none = 6A82
	verify  func(command []byte) ([]byte, error)
	change  func(command []byte) ([]byte, error) // CHANGE REFERENCE DATA and RESET RETRY COUNTER
	sign    func(command apdu.Command) ([]byte, error)
	err     error // of every command
}

func (c *fakeCard) Transmit(_ context.Context, command []byte) ([]byte, error) {
	c.sent = append(c.sent, append([]byte(nil), command...))
	if c.err != nil {
		return nil, c.err
	}
	parsed, err := apdu.ParseCommand(command)
	if err != nil {
		return nil, err
	}
	switch parsed.INS {
	case 0xA4:
		if c.selects == 0 {
			return sw(0x9000), nil
		}
		return sw(c.selects), nil
	case 0xCB:
		if tag, err := apdu.Find(parsed.Data, 0x5C); err == nil && len(tag) == 3 {
			if answer, ok := c.objects[uint32(tag[0])<<16|uint32(tag[1])<<8|uint32(tag[2])]; ok {
				return answer, nil
			}
		}
		return sw(0x6A82), nil
	case 0x20:
		return c.verify(command)
	case 0x24, 0x2C:
		return c.change(command)
	case 0x87:
		return c.sign(parsed)
	}
	return sw(0x6D00), nil
}

func sw(word uint16) []byte { return []byte{byte(word >> 8), byte(word)} }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// object wraps data objects as GET DATA answers them.
func object(parts ...[]byte) []byte {
	var value []byte
	for _, p := range parts {
		value = append(value, p...)
	}
	return append(apdu.AppendTLV(nil, 0x53, value), 0x90, 0x00)
}

func tlv(tag uint32, value []byte) []byte { return apdu.AppendTLV(nil, tag, value) }

func chuid(t testing.TB) []byte {
	t.Helper()
	return object(tlv(0x30, unhex(t, testFASCN)), tlv(0x34, unhex(t, testGUID)), tlv(0x35, []byte("20300101")), tlv(0x3E, nil), tlv(0xFE, nil))
}

func newCard(t testing.TB) *fakeCard {
	t.Helper()
	return &fakeCard{objects: map[uint32][]byte{chuidObject: chuid(t)}}
}

// identified returns a Token that has identified the fake card, whose record
// starts anew.
func identified(t testing.TB, card *fakeCard, o piv.Options) *piv.Token {
	t.Helper()
	tok := piv.Open(card, o)
	if _, err := tok.Identify(t.Context()); err != nil {
		t.Fatalf("Identify: %v", err)
	}
	card.sent = nil
	return tok
}

func newECDSA(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newCertificate returns a self-signed certificate; padding makes it longer.
func newCertificate(t testing.TB, signer crypto.Signer, padding int) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{Organization: []string{"株式会社サンプル"}},
		NotBefore:    time.Unix(1_700_000_000, 0),
		NotAfter:     time.Unix(1_900_000_000, 0),
	}
	if padding > 0 {
		template.ExtraExtensions = []pkix.Extension{{Id: []int{1, 3, 6, 1, 4, 1, 99999, 1}, Value: make([]byte, padding)}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
