package cardowner

import (
	"slices"
	"strings"

	"github.com/inkan-project/inkan/token"
)

// Tries are counted by card identity. When several cards say that they have the
// same one, a PIN for the one could go to the other: so none of them is used
// until a person has taken all but one out. A card counts from the moment that
// it says who it is, usable or not, until it leaves its reader.

// claim notes who the card in a reader says that it is.
func (o *Owner) claim(from *reader, id token.CardID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.readers[from.name] != from || !from.told.Present || from.told.Insertion != from.now.Insertion {
		return // that card is gone, or its reader is
	}
	if o.claims[from.name] == id {
		return
	}
	o.claims[from.name] = id
	if twice := o.duplicateLocked(id); twice != nil {
		o.cfg.Logger.Warn("Several cards claim one identity: none of them is used", "card", id, "readers", twice.Meta["readers"])
	}
	o.notifyLocked()
}

// disclaim forgets who the card in a reader was.
func (o *Owner) disclaim(from *reader) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.readers[from.name] == from {
		delete(o.claims, from.name)
	}
}

// claimedLocked returns a reader with what the claims say of its card: it may
// have left already, though its own goroutine has not heard of it, and it may
// not be the only one.
func (o *Owner) claimedLocked(r Reader) Reader {
	id, claims := o.claims[r.Name]
	if r.Card != nil && r.Card.Identity.Card != id {
		r.Card = nil
	}
	if claims && r.Problem == nil {
		r.Problem = o.duplicateLocked(id)
	}
	return r
}

// duplicateLocked returns the error that names the readers of all cards which
// claim an identity, or nil if there are not several.
func (o *Owner) duplicateLocked(id token.CardID) *token.Error {
	var names []string
	for name, claimed := range o.claims {
		if claimed == id {
			names = append(names, name)
		}
	}
	if len(names) < 2 {
		return nil
	}
	slices.Sort(names)
	return token.NewError(token.KindCardDuplicate, "card", string(id), "readers", strings.Join(names, ", "))
}

// alone returns an error unless one card alone claims an identity.
func (o *Owner) alone(id token.CardID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if twice := o.duplicateLocked(id); twice != nil {
		return twice
	}
	return nil
}
