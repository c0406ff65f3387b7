package client

import (
	"context"
	"errors"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// VerifyPIN asks for the PIN and proves it to the card once; a wrong one
// spends a try. It returns the tries after the success.
func (c *Client) VerifyPIN(ctx context.Context, cardID string) (*inkanpb.PinStatus, error) {
	r, err := once(ctx, c, asked{}, func(as asked) (*inkanpb.VerifyPinResponse, error) {
		return c.card.VerifyPin(c.agents.with(ctx), &inkanpb.VerifyPinRequest{CardId: cardID, RequestId: as.id, Repeat: as.repeat})
	})
	if err := c.agents.after(err); err != nil {
		return nil, err
	}
	return r.GetPin(), nil
}

// ChangePIN asks for the PIN, a new one and the new one again, and changes it;
// a wrong old PIN spends a try. The source must be a [SecretSource]. After
// [ErrChangeUnknown] the card has either the old or the new PIN. It returns
// the tries after the success.
func (c *Client) ChangePIN(ctx context.Context, cardID string) (*inkanpb.PinStatus, error) {
	r, err := once(ctx, c, asked{}, func(as asked) (*inkanpb.ChangePinResponse, error) {
		return c.card.ChangePin(c.agents.with(ctx), &inkanpb.ChangePinRequest{CardId: cardID, RequestId: as.id, Repeat: as.repeat})
	})
	if err := c.agents.after(err); err != nil {
		return nil, err
	}
	return r.GetPin(), nil
}

// Unlocked is what [Client.Unlock] returns: the tries after the success.
type Unlocked struct {
	PIN        *inkanpb.PinStatus
	UnlockCode *inkanpb.PinStatus
	// Warnings are stable codes (INK-6002); [Explain] has their words.
	Warnings []string
}

// Unlock asks for the unlock code and a new PIN twice, and gives the card the
// new PIN with all its tries. A wrong code spends one of its few tries; a card
// without any must be re-issued. The source must be a [SecretSource].
func (c *Client) Unlock(ctx context.Context, cardID string) (Unlocked, error) {
	r, err := once(ctx, c, asked{}, func(as asked) (*inkanpb.UnlockResponse, error) {
		return c.card.Unlock(c.agents.with(ctx), &inkanpb.UnlockRequest{CardId: cardID, RequestId: as.id, Repeat: as.repeat})
	})
	if err := c.agents.after(err); err != nil {
		return Unlocked{}, err
	}
	return Unlocked{PIN: r.GetPin(), UnlockCode: r.GetUnlockCode(), Warnings: r.GetWarnings()}, nil
}

// Acknowledged is what [Client.Acknowledge] returns: the card now.
type Acknowledged struct {
	State      inkanpb.CardState
	PIN        *inkanpb.PinStatus
	UnlockCode *inkanpb.PinStatus
}

// Acknowledge ends the state held (保留) and the wait for a re-insertion.
// Without a reason a person confirms in the trusted prompt; with one an
// administrator acknowledges, and it is recorded.
func (c *Client) Acknowledge(ctx context.Context, cardID, reason string) (Acknowledged, error) {
	if err := c.checkText("reason", reason); err != nil {
		return Acknowledged{}, err
	}
	r, err := once(ctx, c, asked{}, func(as asked) (*inkanpb.AcknowledgeResponse, error) {
		called := ctx
		if reason == "" {
			called = c.agents.with(ctx)
		}
		return c.card.Acknowledge(called, &inkanpb.AcknowledgeRequest{CardId: cardID, Reason: reason, RequestId: as.id, Repeat: as.repeat})
	})
	if err := c.agents.after(err); err != nil {
		return Acknowledged{}, err
	}
	return Acknowledged{State: r.GetState(), PIN: r.GetPin(), UnlockCode: r.GetUnlockCode()}, nil
}

// StopHere stops every use of a card on this PC, at once and for good: only an
// administrator can lift it. serialTail is the last four characters of the
// card's serial as the person typed them; reason may be empty and is recorded.
// The card may be gone. When StopHere has returned nil nothing is signed with
// the card here any more; the registry has not been told. It returns the
// number of its record in the log.
func (c *Client) StopHere(ctx context.Context, cardID, serialTail, reason string) (record uint64, err error) {
	if err := errors.Join(c.checkText("confirm_serial_tail", serialTail), c.checkText("reason", reason)); err != nil {
		return 0, err
	}
	r, err := surely(ctx, c, func(as asked) (*inkanpb.StopHereResponse, error) {
		return c.card.StopHere(ctx, &inkanpb.StopHereRequest{
			CardId: cardID, ConfirmSerialTail: serialTail, Reason: reason, RequestId: as.id, Repeat: as.repeat,
		})
	})
	if err != nil {
		return 0, err
	}
	return r.GetRecord(), nil
}
