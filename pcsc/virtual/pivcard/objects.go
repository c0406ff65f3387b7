package pivcard

import "github.com/inkan-project/inkan/pcsc/apdu"

// ridLength is the part of the application identifier that names NIST; a right
// truncated identifier has at least this.
const ridLength = 5

// applicationID is the full AID of PIV (SP 800-73-5 part 1 section 2.2): RID of
// NIST, PIX, version 1.0.
func applicationID() []byte {
	return []byte{0xA0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00}
}

// propertyTemplate is the answer to SELECT (SP 800-73-5 part 2 section 3.1.1).
func propertyTemplate() []byte {
	aid := applicationID()
	t := apdu.AppendTLV(nil, 0x4F, aid[ridLength:])                         // PIX with the version
	t = apdu.AppendTLV(t, 0x79, apdu.AppendTLV(nil, 0x4F, aid[:ridLength])) // tag allocation authority
	t = apdu.AppendTLV(t, 0x50, []byte("Inkan Virtual Card"))               // label
	return apdu.AppendTLV(nil, 0x61, t)
}

// object returns a data object (SP 800-73-5 part 1 section 4.3), or nil.
func (c *Card) object(tag []byte) []byte {
	switch string(tag) {
	case "\x5F\xC1\x02":
		return apdu.AppendTLV(nil, 0x53, c.profile.chuid())
	case "\x5F\xC1\x05":
		return c.certificateObject(SlotAuthentication)
	case "\x5F\xC1\x0A":
		return c.certificateObject(SlotSignature)
	case "\x5F\xC1\x01":
		return c.certificateObject(SlotCardAuth)
	case "\x7E":
		return discovery()
	}
	return nil
}

// certificateObject holds a certificate that is not compressed (SP 800-73-5
// part 1 appendix A, X.509 certificates).
func (c *Card) certificateObject(s Slot) []byte {
	k := c.key(s)
	if k == nil {
		return nil
	}
	b := apdu.AppendTLV(nil, 0x70, k.certificate)
	b = apdu.AppendTLV(b, 0x71, []byte{0}) // CertInfo: not compressed
	b = apdu.AppendTLV(b, 0xFE, nil)       // error detection code, empty
	return apdu.AppendTLV(nil, 0x53, b)
}

// chuid is the card holder unique identifier (SP 800-73-5 part 1 section 3.1.2
// and appendix A). The signature is empty: nobody issued this card.
func (p *profile) chuid() []byte {
	b := apdu.AppendTLV(nil, 0x30, fascN())
	b = apdu.AppendTLV(b, 0x34, p.GUID)
	b = apdu.AppendTLV(b, 0x35, []byte(p.Expires))
	b = apdu.AppendTLV(b, 0x3E, nil)
	return apdu.AppendTLV(b, 0xFE, nil)
}

// fascN is agency 9999, system 9999, credential 999999: the number of cards
// that no federal agency issued (SP 800-73-5 part 1 section 3.1.2), in the
// 5-bit code of "Technical Implementation Guidance: Smart Card Enabled
// Physical Access Control Systems" version 2.2 section 6.
func fascN() []byte {
	return []byte{
		0xD4, 0xE7, 0x39, 0xDA, 0x73, 0x9C, 0xED, 0x39, 0xCE, 0x73, 0x9D, 0x83, 0x68,
		0x58, 0x21, 0x08, 0x42, 0x10, 0x84, 0x21, 0xC8, 0x42, 0x10, 0xC3, 0xEB,
	}
}

// discovery is the discovery object (SP 800-73-5 part 1 section 3.3.2): the
// PIN policy says that there is the PIV PIN and nothing else.
func discovery() []byte {
	b := apdu.AppendTLV(nil, 0x4F, applicationID())
	b = apdu.AppendTLV(b, 0x5F2F, []byte{0x40, 0x00})
	return apdu.AppendTLV(nil, 0x7E, b)
}
