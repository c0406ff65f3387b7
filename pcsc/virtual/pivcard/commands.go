package pivcard

import (
	"bytes"
	"time"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// Instructions (SP 800-73-5 part 2 section 3).
const (
	insVerify              = 0x20
	insChangeReferenceData = 0x24
	insResetRetryCounter   = 0x2C
	insGenerate            = 0x47
	insGeneralAuthenticate = 0x87
	insSelect              = 0xA4
	insGetResponse         = 0xC0
	insGetData             = 0xCB
	insPutData             = 0xDB
	insSetAdminKey         = 0xFF // vendor command, see setAdminKey
)

// Key references of the secrets (SP 800-73-5 part 1 section 5.1).
const (
	refPIN    = 0x80
	refUnlock = 0x81
)

// Class byte (ISO/IEC 7816-4 section 5.4.1): the basic channel, and the bit of
// a chain that goes on.
const (
	claLast = 0x00
	claMore = 0x10
)

// maxChain is the most that is collected of a chain, in bytes: the largest
// object with its tags.
const maxChain = 4096

// Transmit answers one command APDU, whatever it is, with a response APDU, or
// with nothing where the card is silent. The command is not changed and not
// kept; a secret in it is compared in place.
func (c *Card) Transmit(command []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.profile.Behaviour.delay(); d > 0 {
		time.Sleep(d)
	}
	answer := c.run(command)
	if c.profile.Behaviour.silences(command) {
		return nil
	}
	c.truth.command(command, answer)
	return answer
}

func (c *Card) run(command []byte) []byte {
	fresh := c.session.fresh
	c.session.fresh = false
	parsed, err := apdu.ParseCommand(command)
	if err != nil || c.profile.Behaviour.ShortOnly && hasExtendedLength(command) {
		c.session.rest, c.session.chaining = nil, false
		return answer(nil, apdu.SWWrongLength)
	}
	if parsed.INS == insGetResponse && parsed.CLA == claLast {
		return c.getResponse(parsed)
	}
	c.session.rest = nil
	data, sw := c.dispatch(parsed, fresh)
	c.session.rest = data
	return c.give(parsed, sw)
}

// dispatch runs a command, or keeps it as part of a chain.
func (c *Card) dispatch(command apdu.Command, fresh bool) ([]byte, apdu.SW) {
	if command.CLA&^claMore != claLast {
		return nil, apdu.SWClaUnsupported
	}
	switch command.INS {
	case insVerify, insChangeReferenceData, insResetRetryCounter:
		c.session.chaining = false
		return nil, c.useSecret(command)
	}
	command, sw := c.join(command)
	if sw != apdu.SWOK || command.CLA == claMore {
		// A chain is one command: VERIFY is immediately before its first part.
		c.session.fresh = fresh && command.INS == insGeneralAuthenticate && sw == apdu.SWOK
		return nil, sw
	}
	switch command.INS {
	case insSelect:
		return c.selectApplication(command)
	case insGetData:
		return c.getData(command)
	case insGeneralAuthenticate:
		return c.generalAuthenticate(command, fresh)
	}
	return c.manage(command)
}

// manage runs a command of those who issue cards.
func (c *Card) manage(command apdu.Command) ([]byte, apdu.SW) {
	switch command.INS {
	case insGenerate, insPutData, insSetAdminKey:
		if !c.session.selected {
			return nil, apdu.SWNotAllowed
		}
	}
	switch command.INS {
	case insGenerate:
		return c.generate(command)
	case insPutData:
		return nil, c.putData(command)
	case insSetAdminKey:
		return nil, c.setAdminKey(command)
	}
	return nil, apdu.SWInsUnsupported
}

// useSecret runs a command that may carry a secret. Whatever carries one is
// in the truth log, also when the card does not look at it.
func (c *Card) useSecret(command apdu.Command) apdu.SW {
	switch {
	case command.CLA == claMore: // putting parts together would copy the secret
		return c.refuse(attemptOf(command), apdu.SWChaining)
	case !c.session.selected:
		return c.refuse(attemptOf(command), apdu.SWNotAllowed)
	}
	switch command.INS {
	case insVerify:
		return c.verify(command)
	case insChangeReferenceData:
		return c.change(command)
	}
	return c.resetRetry(command)
}

// join puts the parts of a chain together (ISO/IEC 7816-4 section 5.3.3). A
// command that does not belong to the chain ends it.
func (c *Card) join(command apdu.Command) (apdu.Command, apdu.SW) {
	s := &c.session
	chain := s.chain
	if !s.chaining || chain.INS != command.INS || chain.P1 != command.P1 || chain.P2 != command.P2 {
		chain = apdu.Command{INS: command.INS, P1: command.P1, P2: command.P2}
	}
	s.chaining, s.chain = false, apdu.Command{}
	if len(chain.Data)+len(command.Data) > maxChain {
		return apdu.Command{}, apdu.SWWrongLength
	}
	if command.CLA == claLast && len(chain.Data) == 0 {
		return command, apdu.SWOK
	}
	chain.Data = append(chain.Data, command.Data...)
	if command.CLA == claMore {
		s.chaining, s.chain = true, chain
		chain.CLA = claMore
		return chain, apdu.SWOK
	}
	chain.Ne = command.Ne
	return chain, apdu.SWOK
}

// selectApplication is SELECT (SP 800-73-5 part 2 section 3.1.1). Selecting
// the selected application changes nothing, and neither does asking for one
// that is not there.
func (c *Card) selectApplication(command apdu.Command) ([]byte, apdu.SW) {
	if command.P1 != 0x04 || command.P2 != 0x00 { // by name, first or only
		return nil, apdu.SWIncorrectP1P2
	}
	if len(command.Data) < ridLength || !bytes.HasPrefix(applicationID(), command.Data) {
		return nil, apdu.SWNotFound
	}
	c.session.selected = true
	return propertyTemplate(), apdu.SWOK
}

// getData is GET DATA (SP 800-73-5 part 2 section 3.1.2).
func (c *Card) getData(command apdu.Command) ([]byte, apdu.SW) {
	if !c.session.selected {
		return nil, apdu.SWNotAllowed
	}
	if command.P1 != 0x3F || command.P2 != 0xFF { // of the current application
		return nil, apdu.SWIncorrectP1P2
	}
	tag, err := apdu.Find(command.Data, 0x5C)
	if err != nil {
		return nil, apdu.SWWrongData
	}
	if object := c.object(tag); object != nil {
		return object, apdu.SWOK
	}
	return nil, apdu.SWNotFound
}
