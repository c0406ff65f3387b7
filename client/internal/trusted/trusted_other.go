//go:build !linux

package trusted

import (
	"context"
	"net"
)

// Dial connects to a socket; network is "unix" or "unixpacket".
func Dial(ctx context.Context, network, path string) (*net.UnixConn, error) {
	return dial(ctx, network, path)
}
