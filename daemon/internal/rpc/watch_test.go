package rpc

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/cardowner"
	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/daemon/internal/policy"
	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// quiet is readers in which nothing ever happens.
type quiet struct {
	broker.Cards
	service *token.Error // why there are no readers, or nil
}

func (quiet) Readers() []cardowner.Reader        { return nil }
func (quiet) Changed() (uint64, <-chan struct{}) { return 1, make(chan struct{}) }
func (q quiet) Service() *token.Error            { return q.service }
func (quiet) Settle(context.Context)             {}

// watcher takes states and does nothing with them.
type watcher struct{ serverStream }

func (watcher) Send(*inkanpb.WatchStatusResponse) error { return nil }

func TestAWatcherThatIsGoneIsNoticedThoughNothingChanges(t *testing.T) {
	if peer.Mode() != "pidfd" {
		t.Skip("needs SO_PEERPIDFD, Linux 6.5")
	}
	ctx, conn := connection(t)
	synctest.Test(t, func(t *testing.T) {
		logger := slog.New(slog.DiscardHandler)
		s, err := New(Config{
			Broker: broker.New(broker.Config{Cards: quiet{}, Now: time.Now, Logger: logger}),
			Policy: policy.New(signers()), Logger: logger,
			Service: func() *inkanpb.ServiceStatus { return &inkanpb.ServiceStatus{} },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			ended <- statusService{s: s}.WatchStatus(&inkanpb.WatchStatusRequest{}, watcher{serverStream{ctx: ctx}})
		}()
		synctest.Wait()
		_ = conn.Close()
		select {
		case err := <-ended:
			if token.KindOf(err) != token.KindCallerGone {
				t.Errorf("WatchStatus: %v, want CALLER_GONE", err)
			}
		case <-time.After(2 * watchCheck):
			t.Error("WatchStatus goes on for a caller that is gone")
		}
	})
}

func TestStatusSaysWhyThereAreNoReaders(t *testing.T) {
	ctx, _ := connection(t)
	for _, want := range []*token.Error{
		nil, token.NewError(token.KindPCSCUnavailable), token.NewError(token.KindPCSCDenied, "detail", "/run/pcscd/pcscd.comm"),
	} {
		b := broker.New(broker.Config{Cards: quiet{service: want}, Now: time.Now})
		s := &Server{cfg: Config{Broker: b, Policy: policy.New(signers()), Service: func() *inkanpb.ServiceStatus { return &inkanpb.ServiceStatus{} }}}
		got := s.status(ctx, b.Status(ctx)).GetService()
		if want == nil {
			if len(got.GetNotices()) != 0 || got.GetMissing() != inkanpb.Layer_LAYER_READER {
				t.Errorf("with pcscd: %v, want that a reader is missing, and no notice", got)
			}
			continue
		}
		if got.GetMissing() != inkanpb.Layer_LAYER_PCSCD || len(got.GetNotices()) != 1 {
			t.Fatalf("%v: %v, want that pcscd is missing, and one notice", want, got)
		}
		n := got.GetNotices()[0]
		if reason := catalogue.Find(string(want.Kind)); n.GetCode() != catalogue.Code(reason) || !strings.Contains(n.GetEn(), want.Meta["detail"]) || n.GetJa() == "" {
			t.Errorf("%v: notice %v", want, n)
		}
	}
}
