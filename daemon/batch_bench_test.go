package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/piv"
)

// batchSize is the size of the batch of the goal.
const batchSize = 100

// BenchmarkBatch compares a batch of 100 signatures by an RSA-2048 key with the
// card alone, in turn: the goal is 1.3 times, and .ci/bench-check holds it with
// twice the slack.
func BenchmarkBatch(b *testing.B) {
	h := newBenchHouse(b, pivcard.RSA2048)
	m := medians{}
	q := &inkanpb.SignBatchRequest{Algorithm: inkanpb.Algorithm_ALGORITHM_RSA_PKCS1_SHA256}
	for i := range batchSize {
		digest := sha256.Sum256(fmt.Append(nil, i))
		q.Documents = append(q.Documents, &inkanpb.BatchDocument{Digest: digest[:], Name: fmt.Sprintf("入札書-%d.pdf", i)})
	}
	for b.Loop() {
		for _, slot := range []string{"9a", "9c"} {
			q.KeyId = h.keys[slot].GetId()
			m.time("batch-"+slot, func() { h.batch(b, q) })
			m.time("card-alone-"+slot, func() { h.aloneBatch(b, slot, q) })
		}
	}
	m.report(b)
}

// batch signs a batch through the service.
func (h *benchHouse) batch(b *testing.B, q *inkanpb.SignBatchRequest) {
	stream, err := h.signing.SignBatch(b.Context(), q)
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; ; n++ {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) && n == batchSize+1 {
			return
		} else if err != nil {
			b.Fatal(n, err)
		}
	}
}

// aloneBatch is what the card alone costs: one connection, the PIN as often as
// the key wants it, the signatures.
func (h *benchHouse) aloneBatch(b *testing.B, slot string, q *inkanpb.SignBatchRequest) {
	ctx := b.Context()
	conn, err := h.reader.Connect(ctx, virtual.DefaultReader)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Disconnect(0) }()
	tok := piv.Open(conn, piv.Options{Extended: true, EmptyVerifySafe: true})
	id, err := tok.Identify(ctx)
	if err != nil {
		b.Fatal(err)
	}
	key := h.aloneKey(b, tok, slot)
	for i, d := range q.GetDocuments() {
		if i == 0 || slot == "9c" {
			h.aloneVerify(ctx, b, tok, id.Card)
		}
		if _, err := tok.Sign(ctx, key, token.RSAPKCS1SHA256, d.GetDigest()); err != nil {
			b.Fatal(err)
		}
	}
	if err := conn.Reset(ctx); err != nil {
		b.Fatal(err)
	}
}

func (h *benchHouse) aloneVerify(ctx context.Context, b *testing.B, tok *piv.Token, card token.CardID) {
	copy(h.page[token.PINHeadroom:], pivcard.DemoPIN)
	pin, err := token.NewPIN(h.page, len(pivcard.DemoPIN), nil)
	if err != nil {
		b.Fatal(err)
	}
	if v, err := tok.Verify(ctx, pin, token.NewAttempt(card, token.SecretPIN, 1)); err != nil || v.Kind != token.VerdictOK {
		b.Fatal(v, err)
	}
}
