package client

import (
	"context"
	"errors"
	"io"
	"iter"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// BundlePart is one part of a support bundle.
type BundlePart struct {
	Name string // a word or two in English, "doctor"
	Text string // many lines
}

// SupportBundle yields, part by part, what somebody needs to know of this
// inkand who helps from afar: no secret is in it, no name of a holder or
// document and nothing that was signed. It is for the administrator of the PC
// ([ErrCallerNotAllowed]) and sends nothing to any card. The last pair holds
// the error, if there was one.
func (c *Client) SupportBundle(ctx context.Context) iter.Seq2[BundlePart, error] {
	return func(yield func(BundlePart, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.admin.SupportBundle(ctx, &inkanpb.SupportBundleRequest{})
		for err == nil {
			var r *inkanpb.SupportBundleResponse
			if r, err = stream.Recv(); err == nil && !yield(BundlePart{r.GetName(), r.GetText()}, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(BundlePart{}, c.fromStatus(err))
		}
	}
}
