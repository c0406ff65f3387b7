package pivcard

import "github.com/inkan-project/inkan/pcsc/apdu"

// shortAnswer is the most that one answer holds without extended length.
const shortAnswer = 256

// hasExtendedLength reports whether the length fields of a command are the
// extended ones (ISO/IEC 7816-4 section 5.2): the first is 00, and not the last
// byte.
func hasExtendedLength(command []byte) bool {
	const header = 4
	return len(command) > header+1 && command[header] == 0
}

// getResponse is GET RESPONSE (ISO/IEC 7816-4 section 5.3.4).
func (c *Card) getResponse(command apdu.Command) []byte {
	c.session.chaining = false
	switch {
	case command.P1 != 0 || command.P2 != 0:
		return answer(nil, apdu.SWIncorrectP1P2)
	case len(c.session.rest) == 0:
		return answer(nil, apdu.SWConditions)
	case command.Ne == 0:
		return answer(nil, apdu.SWWrongLength)
	}
	return c.give(command, apdu.SWOK)
}

// give answers with at most as many bytes as are wanted of what there is, and
// 61xx while there is more (ISO/IEC 7816-4 section 5.3.4).
func (c *Card) give(command apdu.Command, sw apdu.SW) []byte {
	b := &c.profile.Behaviour
	n := min(wanted(command), len(c.session.rest))
	switch {
	case b.wantsExactLe(command, len(c.session.rest)):
		return answer(nil, 0x6C00|apdu.SW(len(c.session.rest)))
	case b.T0 && command.INS != insGetResponse && len(command.Data) > 0:
		n = 0
	case b.Pieces:
		n = min(n, shortAnswer)
	}
	data := c.session.rest[:n]
	c.session.rest = c.session.rest[n:]
	if left := len(c.session.rest); left > 0 {
		sw = 0x6100
		if left < shortAnswer {
			sw |= apdu.SW(left)
		}
	}
	return answer(data, sw)
}

// wanted returns how much is wanted. A command without Le gets 256, as from
// other cards: libykpiv 2.2.0 sends none with SELECT and follows no 61xx there.
func wanted(command apdu.Command) int {
	if command.Ne == 0 {
		return shortAnswer
	}
	return command.Ne
}

// wantsExactLe reports whether a card with ExactLe refuses: less than was asked
// for is there, so that 6Cxx can say how much. Over T=0 only a command without
// data has an Le (ISO/IEC 7816-3 section 12.2). A command that does more than
// read is never one to be sent again.
func (b *Behaviour) wantsExactLe(command apdu.Command, left int) bool {
	reads := command.INS == insGetResponse || !b.T0 && (command.INS == insGetData || command.INS == insSelect)
	return b.ExactLe && reads && left > 0 && left < shortAnswer && command.Ne > left
}

func answer(data []byte, sw apdu.SW) []byte {
	b := make([]byte, 0, len(data)+2)
	return append(append(b, data...), byte(sw>>8), byte(sw))
}
