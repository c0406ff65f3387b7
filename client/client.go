package client

import (
	"cmp"
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/inkan-project/inkan/client/internal/trusted"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// DefaultSocket is where a packaged inkand listens.
const DefaultSocket = "/run/inkan/inkan.sock"

// Metadata keys of the API (the comments of proto/inkan/v1 say what they do).
const (
	metadataLanguage = "accept-language"
	metadataAgent    = "inkan-agent"
)

// connectTimeout bounds Dial when its context has no deadline. A local socket
// answers at once or not at all.
const connectTimeout = 5 * time.Second

// How soon a lost connection is tried again. An attempt on a local socket
// costs next to nothing, and inkand comes back within seconds when it is
// updated; gRPC's own pauses grow to two minutes.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 300 * time.Millisecond
)

// Options say how to reach inkand. The zero value is right for most programs.
type Options struct {
	// Socket is the path of inkand's API socket. Empty: $INKAN_SOCKET, else
	// DefaultSocket.
	Socket string
	// PINSocket is the path of inkand's PIN socket. Empty: $INKAN_PIN_SOCKET,
	// else "pin.sock" in the directory of Socket.
	PINSocket string
	// PIN gives the PIN for calls of this Client. nil: Agent is asked, or the
	// prompt of the user's session.
	PIN PINSource
	// Agent is the id of a PIN agent of the same user that is asked for calls
	// of this Client, for example of an inkan-prompt that the program started.
	// PIN must then be nil.
	Agent string
	// Comeback is how long a call whose connection was lost waits for inkand to
	// be back, to ask for its answer. 0 = ten seconds; negative = it does not.
	Comeback time.Duration
	// Language of error texts, "ja" or "en". Empty: as LC_ALL, LC_MESSAGES or
	// LANG say, else English.
	Language string
}

// PINSocketPath returns the path of the PIN socket that Dial uses with these
// Options, for whoever starts a prompt of its own there.
func (o Options) PINSocketPath() (string, error) {
	socket, err := socketPath(o.Socket, "INKAN_SOCKET", DefaultSocket)
	if err != nil {
		return "", err
	}
	return socketPath(o.PINSocket, "INKAN_PIN_SOCKET", filepath.Join(filepath.Dir(socket), "pin.sock"))
}

// Client is a connection to inkand. Make one with [Dial].
type Client struct {
	socket   string
	language string
	comeback time.Duration

	conn     *grpc.ClientConn
	status   inkanpb.StatusServiceClient
	signing  inkanpb.SigningServiceClient
	card     inkanpb.CardServiceClient
	register inkanpb.RegisterServiceClient
	audit    inkanpb.AuditServiceClient
	admin    inkanpb.AdminServiceClient

	connections atomic.Uint64 // made so far
	met         atomic.Uint64 // the newest connection whose inkand is known to be new enough

	agents      *agents
	closing     sync.Once
	closed      atomic.Bool
	lastDialErr atomic.Pointer[error] // why the newest connection attempt failed
}

// Dial connects to inkand. It waits until inkand has answered, so that a
// wrong path is known at once; the error is then [ErrServiceUnreachable] with
// the path. A socket that somebody else than root, inkand's user or the user
// himself could have made is [ErrSocketNotTrusted], also on Linux when another
// user's program listens there; nothing is sent to it. An inkand that is older
// than this package needs is [ErrServiceTooOld]; a newer one works, and what
// this package does not know of its answers is passed over. A later loss of the connection ends the calls that run. It is then
// made again by itself: calls work again within half a second after inkand is
// back, and until then they fail at once with [ErrServiceUnreachable].
func Dial(ctx context.Context, o Options) (*Client, error) {
	c := &Client{language: o.Language, comeback: cmp.Or(o.Comeback, defaultComeback)}
	if c.language != "ja" && c.language != "en" {
		c.language = EnvLanguage()
	}
	var err error
	if c.socket, err = socketPath(o.Socket, "INKAN_SOCKET", DefaultSocket); err != nil {
		return nil, c.unreachable(err)
	}
	pinSocket, err := o.PINSocketPath()
	if err != nil {
		return nil, c.unreachable(err)
	}
	if o.PIN != nil && o.Agent != "" {
		return nil, NewError(inkanpb.Reason_REASON_REQUEST_INVALID, c.language, map[string]string{"detail": "Options: both PIN and Agent"})
	}
	c.agents = newAgents(pinSocket, o.PIN, o.Agent)
	// No service configuration can come from a local socket; with both options
	// off, gRPC never repeats a call that inkand may have seen.
	c.conn, err = grpc.NewClient("unix://"+c.socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.connect(ctx) }),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: longestPause},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithUnaryInterceptor(c.unary),
		grpc.WithStreamInterceptor(c.stream),
	)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if err := c.waitReady(ctx); err != nil {
		_ = c.conn.Close() // nothing was sent over it
		return nil, c.unreachable(err)
	}
	if err := c.greet(ctx); err != nil {
		_ = c.conn.Close() // nothing but the greeting was sent over it
		return nil, err
	}
	c.status = inkanpb.NewStatusServiceClient(c.conn)
	c.signing = inkanpb.NewSigningServiceClient(c.conn)
	c.card = inkanpb.NewCardServiceClient(c.conn)
	c.register = inkanpb.NewRegisterServiceClient(c.conn)
	c.audit = inkanpb.NewAuditServiceClient(c.conn)
	c.admin = inkanpb.NewAdminServiceClient(c.conn)
	return c, nil
}

// Close ends calls that run, [Client.Watch] included, the PIN agent and the
// connection, and waits for them. A PIN already sent to the card stays counted.
// Closing again does nothing and returns nil; a call after that sends nothing
// and returns [ErrCallEnded] that is [net.ErrClosed].
func (c *Client) Close() (err error) {
	c.closing.Do(func() {
		c.closed.Store(true)
		c.agents.close()
		err = c.conn.Close()
	})
	return err
}

// Socket returns the path of the API socket in use.
func (c *Client) Socket() string { return c.socket }

// Language returns the language of error texts, "ja" or "en".
func (c *Client) Language() string { return c.language }

// connect makes every connection to the API socket: the one place to look at
// the other end before anything is sent to it.
func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	conn, err := trusted.Dial(ctx, "unix", c.socket)
	if err != nil {
		c.lastDialErr.Store(&err)
		return nil, err
	}
	c.lastDialErr.Store(nil)
	c.connections.Add(1)
	return conn, nil
}

// waitReady returns nil once inkand speaks gRPC with us, else why it does not.
func (c *Client) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c.conn.Connect()
	for {
		switch state := c.conn.GetState(); state {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return c.dialError()
		default:
			if !c.conn.WaitForStateChange(ctx, state) {
				return ctx.Err()
			}
		}
	}
}

// greet makes sure, within the time of connecting, that an inkand answers which
// this package works with.
func (c *Client) greet(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	err := c.fromStatus(c.meet(within, c.conn))
	if ctx.Err() == nil && within.Err() != nil {
		return c.unreachable(within.Err())
	}
	return err
}

// ended is the error of a call that its own context ended.
func (c *Client) ended(ctx context.Context) error {
	return c.fromStatus(status.FromContextError(ctx.Err()).Err())
}

// dialError returns why the newest attempt failed.
func (c *Client) dialError() error {
	if err := c.lastDialErr.Load(); err != nil {
		return *err
	}
	return errNotGRPC
}

// outgoing adds what every call says about itself.
func (c *Client) outgoing(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, metadataLanguage, c.language)
}

// unary is the one place where errors of unary calls become *Error.
func (c *Client) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if c.closed.Load() {
		return c.closedError()
	}
	if method == inkanpb.StatusService_GetVersion_FullMethodName {
		return c.fromStatus(invoke(c.outgoing(ctx), method, req, reply, cc, opts...))
	}
	if err := c.meet(ctx, cc); err != nil {
		return c.fromStatus(err)
	}
	return c.fromStatus(invoke(c.outgoing(ctx), method, req, reply, cc, opts...))
}

// stream is the one place where errors of opening a stream become *Error; the
// reader of the stream passes its own through fromStatus.
func (c *Client) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if c.closed.Load() {
		return nil, c.closedError()
	}
	if err := c.meet(ctx, cc); err != nil {
		return nil, c.fromStatus(err)
	}
	s, err := open(c.outgoing(ctx), desc, cc, method, opts...)
	return s, c.fromStatus(err)
}

// socketPath chooses a path and makes it absolute.
func socketPath(given, env, fallback string) (string, error) {
	if given == "" {
		given = os.Getenv(env)
	}
	if given == "" {
		given = fallback
	}
	return filepath.Abs(given)
}
