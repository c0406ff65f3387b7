package rpc

import (
	"context"
	"errors"
	"maps"
	"net"
	"reflect"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"

	"github.com/inkan-project/inkan/daemon/internal/peer"
)

// wires are the connections with answers that did not leave yet. To gRPC an
// answer is sent once it is queued, but it stays in the queue while the caller
// does not read or gives no flow-control window (RFC 9113, section 5.2). What
// counts here is that the last frame of the answer was written to the socket.
type wires struct {
	mu   sync.Mutex // guards open; never held while a wire's is wanted
	open map[*wire]bool
}

// credentials returns those of the server, on connections that are followed.
func (w *wires) credentials(inner credentials.TransportCredentials) credentials.TransportCredentials {
	return wiredCredentials{inner, w}
}

// cutOff closes the connections that have an answer which was given before a
// moment and did not leave.
func (w *wires) cutOff(before time.Time) {
	w.mu.Lock()
	open := slices.Collect(maps.Keys(w.open))
	w.mu.Unlock()
	for _, c := range open {
		if c.holds(before) {
			_ = c.Close()
		}
	}
}

// patience is how long an answer may take to leave while somebody waits for it.
const patience = time.Second

// hurry closes, until done is called, the connections whose answers do not
// leave: a caller that does not read must not hold up others.
func (w *wires) hurry() (done func()) {
	ended := make(chan struct{})
	go func() {
		look := time.NewTicker(patience / 4)
		defer look.Stop()
		for {
			select {
			case now := <-look.C:
				w.cutOff(now.Add(-patience))
			case <-ended:
				return
			}
		}
	}()
	return func() { close(ended) }
}

// note has a wire among those with answers, or not.
func (w *wires) note(c *wire) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) > 0 {
		w.open[c] = true
	} else {
		delete(w.open, c)
	}
}

type wiredCredentials struct {
	credentials.TransportCredentials
	wires *wires
}

// ServerHandshake follows what is written on the connection from now on: so
// far gRPC has written nothing.
func (c wiredCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		return nil, nil, err
	}
	who, ok := info.(peer.AuthInfo)
	if !ok {
		return conn, info, nil // its calls are refused: there is no caller
	}
	w := &wire{Conn: conn, wires: c.wires, waiting: map[uint32][]*answer{}, parts: map[uint32]int{}}
	return w, wiredInfo{who, w}, nil
}

// Clone implements credentials.TransportCredentials.
func (c wiredCredentials) Clone() credentials.TransportCredentials {
	return wiredCredentials{c.TransportCredentials.Clone(), c.wires}
}

// wiredInfo is how a wire travels with a gRPC connection.
type wiredInfo struct {
	peer.AuthInfo
	wire *wire
}

// wire is a connection that knows which answers have left.
type wire struct {
	net.Conn
	wires   *wires
	refused bool // by the gate: each call is told so; set before the first call

	came  func(frames int) (flood bool) // nil: nobody counts; set before the first read
	heard frames                        // of the goroutine that reads

	writing sync.Mutex // held during a write; guards frames
	frames  frames

	mu      sync.Mutex           // guards the fields that follow
	waiting map[uint32][]*answer // that did not leave, by stream
	parts   map[uint32]int       // bytes of messages that have left, of streams with answers in parts
	closed  bool
}

// NetConn returns the connection below.
func (c *wire) NetConn() net.Conn { return c.Conn }

// Read reads, and ends the connection of a user who sends too much.
func (c *wire) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.came != nil && n > 0 {
		if came := c.heard.count(b[:n]); came > 0 && c.came(came) {
			return 0, errors.Join(errTooManyConnections, c.Close())
		}
	}
	return n, err
}

// carried is bytes of a stream's messages.
type carried struct {
	stream uint32
	bytes  int
}

// Write writes, and lets go of the answers that have left by that.
func (c *wire) Write(b []byte) (int, error) {
	var ended []uint32
	var came []carried
	c.writing.Lock()
	n, err := c.Conn.Write(b)
	c.frames.follow(b[:n], func(stream uint32) { ended = append(ended, stream) }, func(stream uint32, n int) { came = append(came, carried{stream, n}) })
	c.writing.Unlock()
	for _, m := range came {
		c.part(m.stream, m.bytes)
	}
	for _, stream := range ended {
		c.left(stream)
	}
	return n, err
}

// Close ends the connection. When it returns nothing is being written, and no
// answer can leave any more.
func (c *wire) Close() error {
	err := c.Conn.Close()
	c.writing.Lock() // a write that was going on ends by the Close
	streams := c.end()
	c.writing.Unlock()
	for _, stream := range streams {
		c.left(stream)
	}
	return err
}

// end lets no answer wait any more and returns the streams of those that do.
func (c *wire) end() []uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return slices.Collect(maps.Keys(c.waiting))
}

// wait has the answer told when it has left or cannot leave any more.
func (c *wire) wait(a *answer) {
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.waiting[a.stream] = append(c.waiting[a.stream], a)
	}
	c.mu.Unlock()
	if closed {
		a.run()
		return
	}
	c.wires.note(c)
}

// wait for a part of an answer, see [wire.wait]. It must be called before the
// part is sent, for each part of a stream in turn.
func (c *wire) waitPart(a *answer) {
	c.mu.Lock()
	if _, counted := c.parts[a.stream]; !counted {
		c.parts[a.stream] = 0
	}
	c.mu.Unlock()
	c.wait(a)
}

// part tells the parts of a stream's answer that have left with more bytes of
// its messages.
func (c *wire) part(stream uint32, bytes int) {
	c.mu.Lock()
	total, counted := c.parts[stream]
	if !counted {
		c.mu.Unlock()
		return
	}
	total += bytes
	c.parts[stream] = total
	var told, rest []*answer
	for _, a := range c.waiting[stream] {
		if a.bytes != 0 && a.bytes <= total {
			told = append(told, a)
		} else {
			rest = append(rest, a)
		}
	}
	c.waiting[stream] = rest
	if len(rest) == 0 {
		delete(c.waiting, stream)
	}
	c.mu.Unlock()
	if len(told) == 0 {
		return
	}
	c.wires.note(c)
	for _, a := range told {
		a.run()
	}
}

// left tells the answer of a stream.
func (c *wire) left(stream uint32) {
	c.mu.Lock()
	answers := c.waiting[stream]
	delete(c.waiting, stream)
	delete(c.parts, stream)
	c.mu.Unlock()
	if len(answers) == 0 {
		return
	}
	c.wires.note(c)
	for _, a := range answers {
		a.run()
	}
}

// holds reports whether an answer was given before a moment and did not leave.
func (c *wire) holds(before time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, answers := range c.waiting {
		for _, a := range answers {
			if a.given().Before(before) {
				return true
			}
		}
	}
	return false
}

// unknownStream is the stream of an answer of which it is not known: no stream
// has this number (RFC 9113, section 5.1.1), so that it leaves with the end of
// the connection.
const unknownStream = 0

// streamOf returns the stream that a call came on. gRPC shows its number to
// nobody, and counting calls instead cannot be exact: a caller can reset
// streams, and have calls refused, at the moment that suits it.
func streamOf(ctx context.Context) uint32 {
	stream := reflect.ValueOf(grpc.ServerTransportStreamFromContext(ctx))
	if stream.Kind() != reflect.Pointer || stream.IsNil() || stream.Elem().Kind() != reflect.Struct {
		return unknownStream
	}
	if id := stream.Elem().FieldByName("id"); id.IsValid() && id.Kind() == reflect.Uint32 {
		return uint32(id.Uint())
	}
	return unknownStream
}

// wireOf returns the connection that a call came on, nil if it is not followed.
func wireOf(ctx context.Context) *wire {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, _ := p.AuthInfo.(wiredInfo)
	return info.wire
}
