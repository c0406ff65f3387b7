package p11

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// System is where readers come from when there are PKCS#11 modules: those of
// PC/SC, and the slots of modules that have readers of their own. It implements
// [pcsc.System] and is safe for concurrent use.
type System struct {
	inner   pcsc.System
	modules []*Module
	logger  *slog.Logger

	lose func(frame.Op) loss // asked about each operation; nil but in tests

	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex         // guards the fields that follow
	readers  []pcsc.ReaderState // those of PC/SC; nil = not looked at yet
	err      error              // why they are not looked at any more
	slots    map[*Module][]slotRef
	changed  chan struct{} // closed at the next change
	patience map[place]patience
	told     map[*Module]bool
}

// slotRef is a slot that is a reader of its own.
type slotRef struct {
	module *Module
	id     uint
	state  pcsc.ReaderState
	ref    string // its token
	broken error  // there is no slot: why the module gives none
}

// NewSystem returns the readers of inner and the slots of the modules that have
// their own. Close ends it.
func NewSystem(inner pcsc.System, modules []*Module, logger *slog.Logger) *System {
	return newSystem(inner, modules, logger, nil)
}

func newSystem(inner pcsc.System, modules []*Module, logger *slog.Logger, lose func(frame.Op) loss) *System {
	ctx, stop := context.WithCancel(context.Background())
	s := &System{
		inner: inner, modules: modules, logger: logger, lose: lose, stop: stop,
		slots: map[*Module][]slotRef{}, changed: make(chan struct{}), patience: map[place]patience{}, told: map[*Module]bool{},
	}
	for _, m := range modules {
		if m.Own {
			s.running.Go(func() { s.watch(ctx, m) })
		}
	}
	s.running.Go(func() { s.watchReaders(ctx) })
	return s
}

// Close ends the processes that watch slots.
func (s *System) Close() error {
	s.stop()
	s.running.Wait()
	return nil
}

// watchReaders keeps what PC/SC says of its readers.
func (s *System) watchReaders(ctx context.Context) {
	var known []pcsc.ReaderState
	for {
		states, err := s.inner.Wait(ctx, known)
		if ctx.Err() != nil {
			return
		}
		if known = states; known == nil {
			known = []pcsc.ReaderState{}
		}
		s.mu.Lock()
		s.readers, s.err = known, err
		s.notifyLocked()
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Wait implements [pcsc.System].
func (s *System) Wait(ctx context.Context, known []pcsc.ReaderState) ([]pcsc.ReaderState, error) {
	for {
		now, changed, err := s.look()
		if err != nil {
			return nil, err
		}
		if now != nil && (known == nil || !slices.EqualFunc(now, known, sameState)) {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func sameState(a, b pcsc.ReaderState) bool {
	return a.Name == b.Name && a.Present == b.Present && a.Insertion == b.Insertion && a.Epoch == b.Epoch
}

// look returns all readers, nil while PC/SC has not said anything yet, and what
// is closed when that changes.
func (s *System) look() (all []pcsc.ReaderState, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers == nil || s.err != nil {
		return nil, s.changed, s.err
	}
	all = slices.Clone(s.readers)
	for _, m := range s.modules {
		for _, slot := range s.slots[m] {
			all = append(all, slot.state)
		}
	}
	return all, s.changed, nil
}

func (s *System) notifyLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// cards returns how many readers of PC/SC hold a card.
func (s *System) cards() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.readers {
		if r.Present {
			n++
		}
	}
	return n
}

// resetShared resets a card that other programs share, where PC/SC can.
func (s *System) resetShared(ctx context.Context, reader string) error {
	if r, ok := s.inner.(interface {
		ResetShared(ctx context.Context, reader string) error
	}); ok {
		return r.ResetShared(ctx, reader)
	}
	return nil
}

// namesakes returns how many readers of PC/SC have slots of the same name: the
// description of a slot is shorter than the name of a reader can be.
func (s *System) namesakes(reader string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.readers {
		if described(r.Name) == described(reader) {
			n++
		}
	}
	return n
}

// Connect implements [pcsc.System].
func (s *System) Connect(ctx context.Context, reader string) (pcsc.Card, error) {
	if slot := s.slotNamed(reader); slot != nil {
		c := &Card{system: s, reader: reader, slotOf: slot, module: slot.module}
		if slot.broken != nil {
			return nil, slot.broken
		}
		var err error
		if c.child, err = s.launch(ctx, slot.module, reader); err != nil {
			return nil, err
		}
		return c, nil
	}
	card, err := s.inner.Connect(ctx, reader)
	if err != nil {
		return nil, err
	}
	return &Card{system: s, reader: reader, direct: card, atr: card.ATR()}, nil
}

func (s *System) slotNamed(reader string) *slotRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, slots := range s.slots {
		for i := range slots {
			if slots[i].state.Name == reader {
				found := slots[i]
				return &found
			}
		}
	}
	return nil
}

// Health says why PC/SC cannot be reached, where its side tells.
func (s *System) Health() (<-chan struct{}, error) {
	if h, ok := s.inner.(interface {
		Health() (<-chan struct{}, error)
	}); ok {
		return h.Health()
	}
	return nil, nil
}

// Programs says who uses PC/SC beside us, where its side tells.
func (s *System) Programs() ([]pcsc.Program, error) {
	if c, ok := s.inner.(interface {
		Programs() ([]pcsc.Program, error)
	}); ok {
		return c.Programs()
	}
	return nil, nil
}
