package pivcard

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// profileName is the card's personalisation: keys, objects, secrets.
const profileName = "card.json"

// Versions of card.json. Version 1 kept a certificate with its key and knew
// neither the management key nor other behaviours; it becomes version 2 on disk
// with its first change.
const (
	profileVersion      = 2
	profileVersionFirst = 1
)

// profile is the content of card.json. Byte strings are base64.
type profile struct {
	Version    int               `json:"version"`
	Company    string            `json:"company"`
	GUID       []byte            `json:"guid"`
	Expires    string            `json:"expires"` // YYYYMMDD
	PIN        reference         `json:"pin"`
	UnlockCode reference         `json:"unlock_code"`
	AdminKey   adminKey          `json:"admin_key"`
	Behaviour  Behaviour         `json:"behaviour"`
	Authority  []byte            `json:"authority"` // certificate of the CA, DER
	Keys       []keyEntry        `json:"keys"`
	Objects    map[string][]byte `json:"objects"` // content of tag 53, by tag in hexadecimal
}

type keyEntry struct {
	Slot        Slot    `json:"slot"`
	Type        KeyType `json:"type"`
	PrivateKey  []byte  `json:"private_key"`           // PKCS #8
	Certificate []byte  `json:"certificate,omitempty"` // DER; version 1 alone
}

// key is a keyEntry in use.
type key struct {
	slot    Slot
	keyType KeyType
	private crypto.Signer
}

func readProfile(dir string) (profile, error) {
	b, err := os.ReadFile(filepath.Join(dir, profileName))
	if err != nil {
		return profile{}, fmt.Errorf("reading card: %w", err)
	}
	var p profile
	if err := json.Unmarshal(b, &p); err != nil {
		return profile{}, fmt.Errorf("reading card: %w", errors.Join(ErrDamaged, err))
	}
	if p.Version == profileVersionFirst {
		if err := p.migrate(); err != nil {
			return profile{}, fmt.Errorf("reading card of version 1: %w", err)
		}
	}
	if err := p.check(); err != nil {
		return profile{}, fmt.Errorf("reading card: %w", err)
	}
	return p, nil
}

func (p *profile) check() error {
	if p.Version > profileVersion {
		return fmt.Errorf("%w: version %d is newer than this program", ErrDamaged, p.Version)
	}
	if p.Version != profileVersion || len(p.GUID) != guidLength || p.Objects == nil ||
		!p.PIN.complete(secretLength) || !p.UnlockCode.complete(secretLength) || !p.AdminKey.complete() {
		return fmt.Errorf("%w: parts are missing", ErrDamaged)
	}
	if err := p.Behaviour.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// migrate makes version 2 of what was read as version 1. Nothing about tries
// is in card.json, so that nothing about them can change.
func (p *profile) migrate() error {
	admin, err := newAdminKey(rand.Reader, AdminTDEA, DemoAdminKey(AdminTDEA))
	if err != nil {
		return err
	}
	p.Version, p.AdminKey, p.Objects = profileVersion, admin, map[string][]byte{}
	for i, k := range p.Keys {
		if tag, ok := certificateTag(k.Slot); ok && k.Certificate != nil {
			p.Objects[tag] = certificateContent(k.Certificate)
		}
		p.Keys[i].Certificate = nil
	}
	return nil
}

// certificate returns the certificate in a slot's object as it stands there,
// or nil.
func (p *profile) certificate(s Slot) []byte {
	tag, ok := certificateTag(s)
	if !ok {
		return nil
	}
	der, err := apdu.Find(p.Objects[tag], tagCertificate)
	if err != nil {
		return nil
	}
	return der
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
		keys = append(keys, key{slot: e.Slot, keyType: e.Type, private: signer})
	}
	return keys, nil
}

// clone returns a profile whose lists can be changed without changing p's.
func (p *profile) clone() profile {
	next := *p
	next.Keys = append([]keyEntry(nil), p.Keys...)
	next.Objects = make(map[string][]byte, len(p.Objects)+1)
	for tag, content := range p.Objects {
		next.Objects[tag] = content
	}
	return next
}

// store makes a changed card durable and only then its own. After a failure
// the card is dead until its next start: old or new on disk, nobody knows.
func (c *Card) store(next profile) error {
	keys, err := next.parseKeys()
	if err != nil {
		return err
	}
	if err := writeProfile(c.options.Dir, next); err != nil {
		c.truth.failed = err
		return err
	}
	c.profile, c.keys = next, keys
	return nil
}

func writeProfile(dir string, p profile) error {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("writing card: %w", err)
	}
	return replaceFile(filepath.Join(dir, profileName), append(b, '\n'))
}

func tagName(tag []byte) string { return hex.EncodeToString(tag) }
