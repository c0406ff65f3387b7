package client

import (
	"context"
	"fmt"
	"unicode/utf8"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// give takes what a prompt asks for from the source and hands it to inkand,
// once. An error means that nothing was handed over.
func (a *agent) give(ctx context.Context, p *inkanpb.PinPrompt) error {
	a.note(nil) // takes the lock that the caller took: what it did is visible to the source
	prompt := promptOf(p)
	answer := &inkanpb.PinAnswer{PromptId: p.GetPromptId()}
	err := a.confirm(ctx, prompt, answer)
	switch {
	case err != nil:
	case prompt.Secret == inkanpb.SecretKind_SECRET_KIND_NONE:
		if err = ctx.Err(); err == nil {
			err = writePacket(a.conn, answerPacket(answer), nil)
		}
	default:
		err = a.giveSecret(ctx, prompt, answer)
	}
	a.note(err)
	return err
}

// confirm lets the person type what the prompt wants typed besides, and puts
// it into the answer.
func (a *agent) confirm(ctx context.Context, p Prompt, answer *inkanpb.PinAnswer) error {
	if p.Confirmation == "" {
		if p.Secret == inkanpb.SecretKind_SECRET_KIND_NONE {
			return errNothing
		}
		return nil
	}
	confirmer, ok := a.source.(Confirmer)
	if !ok {
		return errNoConfirmer
	}
	typed, err := confirmer.Confirm(ctx, p)
	if err != nil {
		return err
	}
	// What does not fit into the packet is not what was asked for: handed on as
	// nothing typed, never cut.
	if utf8.ValidString(typed) && utf8.RuneCountInString(typed) <= MaxConfirmation {
		answer.Confirmation = typed
	}
	return nil
}

// giveSecret takes a secret from the source through locked memory and a memfd
// to inkand, and leaves no copy.
func (a *agent) giveSecret(ctx context.Context, p Prompt, answer *inkanpb.PinAnswer) error {
	ask, err := asker(a.source, p.Secret)
	if err != nil {
		return err
	}
	page, err := newSecretPage()
	if err != nil {
		return fmt.Errorf("locking memory for the PIN: %w", err)
	}
	defer page.wipe()
	n, err := ask(ctx, p, page.buffer())
	if err != nil {
		return err
	}
	if n < 0 || n > MaxPINLength {
		return fmt.Errorf("PIN source gave a length of %d bytes", n)
	}
	if err := ctx.Err(); err != nil {
		return err // too late: nobody waits for it
	}
	answer.Length = uint32(n)
	return page.send(n, func(rights []byte) error { return writePacket(a.conn, answerPacket(answer), rights) })
}

// asker returns the method of a source that may be asked for a secret. Only
// what says that it knows other secrets is asked for them.
func asker(source PINSource, secret inkanpb.SecretKind) (func(context.Context, Prompt, []byte) (int, error), error) {
	switch secret {
	case inkanpb.SecretKind_SECRET_KIND_PIN:
		return source.PIN, nil
	case inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE, inkanpb.SecretKind_SECRET_KIND_NEW_PIN, inkanpb.SecretKind_SECRET_KIND_NEW_PIN_AGAIN:
		if s, ok := source.(SecretSource); ok {
			return s.Secret, nil
		}
		return nil, errOnlyPIN
	case inkanpb.SecretKind_SECRET_KIND_UNSPECIFIED, inkanpb.SecretKind_SECRET_KIND_NONE:
	}
	return nil, errNothing
}

func answerPacket(answer *inkanpb.PinAnswer) *inkanpb.PinPacket {
	return &inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Answer{Answer: answer}}
}
