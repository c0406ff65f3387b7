package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/daemon/internal/messagetest"
)

// rawCodec sends bytes as they are and gives back what comes.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("message of type %T", v)
	}
	return *b, nil
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("message of type %T", v)
	}
	*b = append((*b)[:0], data...)
	return nil
}

func (rawCodec) Name() string { return "proto" }

// apiMethods are all methods of the contract, from its descriptors.
func apiMethods() []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFilesByPackage("inkan.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				all = append(all, methods.Get(j))
			}
		}
		return true
	})
	return all
}

// fuzzHouse is a running inkand and what it was like at first.
type fuzzHouse struct {
	conn       *grpc.ClientConn
	agent      string
	words      []string
	goroutines int
	fds        int
	runs       int
}

func newFuzzHouse(f *testing.F) *fuzzHouse {
	f.Helper()
	d := daemontest.Start(f, daemontest.Options{Config: func(c *daemon.Config) {
		c.Limits = daemon.LimitsConfig{UserRate: 100_000, UserConnections: 64}
	}})
	h := &fuzzHouse{words: []string{"INK-1001", "0", "\x00", "../..", "株式会社サンプル", strings.Repeat("x", 300)}}
	keys, err := d.Client(nil).Keys(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	for _, k := range keys {
		h.words = append(h.words, k.GetId(), k.GetCardId())
	}
	h.conn, err = grpc.NewClient("unix:"+d.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = h.conn.Close() })
	h.agent = h.openAgent(f, d)
	for i := range apiMethods() { // opens what stays
		h.call(f, uint8(i), true, nil)
	}
	h.goroutines, h.fds = runtime.NumGoroutine(), countFDs(f)
	return h
}

// openAgent has a person who always knows the PIN.
func (h *fuzzHouse) openAgent(f *testing.F, d *daemontest.Daemon) string {
	f.Helper()
	conn := dialPacket(f, strings.TrimSuffix(d.Socket, "inkan.sock")+"pin.sock")
	ctx, stop := context.WithCancel(context.Background())
	id, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- client.PromptAgent{
			Source:   daemontest.PIN("123456"),
			Welcomed: func(given string) error { id <- given; return nil },
		}.Serve(ctx, conn)
	}()
	f.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			f.Errorf("the agent ended with %v", err)
		}
	})
	select {
	case given := <-id:
		return given
	case err := <-ended:
		f.Fatalf("opening an agent: %v", err)
		return ""
	}
}

// call makes one call with what the input says, and checks that the answer is
// one that a handler gives on purpose.
func (h *fuzzHouse) call(t testing.TB, method uint8, shaped bool, input []byte) {
	t.Helper()
	all := apiMethods()
	m := all[int(method)%len(all)]
	payload := input
	if shaped {
		message := dynamicpb.NewMessage(m.Input())
		messagetest.Fill(message, messagetest.NewSource(input), h.words)
		var err error
		if payload, err = (proto.MarshalOptions{AllowPartial: true}).Marshal(message); err != nil {
			return // a string that is not UTF-8 cannot be sent as one
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "inkan-agent", h.agent)
	name := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	stream, err := h.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, name, grpc.ForceCodec(rawCodec{}))
	if err == nil {
		err = errors.Join(stream.SendMsg(&payload), stream.CloseSend())
	}
	if err == nil {
		err = stream.RecvMsg(&[]byte{})
	}
	switch code := status.Code(err); code {
	case codes.Internal, codes.Unavailable, codes.DeadlineExceeded, codes.Unimplemented:
		// gRPC itself says Internal to what is no message of this type.
		if shaped || code != codes.Internal || strings.Contains(err.Error(), "INK-") {
			t.Errorf("%s with %x: %v", name, payload, err)
		}
	default:
	}
}

// steady checks that nothing is left of the calls.
func (h *fuzzHouse) steady(t testing.TB) {
	t.Helper()
	end := time.Now().Add(10 * time.Second)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for { // what was cancelled ends soon after its call
		goroutines, fds := runtime.NumGoroutine(), countFDs(t)
		if goroutines <= h.goroutines+2 && fds <= h.fds { // 2: timers of gRPC
			return
		}
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d descriptors; %d and %d at first\n%s",
				goroutines, fds, h.goroutines, h.fds, stacks[:runtime.Stack(stacks, true)])
		}
		<-look.C
	}
}

func countFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// FuzzHandlers calls every method of the API with messages made from its
// descriptor, and with bytes that are none: no handler panics, and nothing is
// left when the calls have ended.
func FuzzHandlers(f *testing.F) {
	for i := range apiMethods() {
		f.Add(uint8(i), true, []byte{})
		f.Add(uint8(i), false, []byte("\x0a\xff\xff\xff\xff\x0f"))
		for _, seed := range []string{"\x01\x07\x01\x07\x01\x07\x01\x07", "\x01\x09\x01\x01\x01\x01\x21\x01\x01\x05\x01\x05", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
			f.Add(uint8(i), true, []byte(strings.Repeat(seed, 8)))
		}
	}
	h := newFuzzHouse(f)
	f.Cleanup(func() { h.steady(f) })
	f.Fuzz(func(t *testing.T, method uint8, shaped bool, input []byte) {
		h.call(t, method, shaped, input)
		if h.runs++; h.runs%500 == 0 {
			h.steady(t)
		}
	})
}
