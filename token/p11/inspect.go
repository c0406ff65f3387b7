package p11

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/inkan-project/inkan/token/p11/frame"
)

// Inspection is what a module says of itself and its tokens without a login.
type Inspection struct {
	Info  frame.Info
	Slots []InspectedSlot
	// Unconfined says what of the cage of its process this kernel does not have.
	Unconfined []string
}

// InspectedSlot is a slot and, if it has a token, what can be seen of it.
type InspectedSlot struct {
	frame.Slot
	Mechanisms []uint         // CKM_…
	Objects    []frame.Object // public ones
	Problem    error          // why there are none, or nil
}

// Inspect starts a module in a process of its own and reads what it shows. It
// never logs in. The readers must be free: it is for when no inkand runs.
func Inspect(ctx context.Context, m *Module) (Inspection, error) {
	s := &System{logger: slog.New(slog.DiscardHandler), patience: map[place]patience{}, told: map[*Module]bool{}}
	c, err := s.launch(ctx, m, m.Name)
	if err != nil {
		return Inspection{}, err
	}
	i := inspector{s, m, c}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
		defer cancel()
		c.close(ending)
	}()
	slots, err := i.ask(ctx, frame.Request{Op: frame.OpSlots})
	if err != nil {
		return Inspection{}, err
	}
	found := Inspection{Info: c.info, Unconfined: c.unconfined}
	for _, slot := range slots.Slots {
		seen := InspectedSlot{Slot: slot}
		if slot.Token != nil && slot.Token.Flags&flagInitialized != 0 {
			seen.Problem = i.look(ctx, &seen)
		}
		found.Slots = append(found.Slots, seen)
	}
	return found, nil
}

// inspector asks one process.
type inspector struct {
	system *System
	module *Module
	child  *child
}

// look opens a session, reads the objects and closes it.
func (i inspector) look(ctx context.Context, seen *InspectedSlot) error {
	opened, err := i.ask(ctx, frame.Request{Op: frame.OpOpen, Slot: seen.ID})
	if err != nil {
		return err
	}
	seen.Mechanisms = opened.Mechanisms
	objects, err := i.ask(ctx, frame.Request{Op: frame.OpObjects})
	if err != nil {
		return err
	}
	seen.Objects = objects.Objects
	_, err = i.ask(ctx, frame.Request{Op: frame.OpClose})
	return err
}

// ask asks within the module's time. What the module refuses is an error, too.
func (i inspector) ask(ctx context.Context, req frame.Request) (frame.Answer, error) {
	ctx, cancel := i.system.patient(ctx, i.module)
	defer cancel()
	answer, err := i.child.call(ctx, req)
	switch {
	case err != nil:
		return answer, err
	case answer.Error != "":
		return answer, fmt.Errorf("%s: %s", answer.Call, answer.Error)
	case answer.RV != ckrOK:
		return answer, fmt.Errorf("%s: %s", answer.Call, meaningOf(answer.RV).name)
	}
	return answer, nil
}
