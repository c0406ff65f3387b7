package p11

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"slices"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// Classes and types of objects (PKCS#11 v3.1 sections 4.6 to 4.9, 6.1, 6.3).
const (
	classCertificate = 1 // CKO_CERTIFICATE
	classPublicKey   = 2 // CKO_PUBLIC_KEY
	classPrivateKey  = 3 // CKO_PRIVATE_KEY
	keyTypeRSA       = 0 // CKK_RSA
	keyTypeEC        = 3 // CKK_EC
)

// Keys reads certificates and public keys, for which no login is needed. What
// cannot be used does not hide the others.
func (t *Token) Keys(ctx context.Context) ([]token.Key, error) {
	if t.id == "" {
		return nil, errNotIdentified
	}
	answer, err := t.ask(ctx, frame.Request{Op: frame.OpObjects})
	if err != nil || !answer.OK() {
		return nil, t.fault("reading certificates", answer, err)
	}
	return t.keysOf(answer.Objects), nil
}

// keysOf returns the keys that objects tell of, each once, by their places.
func (t *Token) keysOf(objects []frame.Object) (keys []token.Key) {
	seen := map[token.KeyID]bool{}
	for _, found := range candidates(objects) {
		key, err := t.key(found, objects)
		if err != nil || seen[key.ID] {
			continue
		}
		seen[key.ID] = true
		keys = append(keys, key)
	}
	slices.SortStableFunc(keys, func(a, b token.Key) int { return cmp.Compare(a.Slot, b.Slot) })
	return keys
}

// candidate is a public key of which there may be a private one.
type candidate struct {
	object      frame.Object
	public      crypto.PublicKey
	certificate *x509.Certificate // or nil
}

// candidates returns the keys with a certificate, then those without. The
// certificates of authorities are none: their keys are elsewhere.
func candidates(objects []frame.Object) (all []candidate) {
	for _, o := range objects {
		if o.Class != classCertificate {
			continue
		}
		c, err := x509.ParseCertificate(o.Certificate)
		if err == nil && !(c.BasicConstraintsValid && c.IsCA) {
			all = append(all, candidate{o, c.PublicKey, c})
		}
	}
	for _, o := range objects {
		if public := publicKey(o); public != nil && o.Class == classPublicKey && !ofAuthority(objects, public) {
			all = append(all, candidate{o, public, nil})
		}
	}
	return all
}

// ofAuthority reports whether a certificate of an authority has this key.
func ofAuthority(objects []frame.Object, public crypto.PublicKey) bool {
	for _, o := range objects {
		if o.Class != classCertificate {
			continue
		}
		c, err := x509.ParseCertificate(o.Certificate)
		if err == nil && c.IsCA && equal(c.PublicKey, public) {
			return true
		}
	}
	return false
}

// key makes a key of a candidate. Where objects about the same public key say
// another id than the certificate, theirs counts: ids are what vendors set,
// public keys are what signs.
func (t *Token) key(c candidate, objects []frame.Object) (token.Key, error) {
	id, policy, decryptOnly := c.object.ID, token.PINOnce, isForEncryption(c.certificate)
	if t.info.Flags&flagLoginRequired == 0 {
		policy = token.PINNever
	}
	for _, o := range objects {
		public := publicKey(o)
		if o.Class == classCertificate || public == nil || !equal(public, c.public) {
			continue
		}
		id = o.ID
		decryptOnly = decryptOnly || o.NoSign
		if o.Always {
			policy = token.PINAlways
		}
	}
	var der []byte
	if c.certificate != nil {
		der = c.certificate.Raw
	}
	key, err := token.NewKey(t.id, hex.EncodeToString(id), c.object.Label, c.public, der, policy)
	key.DecryptOnly = decryptOnly
	return key, err
}

// isForEncryption reports a certificate whose key usage allows no signature
// (RFC 5280 section 4.2.1.3). Without key usage anything is allowed.
func isForEncryption(c *x509.Certificate) bool {
	return c != nil && c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0
}

func equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// publicKey reads the public key in an object, nil if it holds none that Inkan
// signs with.
func publicKey(o frame.Object) crypto.PublicKey {
	switch {
	case o.Class == classCertificate:
	case o.KeyType == keyTypeRSA && len(o.Modulus) > 0:
		e := new(big.Int).SetBytes(o.Exponent)
		if len(o.Exponent) == 0 {
			e = big.NewInt(65537) // a private key often does not say
		}
		if !e.IsInt64() || e.Int64() > 1<<31-1 {
			return nil
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(o.Modulus), E: int(e.Int64())}
	case o.KeyType == keyTypeEC && len(o.Point) > 0:
		curve := curveOf(o.Params)
		if curve == nil {
			return nil
		}
		point := o.Point
		var inner []byte // X9.62 point in an OCTET STRING; some leave that out
		if rest, err := asn1.Unmarshal(o.Point, &inner); err == nil && len(rest) == 0 {
			point = inner
		}
		key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err == nil {
			return key
		}
	}
	return nil
}

// curveOf returns the curve named by CKA_EC_PARAMS (RFC 5480 section 2.1.1.1).
func curveOf(params []byte) elliptic.Curve {
	for curve, oid := range map[elliptic.Curve]asn1.ObjectIdentifier{
		elliptic.P256(): {1, 2, 840, 10045, 3, 1, 7},
		elliptic.P384(): {1, 3, 132, 0, 34},
	} {
		der, err := asn1.Marshal(oid)
		if err == nil && bytes.Equal(der, params) {
			return curve
		}
	}
	return nil
}
