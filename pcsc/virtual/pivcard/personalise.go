package pivcard

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// profileName is the card's personalisation: keys, certificates, secrets.
const profileName = "card.json"

const profileVersion = 1

// Lifetimes, and how far back certificates begin so that a clock a little
// behind takes them.
const (
	certificateYears = 2
	authorityYears   = 10
	backdating       = 5 * time.Minute
)

// profile is the content of card.json. Byte strings are base64.
type profile struct {
	Version    int        `json:"version"`
	Company    string     `json:"company"`
	GUID       []byte     `json:"guid"`
	Expires    string     `json:"expires"` // YYYYMMDD
	PIN        reference  `json:"pin"`
	UnlockCode reference  `json:"unlock_code"`
	Authority  []byte     `json:"authority"` // certificate of the CA, DER
	Keys       []keyEntry `json:"keys"`
}

type keyEntry struct {
	Slot        Slot    `json:"slot"`
	Type        KeyType `json:"type"`
	PrivateKey  []byte  `json:"private_key"` // PKCS #8
	Certificate []byte  `json:"certificate"` // DER
}

// key is a keyEntry in use.
type key struct {
	slot        Slot
	keyType     KeyType
	private     crypto.Signer
	certificate []byte
}

// isMade reports whether personalisation was finished. card.json comes last:
// without it, a truth log of more than its first line means that card.json was
// lost, and making a new card would give tries back.
func isMade(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, profileName))
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("looking for card: %w", err)
	}
	log, err := os.ReadFile(filepath.Join(dir, truthName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("looking for truth log: %w", err)
	}
	if bytes.Count(log, []byte{'\n'}) > 1 {
		return false, fmt.Errorf("%w: there is a truth log but no card", ErrDamaged)
	}
	return false, nil
}

// personalise makes a card: first its truth log, then its profile, each whole
// or not at all.
func personalise(o Options) error {
	p, err := newProfile(o)
	if err != nil {
		return err
	}
	first, err := json.Marshal(event{
		Seq: 1, Time: o.Now().UTC(), Event: eventMade,
		PINLeft: Tries, UnlockLeft: Tries, GUID: hex.EncodeToString(p.GUID),
	})
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(o.Dir, truthName), append(first, '\n')); err != nil {
		return err
	}
	return writeProfile(o.Dir, p)
}

func newProfile(o Options) (profile, error) {
	now := o.Now().UTC()
	p := profile{
		Version: profileVersion, Company: o.Company,
		Expires: now.AddDate(certificateYears, 0, 0).Format("20060102"),
	}
	var err error
	if p.GUID, err = newGUID(o.Rand); err != nil {
		return profile{}, err
	}
	if p.PIN, err = newReference(o.Rand, pad([]byte(DemoPIN))); err != nil {
		return profile{}, err
	}
	if p.UnlockCode, err = newReference(o.Rand, pad([]byte(DemoUnlockCode))); err != nil {
		return profile{}, err
	}
	ca, err := newAuthority(o.Rand, now)
	if err != nil {
		return profile{}, fmt.Errorf("making CA: %w", err)
	}
	p.Authority = ca.certificate.Raw
	for slot, keyType := range o.Keys {
		entry, err := ca.issue(slot, keyType, o.Company, now)
		if err != nil {
			return profile{}, fmt.Errorf("making key %s: %w", slot, err)
		}
		p.Keys = append(p.Keys, entry)
	}
	slices.SortFunc(p.Keys, func(a, b keyEntry) int { return int(a.Slot) - int(b.Slot) })
	return p, nil
}

func newGUID(random io.Reader) ([]byte, error) {
	guid := make([]byte, 16)
	if _, err := io.ReadFull(random, guid); err != nil {
		return nil, fmt.Errorf("making GUID: %w", err)
	}
	copy(guid, GUIDPrefix)
	guid[6] = guid[6]&0x0F | 0x80 // version 8, RFC 9562 section 5.8
	guid[8] = guid[8]&0x3F | 0x80 // variant, RFC 9562 section 4.1
	return guid, nil
}

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

// issue makes a key and its certificate.
func (a *authority) issue(slot Slot, keyType KeyType, company string, now time.Time) (keyEntry, error) {
	use, err := usageOf(slot)
	if err != nil {
		return keyEntry{}, err
	}
	private, err := newKey(keyType)
	if err != nil {
		return keyEntry{}, err
	}
	serial, err := newSerial(a.random)
	if err != nil {
		return keyEntry{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject: pkix.Name{
			Country: []string{"JP"}, Organization: []string{company},
			CommonName: fmt.Sprintf("仮想カード %s (%02X)", use.name, byte(slot)),
		},
		NotBefore:             now.Add(-backdating),
		NotAfter:              now.AddDate(certificateYears, 0, 0),
		KeyUsage:              use.keyUsage,
		ExtKeyUsage:           use.extended,
		BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	if err != nil {
		return keyEntry{}, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	return keyEntry{Slot: slot, Type: keyType, PrivateKey: pkcs8, Certificate: certificate}, err
}

type usage struct {
	name     string
	keyUsage x509.KeyUsage
	extended []x509.ExtKeyUsage
}

// usageOf follows the purposes of the PIV keys (SP 800-73-5 part 1 section 5.1).
func usageOf(slot Slot) (usage, error) {
	switch slot {
	case SlotAuthentication:
		return usage{"認証用", x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, nil
	case SlotSignature:
		return usage{"署名用", x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment, nil}, nil
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

func (p *profile) parseKeys() ([]key, error) {
	keys := make([]key, 0, len(p.Keys))
	for _, e := range p.Keys {
		private, err := x509.ParsePKCS8PrivateKey(e.PrivateKey)
		if err != nil {
			return nil, fmt.Errorf("reading key %s: %w", e.Slot, errors.Join(ErrDamaged, err))
		}
		signer, ok := private.(crypto.Signer)
		if !ok {
			return nil, fmt.Errorf("reading key %s: %w: type %T", e.Slot, ErrDamaged, private)
		}
		keys = append(keys, key{slot: e.Slot, keyType: e.Type, private: signer, certificate: e.Certificate})
	}
	return keys, nil
}
