package client

import (
	"context"
	"iter"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// MaxLastRecords is the most records that [Client.LastRecords] returns.
const MaxLastRecords = 1000

// Records yields the log from its first record, oldest first: an auditor sees
// all of it, anybody else what their own user did. The last pair holds the
// error, if there was one.
func (c *Client) Records(ctx context.Context) iter.Seq2[*inkanpb.Record, error] {
	return pages(c.language, func(token string) ([]*inkanpb.Record, string, error) {
		r, err := c.audit.List(ctx, &inkanpb.ListRequest{PageSize: MaxLastRecords, PageToken: token})
		return r.GetRecords(), r.GetNextPageToken(), err
	})
}

// LastRecords returns the newest n records, oldest first; n is from 1 to
// [MaxLastRecords].
func (c *Client) LastRecords(ctx context.Context, n int) ([]*inkanpb.Record, error) {
	n = min(max(n, 1), MaxLastRecords)
	r, err := c.audit.List(ctx, &inkanpb.ListRequest{PageSize: uint32(n), Newest: true})
	if err != nil {
		return nil, err
	}
	return r.GetRecords(), nil
}
