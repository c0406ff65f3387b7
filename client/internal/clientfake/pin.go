package clientfake

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
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
	pin          []byte
	confirmation string
	cancelled    bool
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
				c <- answer{pin: pin, confirmation: p.GetAnswer().GetConfirmation()}
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
	if oobn == 0 && p.GetAnswer().GetLength() == 0 {
		return p, nil, nil // to a prompt for no secret
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

// question is what one prompt asks for.
type question struct {
	secret           inkanpb.SecretKind
	purpose, label   string
	documents        []string
	confirmation     string
	confirmationType inkanpb.ConfirmationReason
}

// ask asks the agent that the call names. Its confirmation is right when it
// returns nil.
func (s *Server) ask(ctx context.Context, q question) (answer, error) {
	a, c, prompt := s.open(ctx, q)
	if a == nil {
		return answer{}, StatusError(inkanpb.Reason_REASON_NO_PIN_AGENT)
	}
	b, err := proto.Marshal(&inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Prompt{Prompt: prompt}})
	if err != nil {
		return answer{}, err
	}
	if _, err := a.conn.Write(b); err != nil {
		return answer{}, err
	}
	end := time.Now().Add(prompt.GetTimeout().AsDuration())
	late := time.NewTimer(time.Until(end))
	defer late.Stop()
	defer func() {
		s.mu.Lock()
		delete(a.answers, prompt.GetPromptId())
		s.mu.Unlock()
	}()
	select {
	case got := <-c:
		switch {
		case got.cancelled && !time.Now().Before(end): // an agent ends it, too, when its time is over
			return answer{}, StatusError(inkanpb.Reason_REASON_PROMPT_TIMEOUT)
		case got.cancelled:
			return answer{}, StatusError(inkanpb.Reason_REASON_PROMPT_CANCELLED)
		case got.confirmation != prompt.GetConfirmation():
			return answer{}, StatusError(inkanpb.Reason_REASON_CONFIRMATION_REFUSED)
		}
		return got, nil
	case <-late.C:
		return answer{}, StatusError(inkanpb.Reason_REASON_PROMPT_TIMEOUT)
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// open registers a prompt at the agent that the call names.
func (s *Server) open(ctx context.Context, q question) (*agentConn, chan answer, *inkanpb.PinPrompt) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	named := md.Get("inkan-agent")
	if len(named) != 1 || s.agents[named[0]] == nil {
		return nil, nil, nil
	}
	a := s.agents[named[0]]
	prompt := &inkanpb.PinPrompt{
		PromptId: rand.Text(), Secret: q.secret, CardId: CardID, Company: Company,
		Program: "/usr/bin/inkan", Pid: 4242, Purpose: q.purpose, KeyLabel: q.label,
		DocumentNames: q.documents, DocumentCount: uint32(len(q.documents)),
		TriesLeft: proto.Uint32(s.card.tries), TriesKnown: true, Timeout: durationpb.New(time.Minute),
		MinLength: 6, MaxLength: 8, Virtual: true,
		Confirmation: q.confirmation, ConfirmationReason: q.confirmationType,
	}
	if q.secret == inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE {
		prompt.TriesLeft, prompt.MinLength = proto.Uint32(s.card.unlockTries), 8
	}
	if s.prompt != nil {
		s.prompt(prompt)
	}
	c := make(chan answer, 2)
	a.answers[prompt.GetPromptId()] = c
	return a, c, prompt
}
