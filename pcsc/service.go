package pcsc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Config is what a Service may be told; the zero value will do.
type Config struct {
	// Timeout bounds a call whose context does not end earlier. 0: 30 seconds.
	Timeout time.Duration
	// Stuck is called once, when more than MaxStuck calls have not returned:
	// the process should end in good order and be started again.
	Stuck func(error)
}

const defaultTimeout = 30 * time.Second

// Service is the PC/SC service of this computer, pcscd, at the socket that
// PCSCLITE_CSOCK_NAME names, else at the usual one; libpcsclite reads that
// variable once per process. It implements [System] and may be used by several
// goroutines. Two Services in one process must not watch readers of the same
// name at the same time: the binding would free the names under one of them.
type Service struct {
	calls   *calls
	timeout time.Duration

	watching chan struct{} // holds one token: who has it may use watch
	watch    watch

	peeking sync.Mutex // one look into a reader at a time: see handle.peek

	mu      sync.Mutex     // guards the fields that follow
	stuck   map[string]int // calls that have not returned, by reader
	asked   bool
	absent  error         // why pcscd cannot be reached, or nil
	changed chan struct{} // closed at the next change of absent
}

// NewService returns the service. It does not ask for it yet: a computer on
// which pcscd is not there, or comes and goes, is an ordinary one.
func NewService(cfg Config) *Service {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	s := &Service{
		calls: &calls{stuck: cfg.Stuck}, timeout: cfg.Timeout,
		watching: make(chan struct{}, 1), stuck: map[string]int{}, changed: make(chan struct{}),
	}
	s.watching <- struct{}{}
	return s
}

// Health says whether pcscd could be reached when it was last needed: nil, or
// an error wrapping [ErrNoService] or [ErrDenied]. The channel is closed when
// the answer changes. Before the first Wait nothing is known, and it is nil.
func (s *Service) Health() (changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed, s.absent
}

func (s *Service) setHealth(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := (err == nil) == (s.absent == nil) && errors.Is(err, ErrDenied) == errors.Is(s.absent, ErrDenied)
	if s.asked && same {
		return
	}
	s.asked, s.absent = true, err
	close(s.changed)
	s.changed = make(chan struct{})
}

// Pauses between two attempts to reach pcscd.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// Wait implements [System]. Without pcscd there are no readers, which is no
// error: it is looked for again and again, and [Service.Health] says so.
func (s *Service) Wait(ctx context.Context, known []ReaderState) ([]ReaderState, error) {
	select {
	case <-s.watching:
		defer func() { s.watching <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	pause := firstPause
	for {
		now, err := s.look(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.setHealth(err)
		if known == nil || !slices.EqualFunc(now, known, sameState) {
			return now, nil
		}
		if err == nil && s.watch.block(ctx, s.calls) {
			pause = firstPause
			continue
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		pause = min(2*pause, lastPause)
	}
}

// look returns the readers as they are. When they cannot be seen there are
// none, and the error says why.
func (s *Service) look(ctx context.Context) ([]ReaderState, error) {
	ctx, cancel := graced(ctx, s.timeout)
	defer cancel()
	states, old, err := s.watch.look(ctx, s.calls)
	if err != nil && old {
		// The pcscd that we knew is gone. What counts is whether there is one.
		states, _, err = s.watch.look(ctx, s.calls)
	}
	if err != nil {
		err = s.asAbsent(err)
		return []ReaderState{}, fmt.Errorf("looking at the readers: %w", err)
	}
	s.watch.refusals = 0
	return states, nil
}

// asAbsent sees to it that whatever keeps us from the readers is a service
// that is not there: a caller needs to tell no more than that, and whether it
// is there but refuses us. A pcscd that is just ending refuses us once, too.
func (s *Service) asAbsent(err error) error {
	switch {
	case errors.Is(err, ErrNoService):
		s.watch.refusals = 0
		return cmp.Or(shut(err), err)
	case errors.Is(err, ErrDenied):
		if s.watch.refusals++; s.watch.refusals > 1 {
			return err
		}
	}
	return fmt.Errorf("%w: %v", ErrNoService, err) //nolint:errorlint // what it seemed to be is not what it is
}

func sameState(a, b ReaderState) bool {
	return a.Name == b.Name && a.Present == b.Present && a.Insertion == b.Insertion
}

// countStuck counts the calls in a reader that have not returned: while there
// is one, no other thread is spent on that reader. A call may return before it
// was counted, so that the sum is below zero for a moment.
func (s *Service) countStuck(reader string, by int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck[reader] += by; s.stuck[reader] == 0 {
		delete(s.stuck, reader)
	}
}

func (s *Service) isStuck(reader string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stuck[reader] > 0
}

// Close lets pcscd go. No Wait may be running; cards that are connected stay.
func (s *Service) Close() error {
	select {
	case <-s.watching:
	default:
		return errors.New("closing the PC/SC service: somebody is still waiting for readers")
	}
	s.watch.drop()
	s.watching <- struct{}{}
	return nil
}
