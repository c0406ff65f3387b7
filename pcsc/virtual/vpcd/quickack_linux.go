package vpcd

import (
	"net"
	"syscall"
)

// acknowledgeAtOnce keeps the kernel from holding back its acknowledgement.
// vpcd writes length and message apart, with Nagle's algorithm on: it does not
// send the second before the first is acknowledged, which would cost 44 ms for
// each command. The kernel forgets the option, so it is set around each read.
// A connection that does not take it is only slower.
func acknowledgeAtOnce(conn net.Conn) {
	tcp, ok := conn.(syscall.Conn) // also where a test wraps the connection
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}
