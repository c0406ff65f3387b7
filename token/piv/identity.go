package piv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/inkan-project/inkan/pcsc/apdu"
	"github.com/inkan-project/inkan/token"
)

// Data objects (SP 800-73-5 part 1 table 3 and appendix A).
const (
	tagTagList     = 0x5C     // part 2 section 3.1.2: what GET DATA asks for
	tagObject      = 0x53     // part 2 section 3.1.2: what it answers
	tagCHUID       = 0x5FC102 // Card Holder Unique Identifier
	tagFASCN       = 0x30     // in the CHUID: FASC-N, 25 bytes
	tagGUID        = 0x34     // in the CHUID: GUID, 16 bytes
	lengthFASCN    = 25
	lengthGUID     = 16
	cardPrefix     = "piv-"
	fascnPrefix    = cardPrefix + "fascn-"
	virtualPrefix  = "INKV" // pcsc/virtual/pivcard: how its GUIDs begin
	applicationPIV = "PIV"
)

// cardUnknown is the identity of all cards that carry no number at all: they
// share one count of tries, which is the careful side.
const cardUnknown token.CardID = cardPrefix + "unknown"

// identityOf takes the card identity from a CHUID (SP 800-73-5 part 1 section
// 3.1.2): the GUID, without one the FASC-N. A CHUID that cannot be decoded is
// an error, never another identity: that would be a new count of tries.
func identityOf(chuid []byte, found bool) (token.Identity, error) {
	unknown := token.Identity{Card: cardUnknown, Application: applicationPIV}
	if !found {
		return unknown, nil
	}
	guid, err := number(chuid, tagGUID, lengthGUID)
	if err != nil {
		return token.Identity{}, err
	}
	if guid != nil {
		return token.Identity{
			Card:        cardPrefix + token.CardID(hex.EncodeToString(guid)),
			Serial:      uuid(guid),
			Application: applicationPIV,
			Virtual:     bytes.HasPrefix(guid, []byte(virtualPrefix)),
		}, nil
	}
	fascn, err := number(chuid, tagFASCN, lengthFASCN)
	if err != nil {
		return token.Identity{}, err
	}
	if fascn != nil {
		digits := hex.EncodeToString(fascn)
		return token.Identity{Card: fascnPrefix + token.CardID(digits), Serial: digits, Application: applicationPIV}, nil
	}
	return unknown, nil
}

// number returns a number of the CHUID, or nil if it is not there, of another
// length or all zero.
func number(chuid []byte, tag uint32, length int) ([]byte, error) {
	n, err := apdu.Find(chuid, tag)
	if errors.Is(err, apdu.ErrNoTag) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("decoding CHUID: %w", err)
	}
	if len(n) != length || bytes.Equal(n, make([]byte, length)) {
		return nil, nil
	}
	return n, nil
}

// uuid writes a GUID as people read it (RFC 9562 section 4).
func uuid(guid []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", guid[0:4], guid[4:6], guid[6:8], guid[8:10], guid[10:16])
}
