package cardowner_test

import (
	"context"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token"
)

// away is a system whose service cannot be reached.
type away struct {
	pcsc.System
	why error
}

func (away) Wait(ctx context.Context, known []pcsc.ReaderState) ([]pcsc.ReaderState, error) {
	if known == nil {
		return []pcsc.ReaderState{}, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (a away) Health() (<-chan struct{}, error) { return nil, a.why }

func TestWhoIsShutOutIsToldByWhat(t *testing.T) {
	const socket = "/run/pcscd/pcscd.comm"
	for _, tt := range []struct {
		why    error
		kind   token.Kind
		detail string
	}{
		{pcsc.ErrNoService, token.KindPCSCUnavailable, ""},
		{fmt.Errorf("looking: %w", pcsc.ErrDenied), token.KindPCSCDenied, "polkit"},
		{
			fmt.Errorf("looking: %w: %w", pcsc.ErrDenied, &fs.PathError{Op: "connect", Path: socket, Err: fs.ErrPermission}),
			token.KindPCSCDenied, socket,
		},
	} {
		o := start(t, away{why: tt.why}, time.Second)
		o.Settle(t.Context())
		got := o.Service()
		if got == nil || got.Kind != tt.kind || tt.detail != "" && got.Meta["detail"] != tt.detail {
			t.Errorf("%v: Service says %v, want %s with %q", tt.why, got, tt.kind, tt.detail)
		}
	}
	o := start(t, away{}, time.Second)
	o.Settle(t.Context())
	if got := o.Service(); got != nil {
		t.Errorf("a service that is there: %v", got)
	}
}
