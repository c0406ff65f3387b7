package p11

import (
	"context"

	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// States of a session (PKCS#11 v3.1 section 3.3) in which nobody is logged in.
const (
	stateReadOnlyPublic  = 0 // CKS_RO_PUBLIC_SESSION
	stateReadWritePublic = 2 // CKS_RW_PUBLIC_SESSION
)

// Tries returns what the token says of its PIN, and whether somebody is logged
// in already. It asks nothing that [Token.Identify] has not asked.
func (t *Token) Tries(_ context.Context, secret token.Secret) (tries token.Tries, verified bool, err error) {
	if t.id == "" {
		return token.Tries{}, false, errNotIdentified
	}
	verified = t.state != stateReadOnlyPublic && t.state != stateReadWritePublic
	if secret != token.SecretPIN {
		return token.Tries{}, verified, nil
	}
	return triesOf(t.info), verified, nil
}

// Verify redeems the attempt and gives the PIN to the module: one C_Login.
func (t *Token) Verify(ctx context.Context, pin *token.PIN, attempt *token.Attempt) (token.Verdict, error) {
	return t.login(ctx, frame.OpLogin, pin, attempt)
}

// VerifyAgain implements [token.Beginner]: one C_Login for the signature that
// was begun (CKU_CONTEXT_SPECIFIC).
func (t *Token) VerifyAgain(ctx context.Context, pin *token.PIN, attempt *token.Attempt) (token.Verdict, error) {
	if t.begun == nil {
		return token.Verdict{}, errNotBegun
	}
	return t.login(ctx, frame.OpLoginAgain, pin, attempt)
}

func (t *Token) login(ctx context.Context, op frame.Op, pin *token.PIN, attempt *token.Attempt) (token.Verdict, error) {
	if t.id == "" {
		return token.Verdict{}, errNotIdentified
	}
	if err := pin.Check(t.Profile().PIN); err != nil {
		return token.Verdict{}, err
	}
	if err := attempt.Redeem(t.id, token.SecretPIN); err != nil {
		return token.Verdict{}, err
	}
	return t.give(ctx, frame.Request{Op: op}, pin), nil
}

// ChangePIN redeems the attempt and has the module change the PIN: one C_SetPIN.
func (t *Token) ChangePIN(ctx context.Context, old, next *token.PIN, attempt *token.Attempt) (token.Verdict, error) {
	if t.id == "" {
		return token.Verdict{}, errNotIdentified
	}
	format := t.Profile().PIN
	if err := firstOf(old.Check(format), next.CheckNew(format)); err != nil {
		return token.Verdict{}, err
	}
	if err := attempt.Redeem(t.id, token.SecretPIN); err != nil {
		return token.Verdict{}, err
	}
	return t.give(ctx, frame.Request{Op: frame.OpSetPIN, Slot: t.card.slot}, old, next), nil
}

// Unlock redeems the attempt and has the module set a new PIN: one C_Login with
// the unlock code, which PKCS#11 calls the SO PIN, and C_InitPIN.
func (t *Token) Unlock(ctx context.Context, code, next *token.PIN, attempt *token.Attempt) (token.Verdict, error) {
	if t.id == "" {
		return token.Verdict{}, errNotIdentified
	}
	p := t.Profile()
	if err := firstOf(code.CheckCode(p.UnlockCode), next.CheckNew(p.PIN)); err != nil {
		return token.Verdict{}, err
	}
	if err := attempt.Redeem(t.id, token.SecretUnlockCode); err != nil {
		return token.Verdict{}, err
	}
	v := t.give(ctx, frame.Request{Op: frame.OpUnlock, Slot: t.card.slot}, code, next)
	if v.Kind == token.VerdictWrong {
		v.Tries = token.Tries{} // those of the token are the PIN's
	}
	return v, nil
}

// give gives secrets to the module once and reads what it says of the first.
func (t *Token) give(ctx context.Context, req frame.Request, secrets ...*token.PIN) token.Verdict {
	answer, err := t.ask(ctx, req, secrets...)
	if err != nil {
		return token.Verdict{Cause: t.fault("giving the PIN to the card", answer, err)}
	}
	v := verdictOf(answer)
	if v.Kind == token.VerdictOK && req.Op != frame.OpUnlock { // it has all its tries again
		info := *t.info
		info.Flags &^= flagPINLow | flagPINFinal | flagPINLocked
		t.info = &info
	}
	// With a new PIN there, which of the two is refused shows only in that no
	// function but these looks at a new one.
	if v.Kind == token.VerdictNone && answer.Error == "" && meaningOf(answer.RV).form && (answer.Call == "C_SetPIN" || answer.Call == "C_InitPIN") {
		v.Cause = token.NewError(token.KindNewPINRefusedByCard, "status_word", meaningOf(answer.RV).name)
	}
	return v
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
