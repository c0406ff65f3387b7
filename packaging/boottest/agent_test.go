//go:build boot

package boottest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

const (
	apiSocket = "/run/inkan/inkan.sock"
	pinSocket = "/run/inkan/pin.sock"
)

// roleVariable makes this program another one; see TestMain.
const (
	roleVariable = "INKAN_BOOTTEST_ROLE"
	roleLoad     = "load"
	roleAgent    = "agent"
	roleCall     = "call"
)

// dial connects to inkand for one call, which is never repeated. When inkand ends
// the connection before the call was sent, gRPC makes another one, as it does for
// every program; redialled counts these.
func dial() (*grpc.ClientConn, error) {
	var dials atomic.Int32
	return grpc.NewClient("unix://"+apiSocket,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			if dials.Add(1) > 1 {
				_, _ = fmt.Println(redialled)
			}
			var d net.Dialer
			return d.DialContext(ctx, "unix", apiSocket)
		}))
}

// redialled is what the load prints of a connection that ended before its call.
const redialled = "redialled"

// pinAgent is a PIN agent that answers each prompt.
type pinAgent struct {
	id   string
	conn *net.UnixConn
}

// openAgent connects a PIN agent. all makes it serve all calls of its user.
func openAgent(all bool) (*pinAgent, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: pinSocket, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	a := &pinAgent{conn: conn}
	hello := &inkanpb.AgentHello{Version: 1, OwnCallsOnly: !all}
	err = a.send(&inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Hello{Hello: hello}}, nil)
	if err == nil {
		var welcome *inkanpb.PinPacket
		welcome, err = a.receive()
		a.id = welcome.GetWelcome().GetAgentId()
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return a, nil
}

func (a *pinAgent) send(p *inkanpb.PinPacket, rights []byte) error {
	b, err := proto.Marshal(p)
	if err != nil {
		return err
	}
	_, _, err = a.conn.WriteMsgUnix(b, rights, nil)
	return err
}

func (a *pinAgent) receive() (*inkanpb.PinPacket, error) {
	b := make([]byte, 8<<10)
	n, err := a.conn.Read(b)
	if err != nil {
		return nil, err
	}
	p := &inkanpb.PinPacket{}
	return p, proto.Unmarshal(b[:n], p)
}

// answer waits for one prompt and answers it with the PIN of the virtual card.
func (a *pinAgent) answer() error {
	p, err := a.receive()
	if err != nil || p.GetPrompt() == nil {
		return errors.Join(err, fmt.Errorf("no prompt came but %T", p.GetPacket()))
	}
	fd, err := unix.MemfdCreate("pin", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.Pwrite(fd, []byte(rightPIN), 0); err != nil {
		return err
	}
	answer := &inkanpb.PinAnswer{PromptId: p.GetPrompt().GetPromptId(), Length: uint32(len(rightPIN))}
	return a.send(&inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Answer{Answer: answer}}, unix.UnixRights(fd))
}

// agentMain is an agent that serves all calls of its user: it says "ready", and
// "asked" when it was, and says no to each prompt.
func agentMain() int {
	a, err := openAgent(true)
	if err != nil {
		_, _ = fmt.Println("failed:", err)
		return 1
	}
	defer a.conn.Close()
	_, _ = fmt.Println("ready")
	time.AfterFunc(time.Minute, func() { os.Exit(1) }) // never longer than its step
	for {
		p, err := a.receive()
		if err != nil {
			return 0
		}
		if id := p.GetPrompt().GetPromptId(); id != "" {
			_, _ = fmt.Println("asked")
			no := &inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Cancel{Cancel: &inkanpb.PinCancel{PromptId: id}}}
			if err := a.send(no, nil); err != nil {
				return 1
			}
		}
	}
}

// callMain verifies the PIN of the only card and names no agent. It prints the
// reason of the refusal.
func callMain() int {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	conn, err := dial()
	if err != nil {
		_, _ = fmt.Println(err)
		return 1
	}
	defer conn.Close()
	s, err := inkanpb.NewStatusServiceClient(conn).GetStatus(ctx, &inkanpb.GetStatusRequest{})
	if err == nil && len(s.GetStatus().GetCards()) != 1 {
		err = fmt.Errorf("%d cards", len(s.GetStatus().GetCards()))
	}
	if err == nil {
		_, err = inkanpb.NewCardServiceClient(conn).VerifyPin(ctx, &inkanpb.VerifyPinRequest{CardId: s.GetStatus().GetCards()[0].GetId()})
	}
	if err == nil {
		return 0
	}
	_, _ = fmt.Println(status.Convert(err).Message())
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			_, _ = fmt.Println(info.GetReason())
		}
	}
	return 1
}
