package client

import (
	"context"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Status returns the present state of service, readers and cards. Nothing is
// sent to any card. What the caller may not see is absent.
func (c *Client) Status(ctx context.Context) (*inkanpb.Status, error) {
	r, err := c.status.GetStatus(ctx, &inkanpb.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	return r.GetStatus(), nil
}

// Diagnose returns what a signature needs, layer by layer from below, and what
// of it is missing. It needs no PIN and never spends a try.
func (c *Client) Diagnose(ctx context.Context) ([]*inkanpb.DiagnoseStep, error) {
	r, err := c.status.Diagnose(ctx, &inkanpb.DiagnoseRequest{})
	if err != nil {
		return nil, err
	}
	return r.GetSteps(), nil
}
