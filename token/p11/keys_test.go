package p11

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// keyring makes objects as tokens show them.
type keyring struct {
	*testing.T
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
}

func newKeyring(t *testing.T) keyring {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return keyring{t, r, e}
}

func (k keyring) certificate(id byte, label string, key crypto.Signer, ca bool, usage x509.KeyUsage) frame.Object {
	k.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: label}, NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: ca, IsCA: ca, KeyUsage: usage,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		k.Fatal(err)
	}
	return frame.Object{Class: classCertificate, ID: []byte{id}, Label: label, Certificate: der}
}

func (k keyring) rsaObject(class uint, id byte) frame.Object {
	return frame.Object{
		Class: class, ID: []byte{id}, Label: "RSA", KeyType: keyTypeRSA,
		Modulus: k.rsa.N.Bytes(), Exponent: []byte{1, 0, 1},
	}
}

func (k keyring) ecObject(class uint, id byte, point []byte) frame.Object {
	params, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
	if err != nil {
		k.Fatal(err)
	}
	return frame.Object{Class: class, ID: []byte{id}, Label: "EC", KeyType: keyTypeEC, Params: params, Point: point}
}

func (k keyring) point() []byte {
	point, err := k.ec.PublicKey.Bytes()
	if err != nil {
		k.Fatal(err)
	}
	return point
}

func TestKeysAreWhatTheirPublicKeysSay(t *testing.T) {
	k := newKeyring(t)
	point := k.point()
	inOctets, err := asn1.Marshal(point)
	if err != nil {
		t.Fatal(err)
	}
	change := func(o frame.Object, f func(o *frame.Object)) frame.Object { f(&o); return o }
	const signs = x509.KeyUsageDigitalSignature
	leaf := k.certificate(1, "leaf", k.rsa, false, signs)
	for _, tt := range []struct {
		name    string
		objects []frame.Object
		without uint     // flags of the token
		want    []string // slot, label, and what it is for
	}{
		{"a certificate and its keys", []frame.Object{leaf, k.rsaObject(classPublicKey, 1), k.rsaObject(classPrivateKey, 1)}, 0, []string{"01 leaf once"}},
		{"a certificate alone", []frame.Object{leaf}, 0, []string{"01 leaf once"}},
		{"no certificate", []frame.Object{k.rsaObject(classPublicKey, 2)}, 0, []string{"02 RSA once"}},
		{"a private key alone is no key", []frame.Object{k.rsaObject(classPrivateKey, 2)}, 0, nil},
		{"the id of the certificate lies", []frame.Object{leaf, k.rsaObject(classPublicKey, 7)}, 0, []string{"07 leaf once"}},
		{"the id of the certificate is another key's", []frame.Object{leaf, k.ecObject(classPublicKey, 1, point), k.rsaObject(classPrivateKey, 3)}, 0, []string{"01 EC once", "03 leaf once"}},
		{"certificates of authorities are none", []frame.Object{k.certificate(1, "CA", k.rsa, true, x509.KeyUsageCertSign), leafOf(k, 2)}, 0, []string{"02 EC leaf once"}},
		{"nor are their public keys", []frame.Object{k.certificate(1, "CA", k.rsa, true, x509.KeyUsageCertSign), k.rsaObject(classPublicKey, 1)}, 0, nil},
		{"of two certificates for one key the first", []frame.Object{leaf, k.certificate(2, "newer", k.rsa, false, signs)}, 0, []string{"01 leaf once"}},
		{"a certificate that is none hides nothing", []frame.Object{{Class: classCertificate, Certificate: []byte("x")}, {Class: classCertificate}, leaf}, 0, []string{"01 leaf once"}},
		{"a certificate for encryption", []frame.Object{k.certificate(1, "leaf", k.rsa, false, x509.KeyUsageKeyEncipherment)}, 0, []string{"01 leaf once decrypts"}},
		{"a key that does not sign", []frame.Object{leaf, change(k.rsaObject(classPrivateKey, 1), func(o *frame.Object) { o.NoSign = true })}, 0, []string{"01 leaf once decrypts"}},
		{"a key that wants the PIN each time", []frame.Object{leaf, change(k.rsaObject(classPrivateKey, 1), func(o *frame.Object) { o.Always = true })}, 0, []string{"01 leaf always"}},
		{"a token without a PIN", []frame.Object{leaf}, flagLoginRequired, []string{"01 leaf never"}},
		{"a modulus with zeros in front", []frame.Object{leaf, change(k.rsaObject(classPrivateKey, 5), func(o *frame.Object) { o.Modulus = append([]byte{0, 0}, o.Modulus...) })}, 0, []string{"05 leaf once"}},
		{"an exponent with zeros in front", []frame.Object{leaf, change(k.rsaObject(classPublicKey, 5), func(o *frame.Object) { o.Exponent = []byte{0, 0, 1, 0, 1} })}, 0, []string{"05 leaf once"}},
		{"no exponent", []frame.Object{leaf, change(k.rsaObject(classPrivateKey, 5), func(o *frame.Object) { o.Exponent = nil })}, 0, []string{"05 leaf once"}},
		{"an exponent without end", []frame.Object{change(k.rsaObject(classPublicKey, 5), func(o *frame.Object) { o.Exponent = make([]byte, 5000); o.Exponent[0] = 1 })}, 0, nil},
		{"a point in an OCTET STRING", []frame.Object{k.ecObject(classPublicKey, 2, inOctets)}, 0, []string{"02 EC once"}},
		{"a point as it is", []frame.Object{k.ecObject(classPublicKey, 2, point)}, 0, []string{"02 EC once"}},
		{"a point with something behind it", []frame.Object{k.ecObject(classPublicKey, 2, append(slices.Clone(inOctets), 0))}, 0, nil},
		{"a point that is not on the curve", []frame.Object{k.ecObject(classPublicKey, 2, append([]byte{4}, make([]byte, 64)...))}, 0, nil},
		{"a short point", []frame.Object{k.ecObject(classPublicKey, 2, point[:64])}, 0, nil},
		{"an unknown curve", []frame.Object{change(k.ecObject(classPublicKey, 2, point), func(o *frame.Object) { o.Params = []byte{6, 1, 1} })}, 0, nil},
		{"no curve", []frame.Object{change(k.ecObject(classPublicKey, 2, point), func(o *frame.Object) { o.Params = nil })}, 0, nil},
		{"a short key", []frame.Object{change(k.rsaObject(classPublicKey, 2), func(o *frame.Object) { o.Modulus = []byte{1, 2, 3} })}, 0, nil},
		{"nothing", nil, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tok := &Token{id: "p11-00", info: &frame.TokenInfo{Flags: flagLoginRequired &^ tt.without}}
			if got := describe(tok.keysOf(tt.objects)); !slices.Equal(got, tt.want) {
				t.Errorf("keys %q, want %q", got, tt.want)
			}
		})
	}
}

func leafOf(k keyring, id byte) frame.Object {
	return k.certificate(id, "EC leaf", k.ec, false, x509.KeyUsageDigitalSignature)
}

// describe says of each key its slot, label, when it wants the PIN, and whether
// it is only for decryption.
func describe(keys []token.Key) (all []string) {
	for _, key := range keys {
		s := key.Slot + " " + key.Label + " " + map[token.PINPolicy]string{token.PINNever: "never", token.PINOnce: "once", token.PINAlways: "always"}[key.PINPolicy]
		if key.DecryptOnly {
			s += " decrypts"
		}
		all = append(all, s)
	}
	return all
}
