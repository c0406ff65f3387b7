package daemon_test

import (
	"net"
	"testing"
)

// dialPacket connects to a SOCK_SEQPACKET socket.
func dialPacket(t testing.TB, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
