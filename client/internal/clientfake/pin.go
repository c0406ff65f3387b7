package clientfake

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// agentConn is one connected agent.
type agentConn struct {
	id      string
	conn    *net.UnixConn
	answers map[string]chan answer // by prompt id; guarded by Server.mu
}

// answer is what came for a prompt: PIN bytes, or cancelled.
type answer struct {
	pin       []byte
	cancelled bool
}

// ChangePrompts makes f change every prompt before it is sent.
func (s *Server) ChangePrompts(f func(*inkanpb.PinPrompt)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prompt = f
}

// StopAgents closes the PIN socket and its connections, as a restart does.
func (s *Server) StopAgents() {
	_ = s.pinListen.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.agents {
		_ = a.conn.Close()
	}
}

// CancelPrompts sends a PinCancel for every open prompt.
func (s *Server) CancelPrompts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.agents {
		for id := range a.answers {
			b, _ := proto.Marshal(&inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Cancel{Cancel: &inkanpb.PinCancel{PromptId: id}}})
			_, _ = a.conn.Write(b)
		}
	}
}

// Answers returns how many PINs agents have sent, also to prompts that were
// over.
func (s *Server) Answers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers
}

func (s *Server) acceptAgents() {
	for {
		conn, err := s.pinListen.AcceptUnix()
		if err != nil {
			return
		}
		s.work.Go(func() { s.serveAgent(conn) })
	}
}

func (s *Server) serveAgent(conn *net.UnixConn) {
	defer conn.Close()
	hello, _, err := receive(conn)
	if err != nil || hello.GetHello().GetVersion() != 1 || !hello.GetHello().GetOwnCallsOnly() {
		return
	}
	a := &agentConn{id: "agent-" + rand.Text(), conn: conn, answers: map[string]chan answer{}}
	s.mu.Lock()
	s.agents[a.id] = a
	s.mu.Unlock()
	defer s.forget(a)
	welcome, _ := proto.Marshal(&inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Welcome{Welcome: &inkanpb.AgentWelcome{AgentId: a.id}}})
	if _, err := conn.Write(welcome); err != nil {
		return
	}
	for {
		p, pin, err := receive(conn)
		if err != nil {
			return
		}
		s.mu.Lock()
		switch {
		case p.GetAnswer() != nil:
			s.answers++
			if c := a.answers[p.GetAnswer().GetPromptId()]; c != nil {
				c <- answer{pin: pin}
			}
		case p.GetCancel() != nil:
			if c := a.answers[p.GetCancel().GetPromptId()]; c != nil {
				c <- answer{cancelled: true}
			}
		}
		s.mu.Unlock()
	}
}

func (s *Server) forget(a *agentConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.agents, a.id)
	for _, c := range a.answers {
		c <- answer{cancelled: true}
	}
}

// receive reads one packet and, for an answer, the PIN from its memfd.
func receive(conn *net.UnixConn) (*inkanpb.PinPacket, []byte, error) {
	b, oob := make([]byte, 8<<10), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := conn.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, errors.New("agent is gone")
	}
	p := &inkanpb.PinPacket{}
	if err := proto.Unmarshal(b[:n], p); err != nil {
		return nil, nil, err
	}
	if p.GetAnswer() == nil {
		return p, nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 {
		return nil, nil, fmt.Errorf("answer without its descriptor: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, nil, fmt.Errorf("answer with %d descriptors: %w", len(fds), err)
	}
	defer unix.Close(fds[0])
	pin := make([]byte, p.GetAnswer().GetLength(), 64)
	if got, err := unix.Pread(fds[0], pin[:cap(pin)], 0); err != nil || got != len(pin) {
		return nil, nil, fmt.Errorf("reading %d of %d bytes: %w", got, len(pin), err)
	}
	return p, pin, nil
}

// usePIN asks the agent that the call names, and counts the try.
func (s *Server) usePIN(ctx context.Context, purpose, label string, documents ...string) error {
	a, c, prompt := s.open(ctx, purpose, label, documents)
	if s.Tries() == 0 {
		return StatusError(inkanpb.Reason_REASON_CARD_LOCKED)
	}
	if a == nil {
		return StatusError(inkanpb.Reason_REASON_NO_PIN_AGENT)
	}
	b, err := proto.Marshal(&inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Prompt{Prompt: prompt}})
	if err != nil {
		return err
	}
	if _, err := a.conn.Write(b); err != nil {
		return err
	}
	late := time.NewTimer(prompt.GetTimeout().AsDuration())
	defer late.Stop()
	defer func() {
		s.mu.Lock()
		delete(a.answers, prompt.GetPromptId())
		s.mu.Unlock()
	}()
	select {
	case got := <-c:
		return s.judge(got)
	case <-late.C:
		return StatusError(inkanpb.Reason_REASON_PROMPT_TIMEOUT)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// open registers a prompt at the agent that the call names.
func (s *Server) open(ctx context.Context, purpose, label string, documents []string) (*agentConn, chan answer, *inkanpb.PinPrompt) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	named := md.Get("inkan-agent")
	if len(named) != 1 || s.agents[named[0]] == nil {
		return nil, nil, nil
	}
	a := s.agents[named[0]]
	prompt := &inkanpb.PinPrompt{
		PromptId: rand.Text(), Secret: inkanpb.SecretKind_SECRET_KIND_PIN, CardId: CardID, Company: Company,
		Program: "/usr/bin/inkan", Pid: 4242, Purpose: purpose, KeyLabel: label,
		DocumentNames: documents, DocumentCount: uint32(len(documents)),
		TriesLeft: proto.Uint32(s.tries), TriesKnown: true, Timeout: durationpb.New(time.Minute),
		MinLength: 6, MaxLength: 8, Virtual: true,
	}
	if s.prompt != nil {
		s.prompt(prompt)
	}
	c := make(chan answer, 2)
	a.answers[prompt.GetPromptId()] = c
	return a, c, prompt
}

// judge is the card: 123456 is right.
func (s *Server) judge(got answer) error {
	if got.cancelled {
		return StatusError(inkanpb.Reason_REASON_PROMPT_CANCELLED)
	}
	defer clear(got.pin)
	if len(got.pin) < 6 || len(got.pin) > 8 {
		return StatusError(inkanpb.Reason_REASON_PIN_MALFORMED, "detail", "it must have 6 to 8 characters")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Equal(got.pin, []byte("123456")) {
		s.setTriesLocked(10)
		return nil
	}
	s.setTriesLocked(s.tries - 1)
	if s.tries == 0 {
		return StatusError(inkanpb.Reason_REASON_CARD_LOCKED)
	}
	return StatusError(inkanpb.Reason_REASON_PIN_WRONG, "tries_left", strconv.Itoa(int(s.tries)))
}
