package daemon_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/virtual"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// median of durations, in nanoseconds.
func median(took []time.Duration) float64 {
	slices.Sort(took)
	return float64(took[len(took)/2].Nanoseconds())
}

// watchers are streams of one user, over as few connections as it may have.
type watchers struct {
	seen []chan bool // whether there is a card, of each
	stop func()
}

func watch(b *testing.B, socket string, n int) *watchers {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watchers{}
	var all sync.WaitGroup
	var conns []*grpc.ClientConn
	for i := range n {
		if i%32 == 0 { // streams of one connection
			conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				b.Fatal(err)
			}
			conns = append(conns, conn)
		}
		stream, err := inkanpb.NewStatusServiceClient(conns[len(conns)-1]).WatchStatus(ctx, &inkanpb.WatchStatusRequest{})
		if err != nil {
			b.Fatal(err)
		}
		seen := make(chan bool, 1024)
		w.seen = append(w.seen, seen)
		all.Go(func() {
			defer close(seen)
			for {
				r, err := stream.Recv()
				if err != nil {
					return
				}
				seen <- len(r.GetStatus().GetCards()) > 0
			}
		})
	}
	w.stop = func() {
		cancel()
		all.Wait()
		for _, c := range conns {
			_ = c.Close()
		}
	}
	w.await(b, true)
	return w
}

// await waits until each watcher was told.
func (w *watchers) await(b *testing.B, card bool) {
	b.Helper()
	for i, seen := range w.seen {
		for got := !card; got != card; {
			var open bool
			if got, open = <-seen; !open {
				b.Fatalf("watcher %d of %d has ended", i+1, len(w.seen))
			}
		}
	}
}

// BenchmarkWatchStatus is how long it takes until all watchers know that a card
// was pulled: one, the reference, and 250, which is all that one user may have.
func BenchmarkWatchStatus(b *testing.B) {
	// More than the limits: those of the round before are still ending.
	d := daemontest.Start(b, daemontest.Options{Config: func(c *daemon.Config) {
		c.Limits = daemon.LimitsConfig{UserConnections: 64, UserCalls: 1000, UserRate: 100_000}
	}})
	took := map[int][]time.Duration{}
	for b.Loop() {
		for _, n := range []int{1, 250} {
			w := watch(b, d.Socket, n)
			began := time.Now()
			if err := d.Reader.Remove(virtual.DefaultReader); err != nil {
				b.Fatal(err)
			}
			w.await(b, false)
			took[n] = append(took[n], time.Since(began))
			if err := d.Reader.Insert(virtual.DefaultReader, d.Card); err != nil {
				b.Fatal(err)
			}
			w.await(b, true)
			w.stop()
		}
	}
	b.ReportMetric(median(took[1]), "one-p50-ns")
	b.ReportMetric(median(took[250]), "all-250-p50-ns")
	b.ReportMetric((median(took[250])-median(took[1]))/249, "each-more-p50-ns")
	b.ReportMetric(0, "ns/op") // a round of everything says nothing
}

// BenchmarkFirstCall is how long a program waits for its first answer: from
// Dial to the status, at an inkand that was just started and, the reference, at
// one that runs; and how long a call on an open connection takes.
func BenchmarkFirstCall(b *testing.B) {
	dir := b.TempDir()
	var start, first, running, open []time.Duration
	call := func(d *daemontest.Daemon) (c *client.Client, took time.Duration) {
		began := time.Now()
		c, err := client.Dial(b.Context(), client.Options{Socket: d.Socket})
		if err == nil {
			_, err = c.Status(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
		return c, time.Since(began)
	}
	for b.Loop() {
		began := time.Now()
		d, err := daemontest.TryStart(b, daemontest.Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		start = append(start, time.Since(began))
		c, took := call(d)
		first = append(first, took)
		_ = c.Close()
		c, took = call(d)
		running = append(running, took)
		began = time.Now()
		if _, err := c.Status(b.Context()); err != nil {
			b.Fatal(err)
		}
		open = append(open, time.Since(began))
		_ = c.Close()
		d.Stop()
	}
	b.ReportMetric(median(start), "start-and-card-p50-ns")
	b.ReportMetric(median(first), "first-call-p50-ns")
	b.ReportMetric(median(running), "dial-and-call-p50-ns")
	b.ReportMetric(median(open), "call-p50-ns")
	b.ReportMetric(0, "ns/op") // a round of everything says nothing
}
