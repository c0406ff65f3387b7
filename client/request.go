package client

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"google.golang.org/grpc/connectivity"
)

// defaultComeback is how long a lost connection is waited for before the answer
// to a call is given up: inkand is back within seconds when it is updated.
const defaultComeback = 10 * time.Second

// asked is one sending of a request.
type asked struct {
	id     string // what the request is called
	repeat bool   // only its answer is wanted: nothing may begin
	own    bool   // the program called it so
}

// once sends a request that may spend a try, under a name. When the connection
// is lost before its answer came, it asks for that answer; nothing begins by
// that, so that nobody is asked for a PIN twice.
func once[R any](ctx context.Context, c *Client, first asked, send func(asked) (R, error)) (R, error) {
	first.own = first.id != ""
	if !first.own {
		first.id = rand.Text()
	}
	return sendTwice(ctx, c, first, asked{id: first.id, repeat: true}, send)
}

// surely sends a request that spends nothing, under a name. When the connection
// is lost before its answer came it is sent again: inkand does it once.
func surely[R any](ctx context.Context, c *Client, send func(asked) (R, error)) (R, error) {
	q := asked{id: rand.Text()}
	return sendTwice(ctx, c, q, q, send)
}

func sendTwice[R any](ctx context.Context, c *Client, first, second asked, send func(asked) (R, error)) (R, error) {
	connected := c.conn.GetState() == connectivity.Ready
	answer, lost := send(first)
	if errors.Is(lost, ErrRequestIDsUsedUp) && !first.own && !first.repeat { // nothing was begun: it goes without a name
		return send(asked{})
	}
	if !connected || !errors.Is(lost, ErrServiceUnreachable) {
		return answer, lost
	}
	patience, cancel := context.WithTimeout(ctx, c.comeback)
	defer cancel()
	for c.back(patience) {
		again, err := send(second)
		switch {
		case errors.Is(err, ErrServiceUnreachable): // the loss was not noticed yet, or it was lost again
		case errors.Is(err, ErrRequestNotKnown):
			// The first error says more; that nothing was begun is beside it.
			if e, ok := errors.AsType[*Error](lost); ok {
				return answer, e.because(err)
			}
			return answer, lost
		default:
			return again, err
		}
	}
	return answer, lost
}

// back waits until there is a connection again, but a moment at least.
func (c *Client) back(ctx context.Context) bool {
	select {
	case <-time.After(firstPause):
	case <-ctx.Done():
		return false
	}
	for {
		state := c.conn.GetState()
		switch state {
		case connectivity.Ready:
			return true
		case connectivity.Shutdown:
			return false
		case connectivity.Idle:
			c.conn.Connect()
		case connectivity.Connecting, connectivity.TransientFailure:
		}
		if !c.conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
}
