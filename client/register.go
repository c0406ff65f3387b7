package client

import (
	"context"
	"unicode/utf8"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Cards lists the register (カード台帳): all cards that were ever seen on this
// PC, also those that are gone, in the order they were first seen.
// Certificates come without their bytes.
func (c *Client) Cards(ctx context.Context) ([]*inkanpb.RegisteredCard, error) {
	var cards []*inkanpb.RegisteredCard
	for card, err := range pages(c.language, func(token string) ([]*inkanpb.RegisteredCard, string, error) {
		r, err := c.register.ListCards(ctx, &inkanpb.ListCardsRequest{PageToken: token})
		return r.GetCards(), r.GetNextPageToken(), err
	}) {
		if err != nil {
			return nil, err
		}
		cards = append(cards, card)
	}
	return cards, nil
}

// Lift lets a card that was stopped here be used again, for an administrator.
// The reason is recorded. It returns the number of its record in the log.
func (c *Client) Lift(ctx context.Context, cardID, reason string) (record uint64, err error) {
	if err := c.checkText("reason", reason); err != nil {
		return 0, err
	}
	r, err := surely(ctx, c, func(as asked) (*inkanpb.LiftResponse, error) {
		return c.register.Lift(ctx, &inkanpb.LiftRequest{CardId: cardID, Reason: reason, RequestId: as.id, Repeat: as.repeat})
	})
	if err != nil {
		return 0, err
	}
	return r.GetRecord(), nil
}

// checkText refuses what cannot be sent as text.
func (c *Client) checkText(field, text string) error {
	if utf8.ValidString(text) {
		return nil
	}
	return NewError(inkanpb.Reason_REASON_REQUEST_INVALID, c.language, map[string]string{"detail": field + ": not UTF-8"})
}
