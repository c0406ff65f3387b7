//go:build !linux

package vpcd

import "net"

// acknowledgeAtOnce exists on Linux only, where pcscd with vpcd runs.
func acknowledgeAtOnce(net.Conn) {}
