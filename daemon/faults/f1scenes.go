package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon/faults/house"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
)

// Secrets of the scenes.
const (
	wrongPIN  = "000000"
	wrongCode = "87654321"
	newPIN    = "482913"
	laterPIN  = "739152"
)

// cardKind is a card and what the person knows of it.
type cardKind struct {
	name      string
	wrong     bool // the person enters what is wrong
	Behaviour pivcard.Behaviour
	elsewhere int // tries spent before
}

// Cards of the scenes.
func cards() []cardKind {
	mute := pivcard.Behaviour{Wrong: "6982", EmptyVerify: "6982"} // says no count, like OpenPGP cards
	return []cardKind{
		{name: "right"},
		{name: "wrong", wrong: true},
		{name: "blocked", elsewhere: pivcard.Tries},                       // which it says when it is asked
		{name: "mute-blocked", Behaviour: mute, elsewhere: pivcard.Tries}, // which only the answer to a PIN shows
		{name: "silent", Behaviour: pivcard.Behaviour{Silent: true}},
	}
}

func (c cardKind) pin() string {
	if c.wrong {
		return wrongPIN
	}
	return pivcard.DemoPIN
}

func (c cardKind) code() string {
	if c.wrong {
		return wrongCode
	}
	return pivcard.DemoUnlockCode
}

// act is what inkand dies in.
type act struct {
	name  string
	first func(context.Context, *house.Visitor) error // nil = nothing comes before
	do    func(context.Context, *house.Visitor, cardKind) error
	idle  string // how long inkand keeps the card; "" = its default
	// boot: inkand dies while it starts, do is what it died in before; nil =
	// nothing.
	boot bool
}

func acts() []act {
	sign := func(slot string) act {
		return act{name: "sign-" + slot, do: func(ctx context.Context, v *house.Visitor, c cardKind) error {
			return v.Sign(ctx, slot, c.pin())
		}}
	}
	later := sign("9a")
	later.name, later.idle = "sign-9a-later", "1ms" // the card was let go
	return []act{
		{name: "start", boot: true},
		{name: "recovery", boot: true, do: sign("9a").do},
		sign("9a"), sign("9c"), sign("9e"), later,
		{name: "verify", do: func(ctx context.Context, v *house.Visitor, c cardKind) error { return v.Verify(ctx, c.pin()) }},
		{name: "change", do: func(ctx context.Context, v *house.Visitor, c cardKind) error { return v.Change(ctx, c.pin(), newPIN) }},
		{name: "unlock", do: func(ctx context.Context, v *house.Visitor, c cardKind) error { return v.Unlock(ctx, c.code(), newPIN) }},
		{name: "stop", do: func(ctx context.Context, v *house.Visitor, _ cardKind) error { return v.StopHere(ctx) }},
		{name: "lift", first: func(ctx context.Context, v *house.Visitor) error { return v.StopHere(ctx) }, do: func(ctx context.Context, v *house.Visitor, _ cardKind) error {
			return v.Lift(ctx)
		}},
		{name: "acknowledge", first: hold, do: func(ctx context.Context, v *house.Visitor, _ cardKind) error { return v.Acknowledge(ctx, "") }},
		{name: "acknowledge-as-administrator", first: hold, do: func(ctx context.Context, v *house.Visitor, _ cardKind) error {
			return v.Acknowledge(ctx, "checked")
		}},
	}
}

// hold has a silent card held.
func hold(ctx context.Context, v *house.Visitor) error {
	for range 3 {
		if err := v.Verify(ctx, pivcard.DemoPIN); !errors.Is(err, client.ErrPINNoVerdict) {
			return fmt.Errorf("a PIN for a silent card ended with: %w", err)
		}
	}
	return nil
}

// scene is an act with a card, and the points that it must hit.
type scene struct {
	act    act
	card   cardKind
	points points
	warm   int // signatures before
}

func (s scene) String() string { return s.act.name + " with a " + s.card.name + " card" }

// firstOnly reports whether the scene is only itself in a new house: a start, a
// card that is let go at any moment, or one that is found to be blocked.
func (s scene) firstOnly() bool {
	return s.act.boot || s.act.idle != "" || s.card.name == "blocked"
}

func (s scene) options(dir string) house.Options {
	return house.Options{Dir: dir, Behaviour: s.card.Behaviour, Elsewhere: s.card.elsewhere, Idle: s.act.idle}
}

// refusal reports whether an act with this card may be refused like this.
func (s scene) refusal(err error) bool {
	may := map[string][]error{
		"wrong":        {client.ErrPINWrong, client.ErrUnlockCodeWrong},
		"blocked":      {client.ErrCardLocked},
		"mute-blocked": {client.ErrCardLocked},
		"silent":       {client.ErrPINNoVerdict, client.ErrChangeUnknown, client.ErrUnlockUnknown, client.ErrCardSilent, client.ErrReaderFault, client.ErrCardRemoved},
	}
	return slices.ContainsFunc(may[s.card.name], func(allowed error) bool { return errors.Is(err, allowed) })
}

// scenes are those of a tier: what an act does with a card, where that differs.
func scenes(t Tier) (all []scene) {
	for _, a := range acts() {
		for _, c := range cards() {
			s := scene{act: a, card: c, points: mustHit(a.name, c.name)}
			// A stop does not touch the card, and 9c is 9a for every card but the
			// right one.
			same := (a.name == "stop" || a.name == "lift" || a.name == "sign-9c") && c.name != "right"
			if len(s.points) > 0 && (t != Commit || !same) {
				all = append(all, s)
			}
		}
	}
	return all
}
