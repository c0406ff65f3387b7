package cardowner

import (
	"context"
	"errors"
	"fmt"

	"github.com/inkan-project/inkan/token"
)

// meet identifies a card that was just inserted and reads its keys: once, so
// that a strange card is left alone afterwards.
func (r *reader) meet() {
	ctx := context.Background()
	card, err := r.probe(ctx)
	if err == nil {
		err = r.owner.cfg.Met(ctx, card.Identity, card.Keys)
	}
	if err == nil && r.person && r.owner.cfg.Inserted != nil {
		err = r.owner.cfg.Inserted(ctx, card.Identity.Card)
	}
	r.card = card
	if err != nil {
		before := r.problem
		r.card = nil
		r.problem = r.owner.fault(err)
		if r.again(err) {
			r.retry.Reset(r.pause(err))
		}
		if before == nil || before.Kind != r.problem.Kind { // else it is looked at once more
			r.logger.Info("Card is not usable", "problem", r.problem.Kind, "error", err)
		}
	} else {
		r.logger.Info("Card inserted", "card", card.Identity.Card, "application", card.Application, "keys", len(card.Keys))
	}
	_ = r.settle() // a card that cannot be reset was let go
	r.publish(r.problem, false)
}

// probe asks each application in turn whether the card is its own.
func (r *reader) probe(ctx context.Context) (*Card, error) {
	for _, app := range r.owner.cfg.Applications {
		if err := r.connect(ctx); err != nil {
			return nil, err
		}
		if app.Takes != nil && !app.Takes(r.conn) {
			continue
		}
		r.clean = false
		tok, id, profile, err := r.identify(ctx, app)
		if errors.Is(err, token.ErrNotMine) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("identifying the card: %w", err)
		}
		r.owner.claim(r, id.Card)
		id.Virtual = id.Virtual || r.now.Virtual
		if err := r.owner.admit(id); err != nil {
			return nil, err
		}
		keys, err := tok.Keys(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the keys: %w", err)
		}
		tries, _, err := tok.Tries(ctx, token.SecretPIN)
		if err != nil {
			return nil, fmt.Errorf("reading the tries left: %w", err)
		}
		r.app = app
		return &Card{Identity: id, Reader: r.name, Profile: profile, Keys: keys, OnCard: tries}, nil
	}
	return nil, token.NewError(token.KindCardUnknown)
}

// identify asks an application for the card identity, in the way that every
// card understands, and again as its own card profile says where that differs:
// an ATR is shared by cards that take extended length and cards that refuse it.
func (r *reader) identify(ctx context.Context, app Application) (token.Token, token.Identity, token.Profile, error) {
	careful := app.Profile(r.conn.ATR(), "")
	careful.Extended = false
	tok := r.open(app, careful)
	id, err := tok.Identify(ctx)
	if err != nil {
		return nil, token.Identity{}, careful, err
	}
	own := app.Profile(r.conn.ATR(), id.Card)
	if own.Name == careful.Name && !own.Extended {
		return tok, id, refined(tok, own), nil
	}
	tok = r.open(app, own)
	again, err := tok.Identify(ctx)
	if err == nil && again.Card != id.Card {
		err = token.NewError(token.KindCardChanged)
	}
	return tok, again, refined(tok, own), err
}

// refiner is a token that knows more than its card profile, for example how
// long a PIN can be.
type refiner interface {
	Profile() token.Profile
}

func refined(tok token.Token, p token.Profile) token.Profile {
	if r, ok := tok.(refiner); ok {
		return r.Profile()
	}
	return p
}

// open speaks to an application within the time that each command has.
func (r *reader) open(app Application, profile token.Profile) token.Token {
	return app.Open(Connection{r.conn, r.bounded, r.may}, profile)
}

// admit refuses cards that the configuration does not want.
func (o *Owner) admit(id token.Identity) error {
	if o.cfg.Admit == nil {
		return nil
	}
	return o.cfg.Admit(id)
}
