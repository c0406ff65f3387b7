package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/daemon/internal/policy"
	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// watchCheck is how often a watcher is asked whether it still lives, when
// nothing changes.
const watchCheck = 30 * time.Second

type statusService struct {
	inkanpb.UnimplementedStatusServiceServer
	s *Server
}

// GetStatus implements inkanpb.StatusServiceServer.
func (v statusService) GetStatus(ctx context.Context, _ *inkanpb.GetStatusRequest) (*inkanpb.GetStatusResponse, error) {
	return &inkanpb.GetStatusResponse{Status: v.s.status(ctx, v.s.cfg.Broker.Status(ctx))}, nil
}

// GetVersion implements inkanpb.StatusServiceServer.
func (v statusService) GetVersion(context.Context, *inkanpb.GetVersionRequest) (*inkanpb.GetVersionResponse, error) {
	return &inkanpb.GetVersionResponse{Version: v.s.cfg.Service().GetVersion(), ApiLevel: inkanpb.APILevel}, nil
}

// WatchStatus implements inkanpb.StatusServiceServer.
func (v statusService) WatchStatus(_ *inkanpb.WatchStatusRequest, stream grpc.ServerStreamingServer[inkanpb.WatchStatusResponse]) error {
	ctx := stream.Context()
	ticker := time.NewTicker(watchCheck)
	defer ticker.Stop()
	states := v.s.watch(ctx)
	who, _ := peer.FromContext(ctx)
	for {
		select {
		case state, ok := <-states:
			if !ok {
				return token.NewError(token.KindCallEnded).Because(ctx.Err())
			}
			if err := stream.Send(&inkanpb.WatchStatusResponse{Sequence: state.Sequence, Status: v.s.status(ctx, state)}); err != nil {
				return err
			}
		case <-ticker.C:
			if err := who.Alive(); err != nil {
				return token.NewError(token.KindCallerGone).Because(err)
			}
		}
	}
}

// watch turns the broker's states into a channel that ends with ctx.
func (s *Server) watch(ctx context.Context) <-chan broker.Status {
	states := make(chan broker.Status)
	go func() {
		defer close(states)
		for state := range s.cfg.Broker.Watch(ctx) {
			select {
			case states <- state:
			case <-ctx.Done():
				return
			}
		}
	}()
	return states
}

// trusted reports whether a caller has to do with cards at all.
func (s *Server) trusted(who *peer.Caller) bool {
	roles := s.cfg.Policy.Roles(subject(who))
	return roles.Has(policy.RoleSigner) || roles.Has(policy.RoleHelpdesk) ||
		roles.Has(policy.RoleAdministrator) || roles.Has(policy.RoleAuditor)
}

// status shows a state to a caller: everybody sees service, readers and
// whether a card is present; the rest is for those who have to do with cards.
func (s *Server) status(ctx context.Context, state broker.Status) *inkanpb.Status {
	who, _ := peer.FromContext(ctx)
	trusted := s.trusted(who)
	out := &inkanpb.Status{Service: s.cfg.Service()}
	out.Service.Missing = inkanpb.Layer(s.cfg.Broker.Missing(state))
	if p := s.cfg.Broker.Service(); p != nil {
		out.Service.Notices = append(out.Service.Notices, Notice(p))
	}
	for _, r := range state.Readers {
		reader := &inkanpb.ReaderStatus{Name: r.Name, CardPresent: r.Present, Virtual: r.Virtual}
		if v := s.cfg.Exclusivity; v != nil {
			reader.Exclusivity = v(r.Name)
		}
		if trusted && r.Card != nil {
			reader.CardId = string(r.Card.Identity.Card)
		}
		if r.Problem != nil {
			reader.Problem = catalogue.Code(catalogue.Find(string(r.Problem.Kind)))
		}
		out.Readers = append(out.Readers, reader)
	}
	if trusted {
		for _, c := range state.Cards {
			out.Cards = append(out.Cards, s.protoCard(c))
		}
	}
	return out
}

// Notice says a problem in the catalogue's words, on one line.
func Notice(p *token.Error) *inkanpb.ServiceNotice {
	reason := catalogue.Find(string(p.Kind))
	text := func(lang string) string {
		t := catalogue.In(lang, reason, p.Meta)
		return t.Message + " " + t.Next
	}
	return &inkanpb.ServiceNotice{Code: catalogue.Code(reason), En: text("en"), Ja: text("ja")}
}
