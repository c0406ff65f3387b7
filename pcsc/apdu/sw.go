package apdu

import "fmt"

// SW is a status word, SW1 and SW2 (ISO/IEC 7816-4 section 5.6).
type SW uint16

// Status words (ISO/IEC 7816-4 section 5.6, tables of SW1-SW2 meanings).
const (
	SWOK              SW = 0x9000 // normal processing
	SWWrongNoCount    SW = 0x6300 // wrong secret, tries left not told (old cards)
	SWMemoryFailure   SW = 0x6581 // the card could not write its state
	SWWrongLength     SW = 0x6700 // wrong length
	SWChannel         SW = 0x6881 // logical channel not supported
	SWSecureMessaging SW = 0x6882 // secure messaging not supported
	SWLastExpected    SW = 0x6883 // last command of the chain expected
	SWChaining        SW = 0x6884 // command chaining not supported
	SWSecurityStatus  SW = 0x6982 // security status not satisfied
	SWBlocked         SW = 0x6983 // authentication method blocked
	SWRefDataUnusable SW = 0x6984 // reference data not usable
	SWConditions      SW = 0x6985 // conditions of use not satisfied
	SWNotAllowed      SW = 0x6986 // command not allowed (no application selected)
	SWWrongData       SW = 0x6A80 // incorrect parameters in the data field
	SWNotSupported    SW = 0x6A81 // function not supported
	SWNotFound        SW = 0x6A82 // file or application not found
	SWIncorrectP1P2   SW = 0x6A86 // incorrect P1-P2
	SWRefNotFound     SW = 0x6A88 // reference data not found
	SWInsUnsupported  SW = 0x6D00 // instruction not supported
	SWClaUnsupported  SW = 0x6E00 // class not supported
	SWNoDiagnosis     SW = 0x6F00 // no precise diagnosis
)

// Families of status words that carry a number.
const (
	swCounterFirst SW = 0x63C0 // 63Cx: x tries left
	swMoreFirst    SW = 0x6100 // 61xx: xx bytes more to fetch
	swWrongLeFirst SW = 0x6C00 // 6Cxx: xx is the right Le
	swHighByte     SW = 0xFF00
	swCounterMask  SW = 0xFFF0
)

// Counter returns x of 63Cx, the number of tries left. It says nothing about
// other status words.
func (s SW) Counter() (n int, ok bool) {
	if s&swCounterMask != swCounterFirst {
		return 0, false
	}
	return int(s &^ swCounterMask), true
}

// More returns xx of 61xx: how many bytes GET RESPONSE will give, 256 for 00.
func (s SW) More() (n int, ok bool) { return s.lengthAfter(swMoreFirst) }

// WrongLe returns xx of 6Cxx: the Le to send the command with, 256 for 00.
// The card did not execute the command.
func (s SW) WrongLe() (n int, ok bool) { return s.lengthAfter(swWrongLeFirst) }

func (s SW) lengthAfter(first SW) (int, bool) {
	if s&swHighByte != first {
		return 0, false
	}
	if n := int(s &^ swHighByte); n != 0 {
		return n, true
	}
	return maxShortNe, true
}

// Err returns nil for 9000 and a [StatusError] for every other status word.
func (s SW) Err() error {
	if s == SWOK {
		return nil
	}
	return StatusError{SW: s}
}

// String returns four hexadecimal digits.
func (s SW) String() string { return fmt.Sprintf("%04X", uint16(s)) }

// StatusError is a status word other than 9000 as an error.
type StatusError struct{ SW SW }

// Error implements error: the status word and its meaning.
func (e StatusError) Error() string {
	return fmt.Sprintf("card answered %s (%s)", e.SW, e.SW.meaning())
}

// meaning is the wording of ISO/IEC 7816-4 section 5.6, shortened.
func (s SW) meaning() string {
	if n, ok := s.Counter(); ok {
		return fmt.Sprintf("wrong, %d tries left", n)
	}
	if n, ok := s.More(); ok {
		return fmt.Sprintf("%d bytes more", n)
	}
	if n, ok := s.WrongLe(); ok {
		return fmt.Sprintf("wrong Le, right is %d", n)
	}
	switch s {
	case SWOK:
		return "ok"
	case SWWrongNoCount:
		return "wrong, tries left not told"
	case SWMemoryFailure:
		return "memory failure"
	case SWWrongLength:
		return "wrong length"
	case SWSecurityStatus:
		return "security status not satisfied"
	case SWBlocked:
		return "blocked"
	case SWRefDataUnusable:
		return "reference data not usable"
	case SWConditions:
		return "conditions of use not satisfied"
	case SWNotAllowed:
		return "command not allowed"
	case SWWrongData:
		return "wrong data"
	case SWNotFound:
		return "not found"
	case SWIncorrectP1P2:
		return "incorrect P1-P2"
	case SWRefNotFound:
		return "reference data not found"
	case SWChannel, SWSecureMessaging, SWLastExpected, SWChaining, SWNotSupported, SWInsUnsupported, SWClaUnsupported:
		return "not supported"
	case SWNoDiagnosis:
		return "no precise diagnosis"
	}
	return "status word not known"
}
