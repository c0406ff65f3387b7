package pivcard

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"time"
)

// authority is a CA that lives as long as one personalisation.
type authority struct {
	random      io.Reader
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(random io.Reader, now time.Time) (*authority, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial(random)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Country: []string{"JP"}, Organization: []string{"Inkan"}, CommonName: "Inkan Virtual CA"},
		NotBefore:             now.Add(-backdating),
		NotAfter:              now.AddDate(authorityYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{random: random, key: private, certificate: certificate}, err
}

// issue makes a key and its certificate (DER).
func (a *authority) issue(slot Slot, keyType KeyType, company string, now time.Time) (keyEntry, []byte, error) {
	use, err := usageOf(slot)
	if err != nil {
		return keyEntry{}, nil, err
	}
	private, err := newKey(keyType)
	if err != nil {
		return keyEntry{}, nil, err
	}
	serial, err := newSerial(a.random)
	if err != nil {
		return keyEntry{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject: pkix.Name{
			Country: []string{"JP"}, Organization: []string{company},
			CommonName: fmt.Sprintf("仮想カード %s (%02X)", use.name, byte(slot)),
		},
		NotBefore:             now.Add(-backdating),
		NotAfter:              now.AddDate(certificateYears, 0, 0),
		KeyUsage:              use.fitting(keyType),
		ExtKeyUsage:           use.extended,
		BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	if err != nil {
		return keyEntry{}, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	return keyEntry{Slot: slot, Type: keyType, PrivateKey: pkcs8}, certificate, err
}

type usage struct {
	name     string
	keyUsage x509.KeyUsage
	extended []x509.ExtKeyUsage
}

// fitting drops of the two ways to share a key the one that the type of key
// does not have (RFC 3279 section 2.3).
func (u usage) fitting(t KeyType) x509.KeyUsage {
	if t == RSA2048 {
		return u.keyUsage &^ x509.KeyUsageKeyAgreement
	}
	return u.keyUsage &^ x509.KeyUsageKeyEncipherment
}

// usageOf follows the purposes of the PIV keys (SP 800-73-5 part 1 sections
// 3.1.3, 3.1.4, 3.2.1 and 3.2.2).
func usageOf(slot Slot) (usage, error) {
	switch slot {
	case SlotAuthentication:
		return usage{"認証用", x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, nil
	case SlotSignature:
		return usage{"署名用", x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment, nil}, nil
	case SlotKeyManagement:
		return usage{"復号用", x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement, nil}, nil
	case SlotCardAuth:
		return usage{"カード認証用", x509.KeyUsageDigitalSignature, nil}, nil
	}
	return usage{}, fmt.Errorf("there is no slot %s on this card", slot)
}

func newKey(t KeyType) (crypto.Signer, error) {
	switch t {
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	}
	return nil, fmt.Errorf("there is no key type %02X on this card", byte(t))
}

// newSerial returns 127 random bits (RFC 5280 section 4.1.2.2: positive, at
// most 20 bytes).
func newSerial(random io.Reader) (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("making serial number: %w", err)
	}
	b[0] = b[0]&0x7F | 0x40
	return new(big.Int).SetBytes(b), nil
}
