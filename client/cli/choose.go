package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// chooseKey finds the key that --key names.
func (a *app) chooseKey(ctx context.Context, c *client.Client, name string) (*inkanpb.Key, error) {
	keys, err := c.Keys(ctx)
	if err != nil {
		return nil, err
	}
	return a.pickKey(keys, name)
}

// minTail is the least that names a key by its hash: more than a slot has, lest
// a slot without a key be taken for another key.
const minTail = 4

// pickKey looks for the whole identity, else the slot, else the beginning of
// the part after the dot. The first of these that fits any key decides, and it
// must fit one key only.
func (a *app) pickKey(keys []*inkanpb.Key, name string) (*inkanpb.Key, error) {
	for _, fits := range []func(*inkanpb.Key) bool{
		func(k *inkanpb.Key) bool { return k.GetId() == name },
		func(k *inkanpb.Key) bool { return strings.EqualFold(k.GetSlot(), name) },
		func(k *inkanpb.Key) bool {
			id := k.GetId()
			return len(name) >= minTail && strings.HasPrefix(id[strings.LastIndexByte(id, '.')+1:], strings.ToLower(name))
		},
	} {
		var found []*inkanpb.Key
		for _, k := range keys {
			if fits(k) {
				found = append(found, k)
			}
		}
		switch len(found) {
		case 0:
			continue
		case 1:
			return found[0], nil
		}
		candidates := make([]string, 0, len(found))
		for _, k := range found {
			candidates = append(candidates, k.GetId()+" ("+k.GetSlot()+")")
		}
		return nil, ambiguous("--key", name, candidates)
	}
	return nil, client.NewError(inkanpb.Reason_REASON_KEY_NOT_FOUND, a.lang, map[string]string{"key": name})
}

// chooseCard finds the card that --card names.
func (a *app) chooseCard(ctx context.Context, c *client.Client, name string) (*inkanpb.CardStatus, error) {
	s, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	if len(s.GetCards()) == 0 {
		if err := hidden(ctx, c, s.GetReaders()); err != nil {
			return nil, err
		}
	}
	return a.pickCard(s.GetCards(), name)
}

// hidden returns why no card shows although one is in a reader: its problem,
// or that inkand lets only others use cards.
func hidden(ctx context.Context, c *client.Client, readers []*inkanpb.ReaderStatus) error {
	for _, r := range readers {
		if !r.GetCardPresent() {
			continue
		}
		if code := r.GetProblem(); code != "" {
			return ofReason(reasonOf(code), map[string]string{"en": r.GetName(), "ja": r.GetName()})
		}
		if _, err := c.Keys(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pickCard finds a card by name; without a name it is the only one there.
func (a *app) pickCard(cards []*inkanpb.CardStatus, name string) (*inkanpb.CardStatus, error) {
	switch found := namedCards(cards, name); {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, ambiguousCard(found, name)
	case name == "":
		return nil, &mistake{
			exit: exitNotFound,
			en:   "No card is in any reader.", nextEN: "Insert the card and run: inkan status",
			ja: "リーダにICカードがありません。", nextJA: "カードを差し込み、inkan status で確認してください。",
		}
	}
	return nil, client.NewError(inkanpb.Reason_REASON_CARD_NOT_FOUND, a.lang, map[string]string{"card": name})
}

// chooseRegistered finds the card that --card names in the register, where
// cards stay that are gone.
func (a *app) chooseRegistered(ctx context.Context, c *client.Client, name string) (*inkanpb.RegisteredCard, error) {
	cards, err := c.Cards(ctx)
	if err != nil {
		return nil, err
	}
	return a.pickRegistered(cards, name)
}

// pickRegistered finds a card of the register by name; without a name it is
// the only one that is inserted, else the only one there is.
func (a *app) pickRegistered(cards []*inkanpb.RegisteredCard, name string) (*inkanpb.RegisteredCard, error) {
	found := namedCards(cards, name)
	if name == "" {
		here := slices.DeleteFunc(slices.Clone(cards), func(card *inkanpb.RegisteredCard) bool { return !card.GetPresent() })
		if len(here) > 0 {
			found = here
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, ambiguousCard(found, name)
	case name == "":
		return nil, &mistake{
			exit: exitNotFound,
			en:   "No card was ever seen on this PC.", nextEN: "Insert the card and run: inkan status",
			ja: "このPCで使われたICカードはありません。", nextJA: "カードを差し込み、inkan status で確認してください。",
		}
	}
	return nil, client.NewError(inkanpb.Reason_REASON_CARD_NOT_REGISTERED, a.lang, map[string]string{"card": name})
}

// namedCard is a card of status or of the register.
type namedCard interface {
	GetId() string
	GetSerial() string
	GetCompany() string
}

// namedCards looks for the whole identity or the serial, else the beginning of
// the identity. Without a name it is all of them.
func namedCards[C namedCard](cards []C, name string) []C {
	var found []C
	for _, card := range cards {
		if name != "" && (card.GetId() == name || card.GetSerial() == name) {
			return []C{card}
		}
		if strings.HasPrefix(card.GetId(), name) {
			found = append(found, card)
		}
	}
	return found
}

func ambiguousCard[C namedCard](found []C, name string) error {
	candidates := make([]string, 0, len(found))
	for _, card := range found {
		candidates = append(candidates, card.GetId()+" ("+card.GetCompany()+")")
	}
	return ambiguous("--card", name, candidates)
}

// ambiguous lists what a name could mean.
func ambiguous(flag, name string, candidates []string) error {
	list := strings.Join(candidates, ", ")
	if name == "" {
		return &mistake{
			exit: exitUsage, en: "there is more than one: " + list, nextEN: "Name one with " + flag + ".",
			ja: "複数あります: " + list, nextJA: flag + " で1つを指定してください。",
		}
	}
	return &mistake{
		exit: exitUsage, en: flag + " " + name + " fits more than one: " + list, nextEN: "Give more of it, or the whole identity.",
		ja: flag + " " + name + " に当てはまるものが複数あります: " + list, nextJA: "もっと長く、または全体を指定してください。",
	}
}
