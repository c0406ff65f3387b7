package rpc

import (
	"context"
	"sync"

	"google.golang.org/grpc/stats"
)

// sent tells when the answer to a call has been handed to the connection: the
// moment from which a signature counts as released.
type sent struct{}

type sentKey struct{}

// afterSend is what is to be called then.
type afterSend struct {
	mu    sync.Mutex // guards the fields that follow
	calls []func()
	over  bool
}

func (a *afterSend) add(f func()) {
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

func (a *afterSend) run() {
	a.mu.Lock()
	calls := a.calls
	a.calls, a.over = nil, true
	a.mu.Unlock()
	for _, f := range calls {
		f()
	}
}

// TagRPC implements stats.Handler.
func (sent) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, sentKey{}, &afterSend{})
}

// HandleRPC implements stats.Handler. gRPC ends a call after it has written the
// answer, or has failed to.
func (sent) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ended := s.(*stats.End); !ended {
		return
	}
	if a, ok := ctx.Value(sentKey{}).(*afterSend); ok {
		a.run()
	}
}

// TagConn implements stats.Handler.
func (sent) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (sent) HandleConn(context.Context, stats.ConnStats) {}
