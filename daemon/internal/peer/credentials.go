package peer

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"
)

// authType names this way of knowing a caller, to gRPC.
const authType = "unix-peer"

// AuthInfo is how a Caller travels with a gRPC connection. A type in which it
// is embedded may travel in its place.
type AuthInfo struct {
	credentials.CommonAuthInfo
	caller *Caller
}

// AuthType implements credentials.AuthInfo.
func (AuthInfo) AuthType() string { return authType }

// Caller returns who connected. It is closed with its connection.
func (i AuthInfo) Caller() *Caller { return i.caller }

// FromContext returns who makes the call that ctx belongs to. There is one if
// the server uses [Credentials]. It is closed with its connection: do not
// close it.
func FromContext(ctx context.Context) (*Caller, bool) {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return nil, false
	}
	info, ok := p.AuthInfo.(interface{ Caller() *Caller })
	if !ok {
		return nil, false
	}
	return info.Caller(), true
}

// Credentials returns the credentials of a gRPC server on a Unix socket: a
// connection whose caller cannot be told is refused. Connections may be
// wrapped in types with a method NetConn() net.Conn.
func Credentials() credentials.TransportCredentials { return transport{} }

type transport struct{}

// ServerHandshake finds out who connected; nothing is sent or received.
func (transport) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	socket, err := unixConn(conn)
	if err != nil {
		return nil, nil, err
	}
	caller, err := FromConn(socket)
	if err != nil {
		return nil, nil, err
	}
	info := AuthInfo{
		// Bytes on a Unix socket pass through the kernel alone.
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		caller:         caller,
	}
	return callerConn{Conn: conn, caller: caller}, info, nil
}

// ClientHandshake always fails: the service is never a client here.
func (transport) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are for servers")
}

// Info implements credentials.TransportCredentials.
func (transport) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: authType}
}

// Clone implements credentials.TransportCredentials.
func (t transport) Clone() credentials.TransportCredentials { return t }

// OverrideServerName implements credentials.TransportCredentials. There is no
// name to override.
func (transport) OverrideServerName(string) error { return nil }

func unixConn(conn net.Conn) (*net.UnixConn, error) {
	for {
		switch c := conn.(type) {
		case *net.UnixConn:
			return c, nil
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil, fmt.Errorf("connection of type %T is not a Unix socket", conn)
		}
	}
}

// callerConn lets go of the caller when the connection ends. gRPC drops a
// connection that breaks during its first bytes without this Close: the
// descriptor is then closed when the Caller's memory is collected.
type callerConn struct {
	net.Conn
	caller *Caller
}

// Close closes the connection and its caller.
func (c callerConn) Close() error {
	c.caller.Close()
	return c.Conn.Close()
}
