package pivcard

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"slices"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// GENERATE ASYMMETRIC KEY PAIR (SP 800-73-5 part 2 section 3.3.2).
const (
	tagControl   = 0xAC   // control reference template
	tagMechanism = 0x80   // cryptographic mechanism identifier
	tagPublicKey = 0x7F49 // the answer
	tagModulus   = 0x81
	tagExponent  = 0x82
	tagPoint     = 0x86
)

// generate makes a new key in a slot. The certificate of the key before it
// stays where it is, as on other cards: whoever manages the card puts a new
// one.
func (c *Card) generate(command apdu.Command) ([]byte, apdu.SW) {
	if !c.session.admin {
		return nil, apdu.SWSecurityStatus
	}
	slot := Slot(command.P2)
	if _, ok := certificateTag(slot); !ok || command.P1 != 0 {
		return nil, apdu.SWIncorrectP1P2
	}
	control, err := apdu.ParseTLV(command.Data)
	if err != nil || len(control) != 1 || control[0].Tag != tagControl {
		return nil, apdu.SWWrongData
	}
	// Only the mechanism: policies of YubiKeys (AA, AB) would be promises that
	// this card does not keep.
	mechanism, err := apdu.ParseTLV(control[0].Value)
	if err != nil || len(mechanism) != 1 || mechanism[0].Tag != tagMechanism || len(mechanism[0].Value) != 1 {
		return nil, apdu.SWWrongData
	}
	keyType := KeyType(mechanism[0].Value[0])
	private, err := newKey(keyType)
	if err != nil {
		return nil, apdu.SWWrongData
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, apdu.SWNoDiagnosis
	}
	next := c.profile.clone()
	next.Keys = slices.DeleteFunc(next.Keys, func(k keyEntry) bool { return k.Slot == slot })
	next.Keys = append(next.Keys, keyEntry{Slot: slot, Type: keyType, PrivateKey: pkcs8})
	slices.SortFunc(next.Keys, func(a, b keyEntry) int { return int(a.Slot) - int(b.Slot) })
	if sw := c.keep(next, event{Event: eventGenerate, Slot: slot.String()}); sw != apdu.SWOK {
		return nil, sw
	}
	return publicKeyTemplate(private.Public()), apdu.SWOK
}

// publicKeyTemplate is the answer (SP 800-73-5 part 2 section 3.3.2, table of
// data objects in the template 7F49).
func publicKeyTemplate(public any) []byte {
	var b []byte
	switch k := public.(type) {
	case *rsa.PublicKey:
		b = apdu.AppendTLV(nil, tagModulus, k.N.Bytes())
		b = apdu.AppendTLV(b, tagExponent, big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil { // not for the curves of this card
			return nil
		}
		b = apdu.AppendTLV(nil, tagPoint, point)
	}
	return apdu.AppendTLV(nil, tagPublicKey, b)
}

// keep puts a change of the card on record, and makes it durable.
func (c *Card) keep(next profile, e event) apdu.SW {
	e.SW = apdu.SWOK.String()
	if err := c.truth.record(e); err != nil {
		return apdu.SWMemoryFailure
	}
	if err := c.store(next); err != nil {
		return apdu.SWMemoryFailure
	}
	return apdu.SWOK
}
