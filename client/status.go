package client

import (
	"context"
	"errors"
	"io"
	"iter"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Status returns the present state of service, readers and cards. Nothing is
// sent to any card. What the caller may not see is absent.
func (c *Client) Status(ctx context.Context) (*inkanpb.Status, error) {
	r, err := c.status.GetStatus(ctx, &inkanpb.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	return r.GetStatus(), nil
}

// Diagnose returns what a signature needs, layer by layer from below, and what
// of it is missing. It needs no PIN and never spends a try.
func (c *Client) Diagnose(ctx context.Context) ([]*inkanpb.DiagnoseStep, error) {
	r, err := c.status.Diagnose(ctx, &inkanpb.DiagnoseRequest{})
	if err != nil {
		return nil, err
	}
	return r.GetSteps(), nil
}

// StatusUpdate is one state of many.
type StatusUpdate struct {
	// Sequence grows with each change since inkand started; gaps are states
	// that were passed over.
	Sequence uint64
	Status   *inkanpb.Status
}

// Watch yields the present state at once and then each change, until ctx is
// done, the loop ends or inkand stops. The last pair holds the error, if there
// was one; a ctx that ended is [ErrCallEnded].
func (c *Client) Watch(ctx context.Context) iter.Seq2[StatusUpdate, error] {
	return func(yield func(StatusUpdate, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.status.WatchStatus(ctx, &inkanpb.WatchStatusRequest{})
		if err != nil {
			yield(StatusUpdate{}, err)
			return
		}
		for {
			r, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(StatusUpdate{}, c.fromStatus(err))
				return
			}
			if !yield(StatusUpdate{r.GetSequence(), r.GetStatus()}, nil) {
				return
			}
		}
	}
}
