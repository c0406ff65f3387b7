package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// How soon Watch asks again when inkand is away.
const (
	firstWatchPause   = 50 * time.Millisecond
	longestWatchPause = 500 * time.Millisecond
)

// StatusUpdate is one state of many.
type StatusUpdate struct {
	// Sequence grows with each change since inkand started; gaps are states
	// that were passed over. Another start of inkand (Status.Service.StartedAt)
	// counts anew.
	Sequence uint64
	// Status is the whole state; nil while inkand is away.
	Status *inkanpb.Status
	// Lost is why inkand is away, nil if it is not: [ErrServiceUnreachable],
	// [ErrShuttingDown] or [ErrTooManyCalls]. Watch waits for it to come back
	// and goes on with the state of then.
	Lost error
}

// Watch yields the present state at once and then each change, until ctx is
// done or the loop ends. When inkand stops or the connection is lost it yields
// one update that says so, and goes on within a second after inkand is back.
//
// The last pair holds the error that ended it: [ErrCallEnded] for a ctx that
// is done or a Client that was closed, or what waiting cannot mend, such as [ErrSocketNotTrusted]. Each
// Watch is one of the calls that a user may have at once.
func (c *Client) Watch(ctx context.Context) iter.Seq2[StatusUpdate, error] {
	return func(yield func(StatusUpdate, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		pause, lost := firstWatchPause, false
		for {
			err := c.watchOnce(ctx, func(u StatusUpdate) bool {
				pause, lost = firstWatchPause, false
				return yield(u, nil)
			})
			switch {
			case errors.Is(err, errLoopEnded):
				return
			case !c.passes(ctx, err):
				yield(StatusUpdate{}, err)
				return
			case !lost && !yield(StatusUpdate{Lost: err}, nil):
				return
			}
			lost = true
			select {
			case <-ctx.Done():
				yield(StatusUpdate{}, c.ended(ctx))
				return
			case <-time.After(pause):
				pause = min(pause*2, longestWatchPause)
			}
		}
	}
}

// errLoopEnded means that whoever watches has seen enough.
var errLoopEnded = errors.New("the loop has ended")

// watchOnce watches over one stream until it ends. It never returns nil.
func (c *Client) watchOnce(ctx context.Context, each func(StatusUpdate) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.status.WatchStatus(ctx, &inkanpb.WatchStatusRequest{})
	if err != nil {
		return err
	}
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return c.unreachable(errConnectionLost)
		}
		if err != nil {
			return c.fromStatus(err)
		}
		if !each(StatusUpdate{Sequence: r.GetSequence(), Status: r.GetStatus()}) {
			return errLoopEnded
		}
	}
}

// passes tells what may mend itself; of a Client that was closed nothing does.
func (c *Client) passes(ctx context.Context, err error) bool {
	if c.closed.Load() {
		return false
	}
	return errors.Is(err, ErrServiceUnreachable) || errors.Is(err, ErrShuttingDown) || errors.Is(err, ErrTooManyCalls) ||
		errors.Is(err, ErrCallEnded) && ctx.Err() == nil
}
