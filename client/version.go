package client

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// oldestAPI is the lowest API level of inkand that this package works with: it
// would ignore what it does not know of a request, so it must know all that
// safety hangs on.
const oldestAPI = 1

// Service is which inkand answers.
type Service struct {
	// Version is that of inkand, for people.
	Version string
	// APILevel grows with each addition to the API.
	APILevel uint32
}

// Service asks which inkand answers.
func (c *Client) Service(ctx context.Context) (Service, error) {
	r, err := c.status.GetVersion(ctx, &inkanpb.GetVersionRequest{})
	if err != nil {
		return Service{}, err
	}
	return Service{Version: r.GetVersion(), APILevel: r.GetApiLevel()}, nil
}

// meet makes sure that the inkand of the present connection is one that this
// package works with, before the first call on it: another may answer after an
// update, or after a step back.
func (c *Client) meet(ctx context.Context, cc *grpc.ClientConn) error {
	if !c.connected(ctx, cc) {
		return nil // the call says why
	}
	connection := c.connections.Load()
	if c.met.Load() == connection {
		return nil
	}
	r := &inkanpb.GetVersionResponse{}
	err := cc.Invoke(ctx, inkanpb.StatusService_GetVersion_FullMethodName, &inkanpb.GetVersionRequest{}, r)
	if code := status.Code(err); code == codes.PermissionDenied || code == codes.Unimplemented {
		return c.tooOld("") // before there were levels, every unknown method was denied
	}
	if err != nil {
		return err
	}
	if r.GetApiLevel() < oldestAPI {
		return c.tooOld(r.GetVersion())
	}
	// It may have come over a later connection; then the next call asks again.
	c.met.Store(connection)
	return nil
}

// connected waits for the connection that the next call goes over, until there
// is none to be had.
func (c *Client) connected(ctx context.Context, cc *grpc.ClientConn) bool {
	for {
		switch state := cc.GetState(); state {
		case connectivity.Ready:
			return true
		case connectivity.TransientFailure, connectivity.Shutdown:
			return false
		case connectivity.Idle:
			cc.Connect()
			fallthrough
		default:
			if !cc.WaitForStateChange(ctx, state) {
				return false
			}
		}
	}
}

// tooOld is the error for an inkand that must be updated first.
func (c *Client) tooOld(version string) *Error {
	e := NewError(inkanpb.Reason_REASON_SERVICE_TOO_OLD, c.language, nil)
	for l := range e.texts {
		detail := fmt.Sprintf("it needs an API level of at least %d", oldestAPI)
		if l == "ja" {
			detail = fmt.Sprintf("APIレベル %d 以上が必要です", oldestAPI)
		}
		e.texts[l] = catalogue.In(l, e.Reason, map[string]string{"version": version, "detail": detail})
	}
	e.Message, e.Next = e.In(c.language)
	return e
}
