// Package trusted connects to inkand's sockets, and to nobody else's.
//
// It guarantees that a connection which [Dial] returns leads to a program of
// root, of inkand's user or of the user himself, by a way that only these can
// change; nothing was sent over it yet. A caller that gets a [*Refusal] sends
// nothing there. On systems other than Linux, where inkand does not run,
// nothing is checked.
package trusted

import (
	"context"
	"errors"
	"net"
)

// Refusal is why a socket is not trusted.
type Refusal struct {
	What   string // folder, or "" for whoever listens
	EN, JA string // what is wrong with it
}

// Error implements error.
func (r *Refusal) Error() string { return r.In("en") }

// In returns the reason in a language, "ja" or any other for English.
func (r *Refusal) In(language string) string {
	if language == "ja" {
		return r.What + r.JA
	}
	if r.What == "" {
		return r.EN
	}
	return r.What + " " + r.EN
}

// dial connects and makes sure that it is a Unix socket.
func dial(ctx context.Context, network, path string) (*net.UnixConn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, network, path)
	if err != nil {
		return nil, err
	}
	conn, ok := raw.(*net.UnixConn)
	if !ok {
		_ = raw.Close() // nothing was sent
		return nil, errors.New("not a Unix socket")
	}
	return conn, nil
}
