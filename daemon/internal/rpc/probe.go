package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Probe asks for the status as any program does, over a new connection to the
// socket at this address: whoever accepts connections, tells callers, decides,
// and knows readers, cards, tries and log must answer. Being refused is an answer,
// too: the service is busy, and well. No card is asked, so neither a reader that
// hangs nor a person who takes time makes it fail.
func Probe(ctx context.Context, socket net.Addr) error {
	conn, err := grpc.NewClient("passthrough:///inkand", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, socket.Network(), socket.String())
		}))
	if err != nil {
		return fmt.Errorf("preparing a call to ourselves: %w", err)
	}
	_, err = inkanpb.NewStatusServiceClient(conn).GetStatus(ctx, &inkanpb.GetStatusRequest{}, grpc.WaitForReady(true))
	if code := status.Code(err); code == codes.ResourceExhausted || code == codes.PermissionDenied {
		err = nil
	}
	return errors.Join(err, conn.Close())
}
