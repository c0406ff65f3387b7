package p11

import (
	"errors"
	"fmt"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// Return values of PKCS#11 that mean something here (v3.1 section 5.1).
const (
	ckrOK                    = 0x00
	ckrSlotIDInvalid         = 0x03
	ckrDeviceError           = 0x30
	ckrDeviceRemoved         = 0x32
	ckrMechanismInvalid      = 0x70
	ckrMechanismParamInvalid = 0x71
	ckrPINIncorrect          = 0xA0
	ckrPINInvalid            = 0xA1
	ckrPINLenRange           = 0xA2
	ckrPINExpired            = 0xA3
	ckrPINLocked             = 0xA4
	ckrSessionClosed         = 0xB0
	ckrSessionHandleInvalid  = 0xB3
	ckrTokenNotPresent       = 0xE0
	ckrTokenNotRecognized    = 0xE1
	ckrUserAlreadyLoggedIn   = 0x100
	ckrUserNotLoggedIn       = 0x101
	ckrUserPINNotInitialized = 0x102
	ckrUserAnotherLoggedIn   = 0x104
)

// meaning is what a return value says.
type meaning struct {
	name    string
	verdict token.VerdictKind // about a secret that was given
	kind    token.Kind        // for people, where it is no verdict
	lost    bool              // nothing more is asked before a reset
	form    bool              // the new PIN was refused, and the old one holds
}

// meanings returns what each value means; one that is not there is a fault of
// the card and no verdict.
func meanings() map[uint]meaning {
	return map[uint]meaning{
		ckrOK:                    {name: "CKR_OK", verdict: token.VerdictOK},
		ckrPINIncorrect:          {name: "CKR_PIN_INCORRECT", verdict: token.VerdictWrong},
		ckrPINLocked:             {name: "CKR_PIN_LOCKED", verdict: token.VerdictBlocked},
		ckrPINLenRange:           {name: "CKR_PIN_LEN_RANGE", kind: token.KindCardFault, form: true},
		ckrPINInvalid:            {name: "CKR_PIN_INVALID", kind: token.KindCardFault, form: true},
		ckrPINExpired:            {name: "CKR_PIN_EXPIRED", kind: token.KindPINExpired},
		ckrUserPINNotInitialized: {name: "CKR_USER_PIN_NOT_INITIALIZED", kind: token.KindPINNotSet},
		// Somebody's login is there already: whether this PIN was looked at is not
		// known, and the session is not used any more.
		ckrUserAlreadyLoggedIn: {name: "CKR_USER_ALREADY_LOGGED_IN", kind: token.KindCardFault, lost: true},
		ckrUserAnotherLoggedIn: {name: "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", kind: token.KindCardFault, lost: true},
		ckrUserNotLoggedIn:     {name: "CKR_USER_NOT_LOGGED_IN", kind: token.KindCardFault},

		ckrDeviceRemoved:        {name: "CKR_DEVICE_REMOVED", kind: token.KindCardRemoved, lost: true},
		ckrTokenNotPresent:      {name: "CKR_TOKEN_NOT_PRESENT", kind: token.KindCardRemoved, lost: true},
		ckrTokenNotRecognized:   {name: "CKR_TOKEN_NOT_RECOGNIZED", kind: token.KindCardFault, lost: true},
		ckrSlotIDInvalid:        {name: "CKR_SLOT_ID_INVALID", kind: token.KindCardRemoved, lost: true},
		ckrSessionClosed:        {name: "CKR_SESSION_CLOSED", kind: token.KindCardRemoved, lost: true},
		ckrSessionHandleInvalid: {name: "CKR_SESSION_HANDLE_INVALID", kind: token.KindCardRemoved, lost: true},
		ckrDeviceError:          {name: "CKR_DEVICE_ERROR", kind: token.KindCardSilent, lost: true},

		ckrMechanismInvalid:      {name: "CKR_MECHANISM_INVALID", kind: token.KindAlgorithmMismatch},
		ckrMechanismParamInvalid: {name: "CKR_MECHANISM_PARAM_INVALID", kind: token.KindAlgorithmMismatch},
	}
}

// meaningOf returns what a value means.
func meaningOf(rv uint) meaning {
	m, known := meanings()[rv]
	if !known {
		m = meaning{name: fmt.Sprintf("CKR 0x%X", rv), kind: token.KindCardFault, lost: true}
	}
	return m
}

// Flags of CK_TOKEN_INFO (v3.1 section 3.2, table 6).
const (
	flagLoginRequired  = 0x00000004
	flagPINInitialized = 0x00000008
	flagOwnKeypad      = 0x00000100 // CKF_PROTECTED_AUTHENTICATION_PATH
	flagInitialized    = 0x00000400
	flagPINLow         = 0x00010000
	flagPINFinal       = 0x00020000
	flagPINLocked      = 0x00040000
)

// triesOf returns what a token says of the tries left for its PIN. Numbers it
// has none: only none, the last one, or fewer than all.
func triesOf(t *frame.TokenInfo) token.Tries {
	switch {
	case t == nil:
	case t.Flags&flagPINLocked != 0:
		return token.KnownTries(0)
	case t.Flags&flagPINFinal != 0:
		return token.KnownTries(1)
	case t.Flags&flagPINLow != 0:
		return token.FewerTries()
	}
	return token.Tries{}
}

// verdictOf reads the answer to a secret.
func verdictOf(a frame.Answer) token.Verdict {
	if a.Error != "" {
		return token.Verdict{Cause: token.Errorf(token.KindCardFault, "%s: %s", a.Call, a.Error)}
	}
	m := meaningOf(a.RV)
	v := token.Verdict{Kind: m.verdict}
	switch m.verdict {
	case token.VerdictBlocked:
		v.Tries = token.KnownTries(0)
	case token.VerdictWrong:
		v.Tries = triesOf(a.Token)
	case token.VerdictNone:
		v.Cause = token.Errorf(m.kind, "%s: %s", a.Call, m.name)
	case token.VerdictOK:
	}
	return v
}

// fault says what an error, or an answer that is none of success, means to
// people. doing is the operation in progress, for example "signing".
func (t *Token) fault(doing string, a frame.Answer, err error) *token.Error {
	if said, ok := errors.AsType[*token.Error](err); ok {
		return said
	}
	switch {
	case errors.Is(err, ErrSilent):
		return token.NewError(token.KindCardSilent).Because(fmt.Errorf("%s through module %s: %w", doing, t.module.Name, err))
	case err != nil:
		return broken(t.module.Name, err)
	case a.Error != "":
		return token.Errorf(token.KindCardFault, "%s, %s", doing, a.Error)
	}
	m := meaningOf(a.RV)
	return token.Errorf(m.kind, "%s, %s: %s", doing, a.Call, m.name).InJapanese(a.Call + ": " + m.name)
}

// broken says that a module crashed or talks nonsense.
func broken(name string, cause error) *token.Error {
	detail, ja := "it ended by itself", "異常終了しました"
	switch {
	case errors.Is(cause, ErrSilent):
		detail, ja = "it did not answer in time", "時間内に応答がありません"
	case errors.Is(cause, ErrGarbage):
		detail, ja = "its answer cannot be understood", "応答を解釈できません"
	}
	return token.Errorf(token.KindModuleFault, "%s", detail).InJapanese(ja).With("module", name).Because(cause)
}
