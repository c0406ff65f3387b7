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
// That wants the whole AID in tag 4F; YubiKeys give the part after the RID, and
// so does this card.
func propertyTemplate() []byte {
	aid := applicationID()
	t := apdu.AppendTLV(nil, 0x4F, aid[ridLength:])                         // PIX with the version
	t = apdu.AppendTLV(t, 0x79, apdu.AppendTLV(nil, 0x4F, aid[:ridLength])) // tag allocation authority
	t = apdu.AppendTLV(t, 0x50, []byte("Inkan Virtual Card"))               // label
	return apdu.AppendTLV(nil, 0x61, t)
}

// Tags of data objects (SP 800-73-5 part 1 table 3), in hexadecimal.
const (
	objectCHUID      = "5fc102"
	objectCapability = "5fc107"
	objectHistory    = "5fc10c"
	objectDiscovery  = "7e"
)

// Inside a certificate's object (SP 800-73-5 part 1 appendix A).
const (
	tagObject      = 0x53
	tagCertificate = 0x70
	tagCertInfo    = 0x71
	tagCheck       = 0xFE // error detection code, always empty
)

// guidLength is that of the GUID in the CHUID.
const guidLength = 16

// certificateTag returns the tag of a slot's certificate object.
func certificateTag(s Slot) (string, bool) {
	switch s {
	case SlotAuthentication:
		return "5fc105", true
	case SlotSignature:
		return "5fc10a", true
	case SlotKeyManagement:
		return "5fc10b", true
	case SlotCardAuth:
		return "5fc101", true
	}
	return "", false
}

// object returns a data object as GET DATA answers it, or nil. What the card
// makes itself comes first: nothing that is put can take its place.
func (c *Card) object(tag []byte) []byte {
	switch name := tagName(tag); name {
	case objectCHUID:
		return apdu.AppendTLV(nil, tagObject, c.profile.chuid())
	case objectDiscovery:
		return discovery()
	default:
		if content, ok := c.profile.Objects[name]; ok {
			return apdu.AppendTLV(nil, tagObject, content)
		}
		switch name {
		case objectCapability:
			return apdu.AppendTLV(nil, tagObject, c.profile.capability())
		case objectHistory:
			return apdu.AppendTLV(nil, tagObject, keyHistory())
		}
	}
	return nil
}

// certificateContent holds a certificate that is not compressed (SP 800-73-5
// part 1 appendix A, X.509 certificates).
func certificateContent(certificate []byte) []byte {
	b := apdu.AppendTLV(nil, tagCertificate, certificate)
	b = apdu.AppendTLV(b, tagCertInfo, []byte{0}) // not compressed
	return apdu.AppendTLV(b, tagCheck, nil)
}

// capability is the card capability container (SP 800-73-5 part 1 section
// 3.1.1 and appendix A): the values that PIV prescribes, and a card identifier
// (RID of the GSC, manufacturer FF, type 02 = Java Card, number).
func (p *profile) capability() []byte {
	identifier := append([]byte{0xA0, 0x00, 0x00, 0x01, 0x16, 0xFF, 0x02}, p.GUID[2:]...)
	b := apdu.AppendTLV(nil, 0xF0, identifier)
	b = apdu.AppendTLV(b, 0xF1, []byte{0x21}) // version of the container
	b = apdu.AppendTLV(b, 0xF2, []byte{0x21}) // version of the grammar
	b = apdu.AppendTLV(b, 0xF3, nil)
	b = apdu.AppendTLV(b, 0xF4, []byte{0x00}) // no PKCS#15
	b = apdu.AppendTLV(b, 0xF5, []byte{0x10}) // data model number of PIV
	for _, tag := range []uint32{0xF6, 0xF7, 0xFA, 0xFB, 0xFC, 0xFD, tagCheck} {
		b = apdu.AppendTLV(b, tag, nil)
	}
	return b
}

// keyHistory says that there are no retired keys (SP 800-73-5 part 1 section
// 3.3.3).
func keyHistory() []byte {
	b := apdu.AppendTLV(nil, 0xC1, []byte{0}) // with certificates on the card
	b = apdu.AppendTLV(b, 0xC2, []byte{0})    // with certificates elsewhere
	return apdu.AppendTLV(b, tagCheck, nil)
}

// chuid is the card holder unique identifier (SP 800-73-5 part 1 section 3.1.2
// and appendix A). The signature is empty: nobody issued this card.
func (p *profile) chuid() []byte {
	b := apdu.AppendTLV(nil, 0x30, fascN())
	b = apdu.AppendTLV(b, 0x34, p.GUID)
	b = apdu.AppendTLV(b, 0x35, []byte(p.Expires))
	b = apdu.AppendTLV(b, 0x3E, nil)
	return apdu.AppendTLV(b, tagCheck, nil)
}

// fascN is the number that SP 800-73-5 part 1 section 3.1.2 wants: agency 9999,
// system 9999, credential 999999, as on cards that no federal agency issued, in the
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
