package module

import (
	"errors"

	"github.com/miekg/pkcs11"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// maxSlots is how many slots are looked at.
const maxSlots = 64

// slots returns the slots with their tokens.
func (p *process) slots() frame.Answer {
	ids, err := p.ctx.GetSlotList(false)
	if err != nil {
		return failed("C_GetSlotList", err)
	}
	answer := frame.Answer{}
	for _, id := range ids[:min(len(ids), maxSlots)] {
		info, err := p.ctx.GetSlotInfo(id)
		if err != nil {
			continue // it is gone again
		}
		slot := frame.Slot{ID: id, Description: Clean(info.SlotDescription)}
		if info.Flags&pkcs11.CKF_TOKEN_PRESENT != 0 {
			slot.Token, _ = p.token(id)
		}
		answer.Slots = append(answer.Slots, slot)
	}
	return answer
}

func (p *process) token(slot uint) (*frame.TokenInfo, error) {
	info, err := p.ctx.GetTokenInfo(slot)
	if err != nil {
		return nil, err
	}
	return &frame.TokenInfo{
		Label: Clean(info.Label), Manufacturer: Clean(info.ManufacturerID),
		Model: Clean(info.Model), Serial: Clean(info.SerialNumber),
		Flags: info.Flags, MinPIN: info.MinPinLen, MaxPIN: info.MaxPinLen,
	}, nil
}

// open opens the session in which all else happens.
func (p *process) open(slot uint) frame.Answer {
	if p.isOpen {
		return failed("", errOrder)
	}
	session, err := p.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return failed("C_OpenSession", err)
	}
	p.session, p.isOpen, p.slot, p.loggedIn = session, true, slot, false
	info, err := p.ctx.GetSessionInfo(session)
	if err != nil {
		return failed("C_GetSessionInfo", err)
	}
	mechanisms, err := p.ctx.GetMechanismList(slot)
	if err != nil {
		return failed("C_GetMechanismList", err)
	}
	answer := frame.Answer{State: info.State}
	for _, m := range mechanisms {
		answer.Mechanisms = append(answer.Mechanisms, m.Mechanism)
	}
	if answer.Token, err = p.token(slot); err != nil {
		return failed("C_GetTokenInfo", err)
	}
	p.first = *answer.Token
	return answer
}

// login gives the secret to the module once. What the token says of the tries
// left afterwards comes along where it says anything.
func (p *process) login(user uint, secrets []*token.PIN) frame.Answer {
	if !p.isOpen || len(secrets) != 1 {
		return failed("", errOrder)
	}
	if user == pkcs11.CKU_USER {
		if err := p.logout(); err != nil {
			return failed("C_Logout", err)
		}
	}
	rv, err := p.functions.login(uint(p.session), user, secrets[0])
	secrets[0].Wipe()
	if err != nil {
		return failed("C_Login", err)
	}
	p.loggedIn = p.loggedIn || rv == pkcs11.CKR_OK
	answer := frame.Answer{RV: rv, Call: "C_Login"}
	if rv != pkcs11.CKR_OK {
		answer.Token, _ = p.token(p.slot)
	}
	return answer
}

// writable opens a session that may change the token, in the place of the one
// that is open.
func (p *process) writable(secrets []*token.PIN) (frame.Answer, bool) {
	if len(secrets) != 2 {
		return failed("", errOrder), false
	}
	if answer := p.close(); !answer.OK() {
		return answer, false
	}
	answer := p.reopen(pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION)
	return answer, answer.OK()
}

// errOtherToken means that another token came into the slot meanwhile: nothing
// was given to it.
var errOtherToken = errors.New("another token is in the slot now")

// reopen opens a session with the token that was there before.
func (p *process) reopen(flags uint) frame.Answer {
	session, err := p.ctx.OpenSession(p.slot, flags)
	if err != nil {
		return failed("C_OpenSession", err)
	}
	p.session, p.isOpen = session, true
	now, err := p.token(p.slot)
	switch {
	case err != nil:
		return failed("C_GetTokenInfo", err)
	case now.Serial != p.first.Serial || now.Model != p.first.Model || now.Manufacturer != p.first.Manufacturer || now.Label != p.first.Label:
		return failed("", errOtherToken)
	}
	return frame.Answer{}
}

// setPIN changes the PIN by the old one.
func (p *process) setPIN(secrets []*token.PIN) frame.Answer {
	if answer, ok := p.writable(secrets); !ok {
		return answer
	}
	rv, err := p.functions.setPIN(uint(p.session), secrets[0], secrets[1])
	if err != nil {
		return failed("C_SetPIN", err)
	}
	answer := frame.Answer{RV: rv, Call: "C_SetPIN"}
	answer.Token, _ = p.token(p.slot)
	return answer
}

// unlock sets a new PIN by the unlock code, which is the SO PIN of PKCS#11.
func (p *process) unlock(secrets []*token.PIN) frame.Answer {
	if p.openSC.is {
		return p.unlockOpenSC(secrets)
	}
	if answer, ok := p.writable(secrets); !ok {
		return answer
	}
	rv, err := p.functions.login(uint(p.session), pkcs11.CKU_SO, secrets[0])
	secrets[0].Wipe()
	if err != nil || rv != pkcs11.CKR_OK {
		answer := failed("C_Login", err)
		if err == nil {
			answer.RV, answer.Call = rv, "C_Login"
			answer.Token, _ = p.token(p.slot)
		}
		return answer
	}
	p.loggedIn = true
	rv, err = p.functions.initPIN(uint(p.session), secrets[1])
	if err != nil {
		return failed("C_InitPIN", err)
	}
	answer := frame.Answer{RV: rv, Call: "C_InitPIN"}
	answer.Token, _ = p.token(p.slot)
	return answer
}

// close ends login and session.
func (p *process) close() frame.Answer {
	if !p.isOpen {
		return frame.Answer{}
	}
	if err := p.logout(); err != nil {
		return failed("C_Logout", err)
	}
	p.isOpen = false
	return failed("C_CloseAllSessions", p.ctx.CloseAllSessions(p.slot))
}

// logout ends a login of ours.
func (p *process) logout() error {
	if !p.loggedIn {
		return nil
	}
	p.loggedIn = false
	return p.ctx.Logout(p.session)
}
