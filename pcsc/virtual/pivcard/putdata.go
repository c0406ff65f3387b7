package pivcard

import (
	"bytes"
	"strings"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// Bounds on what is put on the card, in bytes and objects: twice a certificate
// of SP 800-73-5 part 1 appendix A (1,857 bytes; pictures are not for this
// card), and little enough to write at once.
const (
	maxObject  = 4000
	maxObjects = 64
)

// putData is PUT DATA (SP 800-73-5 part 2 section 3.3.1): which object (tag 5C)
// and its content (tag 53). Empty content deletes.
func (c *Card) putData(command apdu.Command) apdu.SW {
	switch {
	case !c.session.admin:
		return apdu.SWSecurityStatus
	case command.P1 != 0x3F || command.P2 != 0xFF: // of the current application
		return apdu.SWIncorrectP1P2
	}
	tag, err := apdu.Find(command.Data, 0x5C)
	if err != nil {
		return apdu.SWWrongData
	}
	content, err := apdu.Find(command.Data, tagObject)
	if err != nil || len(content) > maxObject {
		return apdu.SWWrongData
	}
	name := tagName(tag)
	if !mayBePut(name) {
		return apdu.SWNotSupported
	}
	next := c.profile.clone()
	if len(content) == 0 {
		delete(next.Objects, name)
	} else {
		next.Objects[name] = bytes.Clone(content)
	}
	if len(next.Objects) > maxObjects {
		return swNoRoom
	}
	return c.keep(next, event{Event: eventPut, Object: name})
}

// mayBePut takes the objects of PIV (5FC1xx) and of vendors (5FFFxx). The
// CHUID is not one of them: by its GUID everybody knows the card as virtual,
// and tries are counted under it.
func mayBePut(name string) bool {
	const hexDigits = 6
	return len(name) == hexDigits && name != objectCHUID &&
		(strings.HasPrefix(name, "5fc1") || strings.HasPrefix(name, "5fff"))
}

// swNoRoom is "not enough memory space in the file" (ISO/IEC 7816-4 section
// 5.6).
const swNoRoom apdu.SW = 0x6A84
