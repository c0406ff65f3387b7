package client

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc/metadata"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// agents opens the PIN agent of a Client when a call may need it.
type agents struct {
	path   string
	source PINSource
	named  string // an agent of another process that is asked instead

	slot chan struct{} // holds one value: the right to open or close; waits mind ctx

	mu      sync.Mutex // guards the fields that follow; never held while waiting
	current *agent
	closed  bool
	failure error // why there is no agent, or why the newest prompt failed
}

func newAgents(path string, source PINSource, named string) *agents {
	slot := make(chan struct{}, 1)
	slot <- struct{}{}
	return &agents{path: path, source: source, named: named, slot: slot}
}

// with names this Client's agent in a call. Where there is none (no source, or
// pin.sock cannot be reached) the call goes on without: a key that needs no
// PIN still signs, and inkand says [ErrNoPINAgent] for the others.
func (s *agents) with(ctx context.Context) context.Context {
	if s.named != "" {
		return metadata.AppendToOutgoingContext(ctx, metadataAgent, s.named)
	}
	if s.source == nil {
		return ctx
	}
	select {
	case <-s.slot:
		defer func() { s.slot <- struct{}{} }()
	case <-ctx.Done():
		return ctx
	}
	s.mu.Lock()
	a, closed := s.current, s.closed
	s.failure = nil
	s.mu.Unlock()
	if a == nil || !a.alive() {
		if closed {
			return ctx
		}
		var err error
		if a, err = openAgent(ctx, s.path, s.source, s.note); err != nil {
			s.note(err)
			return ctx
		}
		s.mu.Lock()
		s.current = a
		s.mu.Unlock()
	}
	return metadata.AppendToOutgoingContext(ctx, metadataAgent, a.id)
}

// note keeps why no PIN came. A person's own no is not a failure, and neither
// is that the time is over: inkand says so itself. It takes the lock in any
// case: with after, that makes what the source did visible to the caller.
func (s *agents) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isFailure(err) {
		s.failure = err
	}
}

// isFailure tells what went wrong from a person's no and from the end of a
// prompt.
func isFailure(err error) bool {
	return err != nil && !errors.Is(err, ErrCancel) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// after ends a call that may have used the source. It adds what went wrong on
// our side to an error that says no PIN came.
func (s *agents) after(err error) error {
	s.mu.Lock()
	failure := s.failure
	s.mu.Unlock()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	if e.Reason == inkanpb.Reason_REASON_NO_PIN_AGENT || e.Reason == inkanpb.Reason_REASON_PROMPT_CANCELLED {
		return e.because(failure)
	}
	return e
}

// close ends the agent and waits for it; later calls go without.
func (s *agents) close() {
	<-s.slot
	defer func() { s.slot <- struct{}{} }()
	s.mu.Lock()
	a := s.current
	s.current, s.closed = nil, true
	s.mu.Unlock()
	if a != nil {
		a.close()
	}
}
