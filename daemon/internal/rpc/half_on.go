//go:build faults

package rpc

import (
	"net"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc/credentials"

	"github.com/inkan-project/inkan/daemon/internal/failpoint"
	"github.com/inkan-project/inkan/daemon/internal/peer"
)

// half is whether the next write to a caller is cut in its middle: the moment
// failpoint.HalfAnswer.
type half struct{ next atomic.Bool }

func (s *Server) credentials() credentials.TransportCredentials {
	return halfCredentials{peer.Credentials(), &s.half}
}

// aboutToAnswer marks the answer to a call that uses a card or lifts its stop.
func (s *Server) aboutToAnswer(method string) {
	for _, of := range []string{"SigningService/Sign", "CardService/", "RegisterService/Lift"} {
		if strings.HasPrefix(method, "/inkan.v1."+of) {
			s.half.next.Store(true)
		}
	}
}

type halfCredentials struct {
	credentials.TransportCredentials
	half *half
}

func (c halfCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		return nil, nil, err
	}
	return halfConn{conn, c.half}, info, nil
}

type halfConn struct {
	net.Conn
	half *half
}

func (c halfConn) Write(b []byte) (int, error) {
	if !c.half.next.Swap(false) {
		return c.Conn.Write(b)
	}
	if failpoint.Armed(failpoint.HalfAnswer) {
		_, _ = c.Conn.Write(b[:len(b)/2])
	}
	failpoint.Hit(failpoint.HalfAnswer)
	return c.Conn.Write(b)
}
