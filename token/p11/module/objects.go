package module

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"

	"github.com/miekg/pkcs11"

	"github.com/inkan-project/inkan/token/p11/frame"
)

// Bounds on what is read from a token.
const (
	maxObjects = 256      // of each class
	maxValue   = 16 << 10 // bytes of an attribute
)

// objects returns the certificates and keys that can be seen.
func (p *process) objects() frame.Answer {
	if !p.isOpen {
		return failed("", errOrder)
	}
	answer, size := frame.Answer{}, 0
	for _, class := range []uint{pkcs11.CKO_CERTIFICATE, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY} {
		handles, err := p.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, class))
		if err != nil {
			return failed("C_FindObjects", err)
		}
		for _, handle := range handles {
			o := p.object(class, handle)
			if size += len(o.ID) + len(o.Label) + len(o.Certificate) + len(o.Modulus) + len(o.Exponent) + len(o.Params) + len(o.Point); size > frame.Max {
				return failed("", errTooLong)
			}
			answer.Objects = append(answer.Objects, o)
		}
	}
	return answer
}

// object reads the attributes of an object. One at a time: a token that lacks
// one answers to none.
func (p *process) object(class uint, handle pkcs11.ObjectHandle) frame.Object {
	o := frame.Object{
		Class: class, ID: p.attribute(handle, pkcs11.CKA_ID),
		Label: Clean(string(p.attribute(handle, pkcs11.CKA_LABEL))),
	}
	if class == pkcs11.CKO_CERTIFICATE {
		if number(p.attribute(handle, pkcs11.CKA_CERTIFICATE_TYPE)) == pkcs11.CKC_X_509 {
			o.Certificate = p.attribute(handle, pkcs11.CKA_VALUE)
		}
		return o
	}
	o.KeyType = number(p.attribute(handle, pkcs11.CKA_KEY_TYPE))
	switch o.KeyType {
	case pkcs11.CKK_RSA:
		o.Modulus = p.attribute(handle, pkcs11.CKA_MODULUS)
		o.Exponent = p.attribute(handle, pkcs11.CKA_PUBLIC_EXPONENT)
	case pkcs11.CKK_EC:
		o.Params = p.attribute(handle, pkcs11.CKA_EC_PARAMS)
		o.Point = p.attribute(handle, pkcs11.CKA_EC_POINT)
	}
	signs := uint(pkcs11.CKA_VERIFY)
	if class == pkcs11.CKO_PRIVATE_KEY {
		signs = pkcs11.CKA_SIGN
		o.Always = isTrue(p.attribute(handle, pkcs11.CKA_ALWAYS_AUTHENTICATE))
	}
	value := p.attribute(handle, signs)
	o.NoSign = len(value) == 1 && value[0] == 0
	return o
}

// find returns the objects that fit a template.
func (p *process) find(template ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	if err := p.ctx.FindObjectsInit(p.session, template); err != nil {
		return nil, err
	}
	handles, _, err := p.ctx.FindObjects(p.session, maxObjects)
	if final := p.ctx.FindObjectsFinal(p.session); err == nil {
		err = final
	}
	return handles, err
}

// attribute reads an attribute, nil if there is none or it is too long.
func (p *process) attribute(handle pkcs11.ObjectHandle, kind uint) []byte {
	got, err := p.ctx.GetAttributeValue(p.session, handle, []*pkcs11.Attribute{pkcs11.NewAttribute(kind, nil)})
	if err != nil || len(got) != 1 || len(got[0].Value) > maxValue {
		return nil
	}
	return got[0].Value
}

// number reads a CK_ULONG, which has the byte order of this machine.
func number(value []byte) uint {
	if len(value) != 8 {
		return ^uint(0)
	}
	var n uint
	for i, b := range value { // little-endian on all that this is built for
		n |= uint(b) << (8 * i)
	}
	return n
}

func isTrue(value []byte) bool { return len(value) == 1 && value[0] != 0 }

// Why a key is not used.
var (
	errNoKey     = errors.New("the token shows no private key for this public key")
	errAmbiguous = errors.New("the token shows several private keys for this public key")
)

// privateKey finds the private key of a public key: by its id, and by what the
// token says of the public key where ids lie.
func (p *process) privateKey(id, spki []byte) (pkcs11.ObjectHandle, error) {
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return 0, err
	}
	class := pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY)
	named, err := p.find(class, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	if err != nil {
		return 0, err
	}
	if len(named) == 1 && p.fits(named[0], public) != no {
		return named[0], nil
	}
	all, err := p.find(class)
	if err != nil {
		return 0, err
	}
	var fitting []pkcs11.ObjectHandle
	for _, handle := range all {
		if p.fits(handle, public) == yes {
			fitting = append(fitting, handle)
		}
	}
	if len(fitting) == 0 {
		if fitting, err = p.byPublicKey(class, public); err != nil {
			return 0, err
		}
	}
	switch len(fitting) {
	case 0:
		return 0, errNoKey
	case 1:
		return fitting[0], nil
	}
	return 0, errAmbiguous
}

// fit says whether an object is about a public key.
type fit uint8

const (
	unknown fit = iota
	yes
	no
)

// fits compares what an object says of its public key.
func (p *process) fits(handle pkcs11.ObjectHandle, public any) fit {
	var have, want []byte
	switch k := public.(type) {
	case *rsa.PublicKey:
		have, want = p.attribute(handle, pkcs11.CKA_MODULUS), k.N.Bytes()
		have = new(big.Int).SetBytes(have).Bytes() // some pad it with zeros
	case *ecdsa.PublicKey:
		have = p.attribute(handle, pkcs11.CKA_EC_POINT)
		point, err := k.Bytes()
		if err != nil {
			return no
		}
		if want = point; len(have) > len(point) && bytes.HasSuffix(have, point) { // in an OCTET STRING
			have = point
		}
	}
	switch {
	case len(have) == 0:
		return unknown
	case bytes.Equal(have, want):
		return yes
	}
	return no
}

// byPublicKey finds the private keys that have the id of the public key object
// with this public key.
func (p *process) byPublicKey(class *pkcs11.Attribute, public any) ([]pkcs11.ObjectHandle, error) {
	all, err := p.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY))
	if err != nil {
		return nil, err
	}
	for _, handle := range all {
		id := p.attribute(handle, pkcs11.CKA_ID)
		if p.fits(handle, public) != yes || len(id) == 0 {
			continue
		}
		return p.find(class, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	}
	return nil, nil
}

// begin finds a key and begins a signature.
func (p *process) begin(b *frame.Begin) frame.Answer {
	if !p.isOpen || b == nil {
		return failed("", errOrder)
	}
	key, err := p.privateKey(b.ID, b.SPKI)
	if err != nil {
		return failed("C_FindObjects", err)
	}
	var parameters any
	if b.PSS != nil {
		parameters = pkcs11.NewPSSParams(b.PSS.Hash, b.PSS.MGF, b.PSS.Salt)
	}
	if err := p.ctx.SignInit(p.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(b.Mechanism, parameters)}, key); err != nil {
		return failed("C_SignInit", err)
	}
	return frame.Answer{Again: isTrue(p.attribute(key, pkcs11.CKA_ALWAYS_AUTHENTICATE))}
}

// sign ends a signature that was begun.
func (p *process) sign(data []byte) frame.Answer {
	if !p.isOpen {
		return failed("", errOrder)
	}
	signature, err := p.ctx.Sign(p.session, data)
	if err != nil {
		return failed("C_Sign", err)
	}
	return frame.Answer{Signature: signature}
}
