package cardcmd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
)

// hostName is a name as RFC 1123 section 2.1 has it, and the underscore that
// names inside of container networks may have.
var hostName = regexp.MustCompile(`^[0-9A-Za-z_]([0-9A-Za-z_.-]{0,251}[0-9A-Za-z_.])?$`)

// checkAddress refuses what cannot be HOST:PORT. Whether somebody is there is
// for the connection to find out: the reader may come later.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--vpcd %q is not HOST:PORT: %w", address, err)
	}
	if _, err := netip.ParseAddr(host); err != nil && !hostName.MatchString(host) {
		return fmt.Errorf("--vpcd %q: %q is neither a host name nor an IP address", address, host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("--vpcd %q: the port %q is not a number from 1 to 65535", address, port)
	}
	return nil
}

// announcer connects to the reader and tells a person what is not to be seen
// otherwise: that it waits, once for each time that the reader is away, and
// that it is connected. It is used by one goroutine.
type announcer struct {
	dial    func(context.Context) (net.Conn, error)
	address string
	stderr  io.Writer

	began, waits bool
}

func (c *announcer) connect(ctx context.Context) (net.Conn, error) {
	conn, err := c.dial(ctx)
	switch {
	case err == nil && (c.waits || !c.began):
		c.began, c.waits = true, false
		c.say("connected to vpcd at %s", c.address)
	case err != nil && !c.waits && ctx.Err() == nil:
		c.waits = true
		c.say("waiting for vpcd at %s: %v", c.address, err)
	}
	return conn, err
}

func (c *announcer) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.stderr, "inkan-virtual-card: "+format+"\n", args...)
}
