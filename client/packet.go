package client

import (
	"errors"
	"fmt"
	"net"

	"google.golang.org/protobuf/proto"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// writePacket sends one datagram, with descriptors if rights holds any.
func writePacket(conn *net.UnixConn, p *inkanpb.PinPacket, rights []byte) error {
	b, err := proto.Marshal(p)
	if err != nil {
		return fmt.Errorf("encoding PIN packet: %w", err)
	}
	if _, _, err := conn.WriteMsgUnix(b, rights, nil); err != nil {
		return fmt.Errorf("sending PIN packet: %w", err)
	}
	return nil
}

// readPacket reads one datagram. Without room for control data the kernel
// closes every descriptor that comes with it (unix(7), SCM_RIGHTS).
func readPacket(conn *net.UnixConn) (*inkanpb.PinPacket, error) {
	b := make([]byte, maxPacket+1)
	n, _, _, _, err := conn.ReadMsgUnix(b, nil)
	if err != nil {
		return nil, fmt.Errorf("reading PIN packet: %w", err)
	}
	if n == 0 || n > maxPacket { // 0: end of a SOCK_SEQPACKET connection (recv(2))
		return nil, errors.New("reading PIN packet: connection ended, or packet too large")
	}
	p := &inkanpb.PinPacket{}
	if err := proto.Unmarshal(b[:n], p); err != nil {
		return nil, fmt.Errorf("decoding PIN packet: %w", err)
	}
	return p, nil
}
