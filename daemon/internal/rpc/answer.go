package rpc

import (
	"context"
	"sync"
	"time"
)

// answer is that of one call, and what is to be called once it has left or
// cannot leave any more.
type answer struct {
	stream uint32
	// bytes is after how many bytes of the stream's messages it has left; 0:
	// with the end of the stream.
	bytes int

	mu    sync.Mutex // guards the fields that follow
	calls []func()
	over  bool
	at    time.Time // when the handler gave it; zero: not yet
}

type answerKey struct{}

// withAnswer gives a call its answer. The function that it returns must be
// called when the handler has ended, before gRPC sends anything.
func withAnswer(ctx context.Context) (context.Context, func(err error)) {
	a := &answer{}
	return context.WithValue(ctx, answerKey{}, a), func(err error) { a.end(ctx, err) }
}

// end notes that the handler has ended. An error lets nothing out that anybody
// waits for.
func (a *answer) end(ctx context.Context, err error) {
	a.mu.Lock()
	a.at = time.Now()
	wanted := len(a.calls) > 0
	a.mu.Unlock()
	c := wireOf(ctx)
	if !wanted || err != nil || c == nil {
		a.run()
		return
	}
	a.stream = streamOf(ctx)
	c.wait(a)
}

// after has f called once the answer has left.
func (a *answer) after(f func()) {
	a.mu.Lock()
	over := a.over
	if !over {
		a.calls = append(a.calls, f)
	}
	a.mu.Unlock()
	if over {
		f()
	}
}

// given returns when the handler gave the answer.
func (a *answer) given() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at
}

func (a *answer) run() {
	a.mu.Lock()
	calls := a.calls
	a.calls, a.over = nil, true
	a.mu.Unlock()
	for _, f := range calls {
		f()
	}
}
