package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/failpoint"
	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/token"
)

// Names of request metadata.
const (
	languageKey = "accept-language" // of texts, "ja" or "en"
	agentKey    = "inkan-agent"     // id of the PIN agent to ask
)

// unary is the one place that every call passes.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	ctx, answered := withAnswer(ctx)
	defer func() { answered(err) }() // at the very last
	defer s.answer(ctx, info.FullMethod, &err)
	arrived(ctx)
	failpoint.Hit(failpoint.Accepted)
	ctx, done := s.untilStop(ctx)
	defer done()
	leave, err := s.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := s.validate(req); err != nil {
		return nil, err
	}
	resp, err = handle(ctx, req)
	if err == nil {
		s.aboutToAnswer(info.FullMethod)
	}
	return resp, err
}

// stream is the same for streams; their first message is validated too.
func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer s.answer(ss.Context(), info.FullMethod, &err)
	leave, err := s.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	defer leave()
	ctx, done := s.untilStop(ss.Context())
	defer done()
	return handle(srv, ownStream{ss, s, ctx})
}

// untilStop returns a context that ends with the call, or when the service
// stops: what uses a card by then finishes all the same.
func (s *Server) untilStop(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(s.life, cancel)
	return ctx, func() { detach(); cancel() }
}

// ownStream validates messages and ends when the service stops.
type ownStream struct {
	grpc.ServerStream
	s   *Server
	ctx context.Context //nolint:containedctx // grpc.ServerStream hands its context out
}

// Context implements grpc.ServerStream.
func (v ownStream) Context() context.Context { return v.ctx }

// RecvMsg implements grpc.ServerStream.
func (v ownStream) RecvMsg(m any) error {
	if err := v.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	arrived(v.Context())
	return v.s.validate(m)
}

// admit asks the kernel who calls, the policy whether it may and the gate
// whether that is not too much. leave counts the call out again.
func (s *Server) admit(ctx context.Context, method string) (leave func(), err error) {
	caller, ok := peer.FromContext(ctx)
	if !ok {
		return nil, token.NewError(token.KindCallerGone)
	}
	if err := caller.Alive(); err != nil {
		return nil, token.NewError(token.KindCallerGone).Because(err)
	}
	failpoint.Hit(failpoint.Identified)
	d := s.cfg.Policy.Decide(method, subject(caller))
	log := s.cfg.Logger.With("method", method, "uid", caller.UID, "pid", caller.PID, "program", caller.Program, "ground", d.Ground)
	if !d.Allowed {
		log.Warn("Call denied")
		if d.Unknown {
			return nil, token.NewError(token.KindMethodUnknown, "method", strings.ToValidUTF8(method, "\uFFFD"))
		}
		return nil, token.NewError(token.KindCallerNotAllowed, "uid", fmt.Sprint(caller.UID), "detail", d.Ground).InJapanese(d.GroundJA)
	}
	log.Debug("Call allowed")
	failpoint.Hit(failpoint.Allowed)
	return s.enter(ctx, caller)
}

// validate checks the rules of proto/inkan/v1.
func (s *Server) validate(req any) error {
	msg, ok := req.(proto.Message)
	if !ok {
		return token.NewError(token.KindInternal).Because(fmt.Errorf("request of type %T", req))
	}
	err := s.validator.Validate(msg)
	if broken, ok := errors.AsType[*protovalidate.ValidationError](err); ok {
		var en, ja []string
		for _, v := range broken.Violations {
			field := protovalidate.FieldPathString(v.Proto.GetField())
			rule := ruleOf(v.Proto.GetRuleId())
			en, ja = append(en, field+" "+rule.en), append(ja, field+" "+rule.ja)
		}
		return token.Errorf(token.KindRequestInvalid, "%s", strings.Join(en, "; ")).InJapanese(strings.Join(ja, "、"))
	}
	return err
}

// answer turns whatever a handler ended with into what may leave: a panic
// becomes an error here, an error becomes a status.
func (s *Server) answer(ctx context.Context, method string, err *error) {
	if p := recover(); p != nil {
		s.cfg.Logger.Error("Handler panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
		*err = token.NewError(token.KindInternal)
	}
	if *err == nil {
		return
	}
	if s.life.Err() != nil && ctx.Err() == nil && waited(*err) {
		*err = token.NewError(token.KindShuttingDown).Because(*err)
	}
	s.cfg.Logger.Info("Call failed", "method", method, "error", *err)
	*err = toStatus(*err, language(ctx))
}

// waited reports whether a call ended because nobody waits for it any more.
func waited(err error) bool {
	return token.KindOf(err) == token.KindCallEnded || errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled
}

// language returns the language the caller wants texts in.
func language(ctx context.Context) string {
	return languageOf(metadata.ValueFromIncomingContext(ctx, languageKey))
}

func languageOf(wanted []string) string {
	for _, v := range wanted {
		if strings.HasPrefix(strings.ToLower(v), "ja") {
			return "ja"
		}
	}
	return "en"
}

// named is a request that may have a name.
type named interface {
	GetRequestId() string
	GetRepeat() bool
}

// asks returns who calls and what they call their request.
func asks(ctx context.Context, req named) broker.Caller {
	who := caller(ctx)
	who.Request = broker.RequestID{ID: req.GetRequestId(), Repeat: req.GetRepeat()}
	return who
}

// caller returns who calls, for the broker. admit has let the call through.
func caller(ctx context.Context) broker.Caller {
	c, _ := peer.FromContext(ctx)
	// Of several agents none is meant: no agent has such an id.
	agent := strings.Join(metadata.ValueFromIncomingContext(ctx, agentKey), ",")
	who := broker.Caller{UID: c.UID, PID: c.PID, Program: c.Program, Agent: agent, Alive: c.Alive}
	if a, ok := ctx.Value(answerKey{}).(*answer); ok {
		who.AfterSend = a.after
	}
	return who
}
