package piv

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/inkan-project/inkan/pcsc/apdu"
	"github.com/inkan-project/inkan/token"
)

// Inside a certificate's data object (SP 800-73-5 part 1 appendix A).
const (
	tagCertificate = 0x70
	tagCertInfo    = 0x71
	// compressed are the bits of CertInfo that say gzip: 01 since SP 800-73-3,
	// 80 (the first bit of the BIT STRING) as SP 800-73-2 was read by some.
	compressed = 0x81
)

// maxCertificate is the longest certificate that is taken from a card, in
// bytes and after decompression. Those of PIV are about 1,900 (SP 800-73-5
// part 1 appendix A).
const maxCertificate = 16 << 10

// errKeyType means that PIV has no algorithm identifier for a key.
var errKeyType = errors.New("type of key is not used by PIV")

// slot is a place for a key.
type slot struct {
	reference byte   // key reference (SP 800-78-5 section 6.1)
	name      string // the reference in hexadecimal
	label     string
	object    uint32 // where its certificate is (part 1 table 3)
	policy    token.PINPolicy
	signs     bool
}

// slots returns the four keys of PIV (SP 800-73-5 part 1 section 3 and table
// 5). 9d is for key establishment only (part 2 section 3.2.4).
func slots() []slot {
	return []slot{
		{0x9A, "9a", "PIV Authentication", 0x5FC105, token.PINOnce, true},
		{0x9C, "9c", "Digital Signature", 0x5FC10A, token.PINAlways, true},
		{0x9D, "9d", "Key Management", 0x5FC10B, token.PINOnce, false},
		{0x9E, "9e", "Card Authentication", 0x5FC101, token.PINNever, true},
	}
}

func slotNamed(name string) (slot, bool) {
	for _, s := range slots() {
		if s.name == name {
			return s, true
		}
	}
	return slot{}, false
}

// Keys reads the certificates and returns a key for each that can be used.
// What cannot is told to [Options].Skipped and does not hide the others. It
// returns a [*token.Error] when the card was lost on the way, or when it
// refused and gave no key at all.
func (t *Token) Keys(ctx context.Context) ([]token.Key, error) {
	if t.id == "" {
		return nil, errNotIdentified
	}
	var keys []token.Key
	var refused error
	seen := map[token.KeyID]string{}
	for _, s := range slots() {
		key, found, err := t.readKey(ctx, s)
		switch {
		case t.id == "":
			return nil, fault("reading certificate of "+s.name, err)
		case err != nil:
			if _, ok := errors.AsType[apdu.StatusError](err); ok && refused == nil {
				refused = fault("reading certificate of "+s.name, err)
			}
			t.skip(s, err)
		case !found:
		case seen[key.ID] != "":
			t.skip(s, fmt.Errorf("same key as in %s", seen[key.ID]))
		default:
			seen[key.ID] = s.name
			keys = append(keys, key)
		}
	}
	if keys == nil {
		return nil, refused
	}
	return keys, nil
}

func (t *Token) skip(s slot, reason error) {
	if t.options.Skipped != nil {
		t.options.Skipped(s.name, reason)
	}
}

func (t *Token) readKey(ctx context.Context, s slot) (token.Key, bool, error) {
	object, found, err := t.getData(ctx, s.object)
	if err != nil || !found || len(object) == 0 { // an empty object is a deleted one
		return token.Key{}, false, err
	}
	der, err := certificateIn(object)
	if err != nil {
		return token.Key{}, false, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return token.Key{}, false, fmt.Errorf("parsing certificate: %w", err)
	}
	if _, ok := algorithmIdentifier(certificate.PublicKey); !ok {
		return token.Key{}, false, errKeyType
	}
	key, err := token.NewKey(t.id, s.name, s.label, certificate.PublicKey, der, s.policy)
	key.DecryptOnly = !s.signs
	return key, err == nil, err
}

// certificateIn returns the certificate of a data object as DER of its own,
// decompressed where CertInfo says so.
func certificateIn(object []byte) ([]byte, error) {
	der, err := apdu.Find(object, tagCertificate)
	if err != nil {
		return nil, fmt.Errorf("decoding certificate object: %w", err)
	}
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("certificate of %d bytes is longer than %d", len(der), maxCertificate)
	}
	info, err := apdu.Find(object, tagCertInfo)
	if err != nil && !errors.Is(err, apdu.ErrNoTag) { // old cards leave it out
		return nil, fmt.Errorf("decoding certificate object: %w", err)
	}
	if len(info) == 0 || info[0]&compressed == 0 {
		return bytes.Clone(der), nil
	}
	return decompress(der)
}

// decompress stops at the longest certificate: what it expands to is the
// card's choice.
func decompress(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("decompressing certificate: %w", err)
	}
	r.Multistream(false)
	der, err := io.ReadAll(io.LimitReader(r, maxCertificate+1))
	if err != nil {
		return nil, fmt.Errorf("decompressing certificate: %w", err)
	}
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("decompressed certificate is longer than %d bytes", maxCertificate)
	}
	return der, nil
}
