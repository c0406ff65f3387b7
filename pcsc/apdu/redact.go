package apdu

import (
	"encoding/hex"
	"fmt"
)

// What stands in a trace for what is left out of it. The data field of a
// command that carries a secret does not even tell its length, which is that of
// the PIN on cards without padding.
const (
	masked  = " [secret]"
	leftOut = " [left out]"
)

// INS of commands without secrets, and of the one that carries what is signed
// or decrypted (NIST SP 800-73-5 part 2 sections 3.1.1, 3.1.2 and 3.2.4; ISO/IEC
// 7816-4 section 5.5, table of INS codes).
const (
	insSelect              = 0xA4
	insGetData             = 0xCB
	insGeneralAuthenticate = 0x87
)

// Fields of commands.
const (
	claChannels  = 0x03 // logical channels 0 to 3: ISO/IEC 7816-4 section 5.4.1
	selectByName = 0x04 // P1 of SELECT: SP 800-73-5 part 2 section 3.1.1
	tagTagList   = 0x5C // what GET DATA asks for: section 3.1.2
)

// Longest data fields that are shown.
const (
	maxName = 16 // bytes that an application identifier has at most
	maxTags = 8  // a list of one tag
)

// Redact returns what may be kept of a command, in hexadecimal. It shows what
// is known to hold no secret and leaves out everything else: of SELECT the name
// of the application, of GET DATA the tag, of any other command the header
// alone. Of VERIFY, CHANGE REFERENCE DATA and RESET RETRY COUNTER not even the
// length is told.
func Redact(command []byte) string {
	if len(command) <= headerLength {
		return hex.EncodeToString(command)
	}
	header := hex.EncodeToString(command[:headerLength])
	ins := command[1]
	switch {
	case carriesSecret(ins):
		return header + masked
	case ins == insGeneralAuthenticate:
		return header + fmt.Sprintf(" [%d bytes left out]", len(command)-headerLength)
	case !harmless(command):
		return header + leftOut
	}
	return header + hex.EncodeToString(command[headerLength:])
}

// harmless reports whether all of a command may be shown: nothing but length
// fields follows its header, or the name of an application, or a tag. Another
// class than the interindustry one (ISO/IEC 7816-4 section 5.4.1) may mean
// another thing by the same INS.
func harmless(command []byte) bool {
	c, err := ParseCommand(command)
	if err != nil || c.CLA&^(claChaining|claChannels) != 0 {
		return false
	}
	switch {
	case len(c.Data) == 0:
		return true
	case c.INS == insSelect:
		return c.P1 == selectByName && len(c.Data) <= maxName
	case c.INS == insGetData:
		return c.Data[0] == tagTagList && len(c.Data) <= maxTags
	}
	return false
}

// RedactAnswer returns what may be kept of an answer: the status word and how
// many bytes came before it. What a card tells may be personal (a certificate),
// and after GENERAL AUTHENTICATE it is a signature or what was decrypted.
func RedactAnswer(answer []byte) string {
	r, err := ParseResponse(answer)
	switch {
	case err != nil:
		return fmt.Sprintf("[%d bytes, no status word]", len(answer))
	case len(r.Data) == 0:
		return r.SW.String()
	}
	return fmt.Sprintf("[%d bytes] %s", len(r.Data), r.SW)
}
