package daemon

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/prompt"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/pinpage"
	"github.com/inkan-project/inkan/token/piv"
)

// medians collects how long things took, by name.
type medians map[string][]time.Duration

func (m medians) time(name string, f func()) {
	begin := time.Now()
	f()
	m[name] = append(m[name], time.Since(begin))
}

// report adds the median of each to the benchmark's line: the goals are about
// the median.
func (m medians) report(b *testing.B) {
	for name, took := range m {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), name+"-p50-ns")
	}
	b.ReportMetric(0, "ns/op") // a round of everything says nothing
}

// BenchmarkSign compares a signature through the service with its parts: the
// goal is p50 <= empty RPC + (barrier, card alone, barrier) + 150 us, and
// .ci/bench-check holds it with twice the slack.
//
// The parts are taken in the order of a signature: a sync costs more between
// the card's own syncs than in a row of its kind, with or without a service.
// All are taken in turn, so that a slow disk or a cold cache meets each alike.
func BenchmarkSign(b *testing.B) {
	h := newBenchHouse(b, pivcard.P256)
	m := medians{}
	for b.Loop() {
		for _, slot := range []string{"9a", "9e"} {
			m.time("empty-rpc", func() { h.empty(b) })
			m.time("sign-"+slot, func() { h.sign(b, slot) })
			m.time("parts-"+slot, func() { h.barrier(b); h.alone(b, slot); h.barrier(b) })
			m.time("card-"+slot, func() { h.alone(b, slot) })
			m.time("two-barriers", func() { h.barrier(b); h.barrier(b) })
		}
	}
	m.report(b)
}

// benchHouse is a running service and, beside it, its parts on their own.
type benchHouse struct {
	signing inkanpb.SigningServiceClient
	health  healthpb.HealthClient
	keys    map[string]*inkanpb.Key

	reader *virtual.System // of the card alone
	own    map[string]token.Key
	page   []byte
	guard  *pinguard.Guard
	log    *audit.Log
}

// delivered is a prompter whose PIN is there already.
type delivered string

func (digits delivered) Ask(context.Context, prompt.Request) (prompt.Answer, error) {
	page := make([]byte, token.PINPageMin)
	copy(page[token.PINHeadroom:], digits)
	pin, err := token.NewPIN(page, len(digits), nil)
	return prompt.Answer{PIN: pin, Source: prompt.SourcePrompt}, err
}

func newBenchHouse(b *testing.B, keys pivcard.KeyType) *benchHouse {
	b.Helper()
	dir := b.TempDir()
	h := &benchHouse{page: make([]byte, token.PINPageMin), keys: map[string]*inkanpb.Key{}}
	h.serve(b, dir, Options{System: insertOf(b, filepath.Join(dir, "card"), keys), prompter: delivered(pivcard.DemoPIN)})
	h.reader = insertOf(b, filepath.Join(dir, "alone"), keys)
	h.record(b)
	return h
}

// record opens a journal and a log of its own.
func (h *benchHouse) record(b *testing.B) {
	b.Helper()
	parts := Options{Now: time.Now, Config: Config{StateDir: b.TempDir()}}
	rec, err := openRecords(b.Context(), parts)
	if err != nil {
		b.Fatal(err)
	}
	h.guard, h.log = rec.guard, rec.log
	b.Cleanup(func() { _ = rec.close() })
}

func insert(b testing.TB, dir string) *virtual.System {
	b.Helper()
	return insertOf(b, dir, pivcard.P256)
}

// insertOf inserts a card with keys of one type.
func insertOf(b testing.TB, dir string, keys pivcard.KeyType) *virtual.System {
	b.Helper()
	card, err := pivcard.Open(pivcard.Options{Dir: dir, Keys: map[pivcard.Slot]pivcard.KeyType{
		pivcard.SlotAuthentication: keys, pivcard.SlotSignature: keys, pivcard.SlotCardAuth: keys,
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = card.Close() })
	reader := virtual.New(virtual.Options{})
	if err := reader.Insert(virtual.DefaultReader, card); err != nil {
		b.Fatal(err)
	}
	return reader
}

// serve starts the service and connects to it as any program would.
func (h *benchHouse) serve(b *testing.B, dir string, o Options) {
	b.Helper()
	socket := filepath.Join(dir, "inkan.sock")
	o.Config.StateDir, o.Config.Socket = filepath.Join(dir, "state"), socket
	o.Config.Limits = LimitsConfig{UserRate: maxLimit, UserConnections: 64} // the service is measured, not its limits
	o.Virtual, o.Version, o.Logger = true, "bench", slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	o.Ready = func() { close(ready) }
	go func() { ended <- Run(ctx, o) }()
	select {
	case <-ready:
	case err := <-ended:
		b.Fatal(err)
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = conn.Close()
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	h.signing, h.health = inkanpb.NewSigningServiceClient(conn), healthpb.NewHealthClient(conn)
	h.learnKeys(b, conn)
}

// learnKeys waits for the card and lists its keys.
func (h *benchHouse) learnKeys(b *testing.B, conn *grpc.ClientConn) {
	b.Helper()
	watch, err := inkanpb.NewStatusServiceClient(conn).WatchStatus(b.Context(), &inkanpb.WatchStatusRequest{})
	for err == nil && len(h.keys) == 0 {
		if _, err = watch.Recv(); err != nil {
			break
		}
		var list *inkanpb.ListKeysResponse
		if list, err = h.signing.ListKeys(b.Context(), &inkanpb.ListKeysRequest{}); err != nil {
			break
		}
		for _, k := range list.GetKeys() {
			h.keys[k.GetSlot()] = k
		}
	}
	if err != nil {
		b.Fatal(err)
	}
}

func (h *benchHouse) sign(b *testing.B, slot string) {
	key := h.keys[slot]
	_, err := h.signing.Sign(b.Context(), &inkanpb.SignRequest{
		KeyId: key.GetId(), Algorithm: key.GetAlgorithms()[0], Digest: make([]byte, 32),
	})
	if err != nil {
		b.Fatal(err)
	}
}

func (h *benchHouse) empty(b *testing.B) {
	if _, err := h.health.Check(b.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		b.Fatal(err)
	}
}

// alone is what the card and the check of its signature cost, without
// service, journal or log.
func (h *benchHouse) alone(b *testing.B, slot string) {
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
	if _, _, err := tok.Tries(ctx, token.SecretPIN); err != nil {
		b.Fatal(err)
	}
	if slot == "9a" {
		copy(h.page[token.PINHeadroom:], pivcard.DemoPIN)
		pin, err := token.NewPIN(h.page, len(pivcard.DemoPIN), nil)
		if err != nil {
			b.Fatal(err)
		}
		if v, err := tok.Verify(ctx, pin, token.NewAttempt(id.Card, token.SecretPIN, 1)); err != nil || v.Kind != token.VerdictOK {
			b.Fatal(v, err)
		}
	}
	digest := make([]byte, 32)
	sig, err := tok.Sign(ctx, key, token.ECDSASHA256, digest)
	if err != nil {
		b.Fatal(err)
	}
	if err := token.CheckSignature(key.Public, token.ECDSASHA256, digest, sig); err != nil {
		b.Fatal(err)
	}
	if err := conn.Reset(ctx); err != nil {
		b.Fatal(err)
	}
}

// barrier is one durable slot beside one durable record.
func (h *benchHouse) barrier(b *testing.B) {
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.guard.Mark(pinguard.AuditMark{}); err != nil {
			b.Error(err)
		}
	})
	if _, err := h.log.Append(b.Context(), audit.Record{Kind: audit.KindEvent, Operation: "bench"}); err != nil {
		b.Fatal(err)
	}
	wg.Wait()
}

// aloneKey reads a key of the card alone, once: that is not part of signing.
func (h *benchHouse) aloneKey(b *testing.B, tok *piv.Token, slot string) token.Key {
	if h.own == nil {
		keys, err := tok.Keys(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		h.own = map[string]token.Key{}
		for _, k := range keys {
			h.own[k.Slot] = k
		}
	}
	return h.own[slot]
}

// BenchmarkPIN is what taking a PIN out of a descriptor costs, by kind of
// page.
func BenchmarkPIN(b *testing.B) {
	for _, kind := range []string{pinpage.KindSecret, pinpage.KindLocked} {
		b.Run(kind, func(b *testing.B) {
			pages, err := pinpage.Open(kind)
			if err != nil {
				b.Fatal(err)
			}
			fd := memfd(b, pivcard.DemoPIN)
			for b.Loop() {
				pin, err := pages.ReadFD(fd, len(pivcard.DemoPIN))
				if err != nil {
					b.Fatal(err)
				}
				pin.Wipe()
			}
		})
	}
}
