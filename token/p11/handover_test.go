package p11

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/inkan-project/inkan/pcsc"
)

// giving is a card of PC/SC that notes how it is let go.
type giving struct {
	pcsc.Card
	how []pcsc.Disposition
	err error
}

func (g *giving) Disconnect(d pcsc.Disposition) error {
	g.how = append(g.how, d)
	return g.err
}

// nobody is PC/SC without readers.
type nobody struct{ pcsc.System }

func (nobody) Wait(ctx context.Context, _ []pcsc.ReaderState) ([]pcsc.ReaderState, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// What a login or an application of ours left on the card must not be there when
// the module gets it; a card that could not be let go is not used.
func TestACardIsResetBeforeAModuleGetsIt(t *testing.T) {
	m := &Module{Name: "none", Path: "/nonexistent.so"}
	s := NewSystem(nobody{}, []*Module{m}, slog.New(slog.DiscardHandler))
	defer func() { _ = s.Close() }()
	for _, refused := range []error{nil, errors.New("in use")} {
		g := &giving{err: refused}
		// The module cannot be started at all: it is about what comes before.
		for range 3 {
			s.failed(m, "reader", nil)
		}
		c := &Card{system: s, reader: "reader", direct: g}
		_, err := c.enter(t.Context(), m)
		if err == nil || refused != nil && !errors.Is(err, refused) {
			t.Errorf("enter gives %v", err)
		}
		if len(g.how) != 1 || g.how[0] != pcsc.Reset {
			t.Errorf("the card was let go with %v, want once, with a reset", g.how)
		}
		if c.child != nil || c.direct != nil {
			t.Error("the card is still somebody's")
		}
	}
}
