package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/inkan-project/inkan/client/internal/trusted"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Limits of pin.sock (proto/inkan/v1/pin.proto).
const (
	agentVersion   = 1               // AgentHello.version
	maxPacket      = 8 << 10         // PinPacket: 8 KiB at most
	welcomeTimeout = 5 * time.Second // a local service answers at once or not at all
	maxPrompts     = 16              // prompts that wait at one agent; more are cancelled
)

// agent answers the prompts of one connection to pin.sock. Its reader and one
// goroutine for each open prompt end with the connection; close waits for
// them.
type agent struct {
	id     string
	conn   *net.UnixConn
	source PINSource
	note   func(error) // told how each use of source ended, before inkand is

	cancel context.CancelFunc
	turn   chan struct{} // holds one value: the right to use source
	done   chan struct{} // closed when the reader and all prompts have ended
}

// openAgent connects, says hello and starts the reader.
func openAgent(ctx context.Context, path string, source PINSource, note func(error)) (*agent, error) {
	ctx, cancel := context.WithTimeout(ctx, welcomeTimeout)
	defer cancel()
	conn, err := trusted.Dial(ctx, "unixpacket", path)
	if err != nil {
		return nil, fmt.Errorf("connecting to the PIN socket: %w", err)
	}
	return startAgent(ctx, conn, source, note)
}

// startAgent says hello on a connection, which is the agent's from here on,
// and starts the reader.
func startAgent(ctx context.Context, conn *net.UnixConn, source PINSource, note func(error)) (*agent, error) {
	ctx, cancel := context.WithTimeout(ctx, welcomeTimeout)
	defer cancel()
	id, err := handshake(ctx, conn)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("greeting the PIN socket: %w", err)
	}
	run, stop := context.WithCancel(context.Background())
	a := &agent{
		id: id, conn: conn, source: source, note: note,
		cancel: stop, turn: make(chan struct{}, 1), done: make(chan struct{}),
	}
	a.turn <- struct{}{}
	go a.run(run)
	return a, nil
}

// handshake sends hello and returns the id that inkand gave.
func handshake(ctx context.Context, conn *net.UnixConn) (string, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	hello := &inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Hello{
		Hello: &inkanpb.AgentHello{Version: agentVersion, OwnCallsOnly: true},
	}}
	if err := writePacket(conn, hello, nil); err != nil {
		return "", err
	}
	packet, err := readPacket(conn)
	if err != nil {
		return "", err
	}
	if !stop() {
		return "", ctx.Err() // the deadline may hit a later read
	}
	id := packet.GetWelcome().GetAgentId()
	if id == "" {
		return "", errors.New("the answer to hello is not a welcome")
	}
	return id, nil
}

// run reads packets until the connection ends.
func (a *agent) run(ctx context.Context) {
	var prompts sync.WaitGroup
	open := map[string]context.CancelFunc{} // by prompt id; this goroutine's alone
	ended := make(chan string, maxPrompts)
	defer close(a.done)
	defer prompts.Wait()
	defer a.conn.Close() // nothing is left to say to it
	defer a.cancel()
	for {
		packet, err := readPacket(a.conn)
		if err != nil {
			return
		}
		for more := true; more; { // forget the prompts that are over
			select {
			case id := <-ended:
				open[id]()
				delete(open, id)
			default:
				more = false
			}
		}
		switch p := packet.GetPacket().(type) {
		case *inkanpb.PinPacket_Cancel:
			if cancel := open[p.Cancel.GetPromptId()]; cancel != nil {
				cancel()
			}
		case *inkanpb.PinPacket_Prompt:
			id := p.Prompt.GetPromptId()
			if _, twice := open[id]; twice || len(open) >= maxPrompts {
				a.note(errors.New("too many prompts at once"))
				a.refuse(id)
				continue
			}
			promptCtx, cancel := promptContext(ctx, p.Prompt)
			open[id] = cancel
			prompts.Go(func() {
				a.answer(promptCtx, p.Prompt)
				ended <- id // never blocks: at most maxPrompts are open
			})
		}
	}
}

// promptContext ends when the prompt's time is over.
func promptContext(ctx context.Context, p *inkanpb.PinPrompt) (context.Context, context.CancelFunc) {
	if p.GetTimeout() == nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, p.GetTimeout().AsDuration())
}

// answer asks the source in its turn and sends what it gives.
func (a *agent) answer(ctx context.Context, p *inkanpb.PinPrompt) {
	select {
	case <-a.turn:
		defer func() { a.turn <- struct{}{} }()
	case <-ctx.Done():
		a.refuse(p.GetPromptId())
		return
	}
	// When its time is over inkand ends the prompt itself, and says so.
	if err := a.give(ctx, p); err != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		a.refuse(p.GetPromptId())
	}
}

// refuse ends a prompt without a PIN.
func (a *agent) refuse(promptID string) {
	// When it cannot be sent the connection is gone, and the prompt with it.
	_ = writePacket(a.conn, &inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Cancel{
		Cancel: &inkanpb.PinCancel{PromptId: promptID},
	}}, nil)
}

// alive reports whether the reader still runs.
func (a *agent) alive() bool {
	select {
	case <-a.done:
		return false
	default:
		return true
	}
}

// close ends the agent and waits for it.
func (a *agent) close() {
	a.cancel()
	_ = a.conn.Close() // unblocks the reader
	<-a.done
}
