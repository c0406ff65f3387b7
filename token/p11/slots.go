package p11

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11/frame"
	"github.com/inkan-project/inkan/token/p11/module"
)

// pollTime is how often the slots of a module are looked at that has readers of
// its own: PKCS#11 has no event that every module tells.
const pollTime = time.Second

// doubtTime is how long after a token went missing it is looked for once more.
const doubtTime = 200 * time.Millisecond

// doubt lets a token count as taken out only when it is missing twice in a row:
// SoftHSM empties its file for a moment, without a lock, whenever another process
// writes to it, and a card that comes back opens gates of the PIN guard.
type doubt struct{ pending bool }

// believes reports whether what is seen now is to be shown.
func (d *doubt) believes(before, now []slotRef) bool {
	missing := slices.ContainsFunc(before, func(b slotRef) bool {
		return b.state.Present && b.broken == nil && !slices.ContainsFunc(now, func(n slotRef) bool {
			return n.state.Name == b.state.Name && n.ref == b.ref
		})
	})
	d.pending = missing && !d.pending
	return !d.pending
}

// watch looks at the slots of a module until ctx ends. A module that fails
// shows as a reader whose card cannot be used, which says why.
func (s *System) watch(ctx context.Context, m *Module) {
	for ctx.Err() == nil {
		err := s.poll(ctx, m)
		if ctx.Err() != nil {
			return
		}
		s.logger.Warn("PKCS#11 module gives no slots", "module", m.Name, "error", err)
		s.show(m, []slotRef{{
			module: m, broken: err, ref: err.Error(),
			state: pcsc.ReaderState{Name: m.Name, Present: true},
		}})
		select {
		case <-time.After(max(pollTime, s.waitFor(m, m.Name))):
		case <-ctx.Done():
		}
	}
}

// poll looks at the slots until something goes wrong.
func (s *System) poll(ctx context.Context, m *Module) error {
	c, err := s.launch(ctx, m, m.Name)
	if err != nil {
		return err
	}
	defer func() {
		leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
		defer cancel()
		c.close(leaving)
	}()
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	var d doubt
	for {
		within, cancel := s.patient(ctx, m)
		answer, err := c.call(within, frame.Request{Op: frame.OpSlots})
		cancel()
		switch {
		case err != nil:
			s.failed(m, m.Name, err)
			return broken(m.Name, err)
		case answer.RV != ckrOK:
			return unavailable(m, fmt.Sprintf("%s: %s", answer.Call, meaningOf(answer.RV).name))
		}
		s.worked(m, m.Name)
		next := tick.C
		if refs := s.refs(m, answer.Slots); d.believes(s.shown(m), refs) {
			s.show(m, refs)
		} else {
			next = time.After(doubtTime)
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// refs turns slots into readers. A slot of a reader that PC/SC shows us is
// none: its card would be there twice.
func (s *System) refs(m *Module, slots []frame.Slot) (refs []slotRef) {
	for _, slot := range slots {
		if s.isReader(slot.Description) {
			continue
		}
		name := fmt.Sprintf("%s: %s", m.Name, slot.Description)
		if slot.Description == "" || slices.ContainsFunc(refs, func(r slotRef) bool { return r.state.Name == name }) {
			name = fmt.Sprintf("%s: slot %d", m.Name, slot.ID)
		}
		r := slotRef{module: m, id: slot.ID, state: pcsc.ReaderState{Name: name}}
		if t := slot.Token; t != nil && t.Flags&flagInitialized != 0 && m.Token.fits(t) {
			r.state.Present = true
			r.ref = fmt.Sprintf("%q", []string{t.Label, t.Manufacturer, t.Model, t.Serial})
		}
		refs = append(refs, r)
	}
	return refs
}

func (s *System) isReader(description string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.readers, func(r pcsc.ReaderState) bool { return isNamed(description, r.Name) })
}

// shown returns the slots of a module that are known.
func (s *System) shown(m *Module) []slotRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slots[m]
}

// show makes the slots of a module known.
func (s *System) show(m *Module, refs []slotRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.slots[m]
	news := len(before) != len(refs)
	for i := range refs {
		at := slices.IndexFunc(before, func(r slotRef) bool { return r.state.Name == refs[i].state.Name })
		if at < 0 {
			news = true
			continue
		}
		refs[i].state.Insertion = before[at].state.Insertion
		if before[at].ref != refs[i].ref || before[at].id != refs[i].id {
			refs[i].state.Insertion++
			news = true
		}
	}
	s.slots[m] = refs
	if news {
		s.notifyLocked()
	}
}

// launch starts a process for a reader and loads the module into it.
func (s *System) launch(ctx context.Context, m *Module, reader string) (*child, error) {
	if wait := s.waitFor(m, reader); wait > 0 {
		seconds := int(wait/time.Second) + 1
		return nil, unavailable(m, fmt.Sprintf("it failed, and is started again in %d s", seconds)).
			InJapanese(fmt.Sprintf("異常終了したため、%d 秒後に起動し直します", seconds))
	}
	ctx, cancel := s.patient(ctx, m)
	defer cancel()
	c, err := start(m.Writable)
	if err != nil {
		return nil, unavailable(m, err.Error())
	}
	c.lose = s.lose
	answer, err := c.call(ctx, frame.Request{Op: frame.OpLoad, Load: &frame.Load{
		Module: m.Path, Environment: m.Environment, PINMemory: m.PINMemory,
	}})
	switch {
	case err != nil:
		c.close(ctx)
		s.failed(m, reader, err)
		return nil, broken(m.Name, err)
	case !answer.OK() || answer.Info == nil:
		c.close(ctx)
		s.failed(m, reader, nil)
		detail := answer.Error
		if detail == "" {
			detail = fmt.Sprintf("%s: %s", answer.Call, meaningOf(answer.RV).name)
		}
		return nil, unavailable(m, detail).InJapanese("読み込めません: " + detail)
	}
	c.info = *answer.Info
	s.tellOnce(m, answer.Info, c.unconfined)
	return c, nil
}

func unavailable(m *Module, detail string) *token.Error {
	return token.NewError(token.KindModuleUnavailable, "module", m.Name, "detail", detail)
}

// patient bounds one operation by the module's time.
func (s *System) patient(ctx context.Context, m *Module) (context.Context, context.CancelFunc) {
	if m.Timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, m.Timeout)
}

// patience is how a module behaved with the card of one reader, and what we
// make of it: another card has not made it fail.
type patience struct {
	failures int // in a row
	until    time.Time
}

// place is a module and the reader that it is used for.
type place struct {
	module *Module
	reader string
}

// waits are the times before a module that failed so often in a row is started
// again: at once at first, for somebody waits for a signature; the last
// one holds for all that follow.
func waits() []time.Duration {
	return []time.Duration{0, 0, time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute}
}

// waitFor returns how long to wait before a module is started for a reader.
func (s *System) waitFor(m *Module, reader string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, time.Until(s.patience[place{m, reader}].until))
}

// failed notes that a module failed by itself.
func (s *System) failed(m *Module, reader string, because error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, all := place{m, reader}, waits()
	p := s.patience[at]
	wait := all[min(p.failures, len(all)-1)]
	s.patience[at] = patience{p.failures + 1, time.Now().Add(wait)}
	s.logger.Warn("PKCS#11 module failed", "module", m.Name, "reader", reader, "error", because, "in_a_row", p.failures+1, "again_in", wait)
}

// worked notes that a module did what it was asked for.
func (s *System) worked(m *Module, reader string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.patience, place{m, reader})
}

// tellOnce says in the log what module this is.
func (s *System) tellOnce(m *Module, i *frame.Info, unconfined []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.told[m] {
		s.told[m] = true
		s.logger.Info("PKCS#11 module", "module", m.Name, "manufacturer", i.Manufacturer, "library", i.Description, "version", i.Version, "not_confined", unconfined)
	}
}

// clean is how texts of a module arrive.
func clean(text string) string { return module.Clean(text) }
