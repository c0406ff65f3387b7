package daemon_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/inkan-project/inkan/daemon/daemontest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// rawCaller is a program that speaks HTTP/2 by itself (RFC 9113) and decides
// when it takes what.
type rawCaller struct {
	t    *testing.T
	conn net.Conn
}

// Types of frames: RFC 9113, section 6.
const (
	h2Data, h2Headers, h2Reset, h2Settings, h2Window = 0, 1, 3, 4, 8
)

// dialRaw connects and gives inkand no flow-control window.
func dialRaw(t *testing.T, d *daemontest.Daemon) *rawCaller {
	t.Helper()
	conn, err := net.Dial("unix", d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // no test hangs
	c := &rawCaller{t, conn}
	c.write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) // section 3.4
	// SETTINGS_INITIAL_WINDOW_SIZE (4) = 0, section 6.5.2
	c.frame(h2Settings, 0, 0, []byte{0, 4, 0, 0, 0, 0})
	return c
}

func (c *rawCaller) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawCaller) frame(kind, flags byte, stream uint32, payload []byte) {
	c.t.Helper()
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	b = binary.BigEndian.AppendUint32(append(b, flags), stream)
	c.write(append(b, payload...))
}

// call begins a call, its headers as literals without Huffman coding (RFC 7541,
// section 6.2.2).
func (c *rawCaller) call(stream uint32, path string, req proto.Message) {
	c.t.Helper()
	var block []byte
	for _, h := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", path},
		{":authority", "x"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
	} {
		block = append(append(block, 0, byte(len(h[0]))), h[0]...)
		block = append(append(block, byte(len(h[1]))), h[1]...)
	}
	c.frame(h2Headers, 4, stream, block) // END_HEADERS
	data, err := proto.Marshal(req)
	if err != nil {
		c.t.Fatal(err)
	}
	c.frame(h2Data, 1, stream, append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data))), data...)) // END_STREAM
}

// next returns the next frame; kind 0xff at the end of the connection.
func (c *rawCaller) next() (kind, flags byte, stream uint32, payload []byte) {
	c.t.Helper()
	var head [9]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return 0xff, 0, 0, nil
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(c.conn, payload); err != nil {
		return 0xff, 0, 0, nil
	}
	if head[3] == h2Settings && head[4] == 0 {
		c.frame(h2Settings, 1, 0, nil) // ACK
	}
	return head[3], head[4], binary.BigEndian.Uint32(head[5:]), payload
}

// answering waits until inkand has begun to answer on a stream.
func (c *rawCaller) answering(stream uint32) {
	c.t.Helper()
	for {
		switch kind, _, s, _ := c.next(); {
		case kind == 0xff:
			c.t.Fatal("the connection ended before the answer began")
		case kind == h2Headers && s == stream:
			return
		}
	}
}

// rest returns how many bytes of messages come until the connection ends.
func (c *rawCaller) rest() (n int) {
	c.t.Helper()
	for {
		kind, _, _, payload := c.next()
		if kind == 0xff {
			return n
		}
		if kind == h2Data {
			n += len(payload)
		}
	}
}

func signRequest(d *daemontest.Daemon) *inkanpb.SignRequest {
	return &inkanpb.SignRequest{
		KeyId: d.Key("9e").GetId(), Algorithm: inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256, Digest: make([]byte, 32),
	}
}

const signPath, statusPath = "/inkan.v1.SigningService/Sign", "/inkan.v1.StatusService/WatchStatus"

// stopCard stops the only card here, on a connection of its own.
func stopCard(t *testing.T, d *daemontest.Daemon) {
	t.Helper()
	cards, err := d.Client(nil).Cards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("unix:"+d.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	serial := cards[0].GetSerial()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := inkanpb.NewCardServiceClient(conn).StopHere(ctx, &inkanpb.StopHereRequest{
		CardId: cards[0].GetId(), ConfirmSerialTail: serial[len(serial)-4:], Reason: "lost",
	}); err != nil {
		t.Fatalf("StopHere: %v", err)
	}
}

// A caller holds a signature back in inkand's queue: after the stop it must
// not come out of it any more, whatever the caller does meanwhile.
func TestNoSignatureLeavesAfterAStopWasAcknowledged(t *testing.T) {
	window := func(c *rawCaller) { // WINDOW_UPDATE of a stream; RFC 9113, section 6.9
		var frame []byte
		for _, stream := range []byte{1, 3, 5} {
			frame = append(frame, 0, 0, 4, h2Window, 0, 0, 0, 0, stream, 0, 0, 0xff, 0xff)
		}
		_, _ = c.conn.Write(frame) // the connection may have ended
	}
	for name, meanwhile := range map[string]func(c *rawCaller){
		"silent": func(*rawCaller) {},
		"while it watches": func(c *rawCaller) {
			c.call(3, statusPath, &inkanpb.WatchStatusRequest{})
		},
		"while it resets other calls": func(c *rawCaller) {
			c.call(3, statusPath, &inkanpb.WatchStatusRequest{})
			c.answering(3)
			c.frame(h2Reset, 0, 3, []byte{0, 0, 0, 8})
		},
		"while other calls fail": func(c *rawCaller) {
			c.call(3, "/inkan.v1.SigningService/Nothing", &inkanpb.SignRequest{})
			c.call(5, signPath, &inkanpb.SignRequest{})
			c.answering(5)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := daemontest.Start(t, daemontest.Options{})
			c := dialRaw(t, d)
			c.call(1, signPath, signRequest(d))
			c.answering(1)
			meanwhile(c)
			stopCard(t, d)
			window(c)
			if n := c.rest(); n != 0 {
				t.Errorf("%d bytes of messages after the stop", n)
			}
		})
	}
}

// Programs that read their answers keep their connections over a stop.
func TestAStopCutsNobodyOffWhoReads(t *testing.T) {
	d := daemontest.Start(t, daemontest.Options{})
	conn, err := grpc.NewClient("unix:"+d.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	watch, err := inkanpb.NewStatusServiceClient(conn).WatchStatus(t.Context(), &inkanpb.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	req, signing := signRequest(d), inkanpb.NewSigningServiceClient(conn)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for {
				sig, err := signing.Sign(t.Context(), req)
				if err != nil {
					if !strings.Contains(err.Error(), "INK-") {
						t.Errorf("Sign: %v, want an answer of inkand", err)
					}
					return
				}
				if len(sig.GetSignature()) == 0 {
					t.Error("an empty signature")
				}
			}
		})
	}
	began := time.Now()
	stopCard(t, d)
	t.Logf("stopped after %v", time.Since(began))
	callers.Wait()
	for {
		update, err := watch.Recv()
		if err != nil {
			t.Fatalf("the watch was cut off: %v", err)
		}
		if cards := update.GetStatus().GetCards(); len(cards) == 1 && cards[0].GetState() == inkanpb.CardState_CARD_STATE_STOPPED_HERE {
			return
		}
	}
}
