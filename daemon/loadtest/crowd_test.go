package loadtest_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// The crowd of F11.
const (
	crowdUsers       = 20
	firstUser        = 21001 // uid
	userConnections  = 8     // the limit for one user
	userCalls        = 50    // at once: 1,000 of all
	crowdCards       = 3
	mostResidentKB   = 256 << 10
	mostTailOfMedian = 10
)

// TestF11 has a thousand calls at once, of twenty users on 160 connections, on
// three cards; each user has a person who gives the PIN.
func TestF11(t *testing.T) {
	b := newBoard(t)
	h := newHouse(t, crowdCards, pivcard.Behaviour{})
	w := &crowd{h: h, keys: h.keys(t, "9a"), took: make([][]time.Duration, crowdUsers)}
	w.left.Store(int64(pick(2_000, 3_000, 20_000, 100_000)))
	before, first := h.signed(t), levelNow(t)
	began := time.Now()
	var all sync.WaitGroup
	for i := range crowdUsers {
		all.Go(func() { w.user(t, i) })
	}
	all.Wait()
	elapsed := time.Since(began)
	var took []time.Duration
	least := 1.0
	for _, of := range w.took {
		took = append(took, of...)
	}
	for i, of := range w.took {
		share := float64(len(of)) / (float64(len(took)) / crowdUsers)
		least = min(least, share)
		if share < 0.5 {
			b.violation(11, "user %d made %d signatures, %.2f of a fair share", firstUser+i, len(of), share)
		}
	}
	if len(took) == 0 {
		t.Fatal("nothing was signed")
	}
	b.faults = len(took)
	median, tail, resident := quantile(took, 0.5), quantile(took, 0.99), residentKB(t, os.Getpid(), "VmRSS")
	t.Logf("%d signatures in %v (%.0f/s): p50 %v, p99 %v (%.1f x), least share %.2f, resident %d MiB with the callers",
		len(took), elapsed.Round(time.Millisecond), float64(len(took))/elapsed.Seconds(), median, tail, float64(tail)/float64(median), least, resident>>10)
	if tail > mostTailOfMedian*median {
		b.violation(11, "p99 is %v, more than ten times p50, %v", tail, median)
	}
	if resident > mostResidentKB {
		b.violation(11, "%d KiB are resident, callers included", resident)
	}
	if lost := w.lost.Load(); lost > 0 {
		b.violation(3, "%d calls were not answered with a signature; the first: %v", lost, w.first)
	}
	if made := h.signed(t) - before; made != len(took) {
		b.violation(3, "the cards made %d signatures, %d were released", made, len(took))
	}
	b.back(first)
}

// crowd is all users.
type crowd struct {
	h     *house
	keys  []*inkanpb.Key
	left  atomic.Int64 // signatures still to be made, by whoever comes first
	lost  atomic.Int64
	once  sync.Once
	first error             // that a call got; set once
	took  [][]time.Duration // of each user
}

// user is the programs of one user, and the person.
func (w *crowd) user(t *testing.T, i int) {
	ctx, stop := context.WithCancel(context.Background())
	agent, ended := w.person(ctx, t, firstUser+i)
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the agent of user %d ended with %v", firstUser+i, err)
		}
	}()
	ctx = metadata.AppendToOutgoingContext(ctx, "inkan-agent", agent)
	var conns []*grpc.ClientConn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range userConnections {
		conn, err := dialAs(firstUser+i, w.h.Socket)
		if err != nil {
			t.Error(err)
			return
		}
		conns = append(conns, conn)
	}
	var mu sync.Mutex
	var calls sync.WaitGroup
	for n := range userCalls {
		calls.Go(func() {
			signing := inkanpb.NewSigningServiceClient(conns[n%userConnections])
			for w.left.Add(-1) >= 0 {
				began := time.Now()
				_, err := signing.Sign(ctx, signRequest(w.keys[n%len(w.keys)]))
				if err != nil {
					w.lost.Add(1)
					w.once.Do(func() { w.first = err })
					continue
				}
				mu.Lock()
				w.took[i] = append(w.took[i], time.Since(began))
				mu.Unlock()
			}
		})
	}
	calls.Wait()
}

// person answers the prompts of a user.
func (w *crowd) person(ctx context.Context, t *testing.T, uid int) (agent string, ended chan error) {
	ended = make(chan error, 1)
	conn, err := connectAs(uid, unix.SOCK_SEQPACKET, filepath.Join(filepath.Dir(w.h.Socket), "pin.sock"))
	if err != nil {
		t.Error(err)
		ended <- err
		return "", ended
	}
	id := make(chan string, 1)
	go func() {
		err := client.PromptAgent{
			Source:   daemontest.PIN(pivcard.DemoPIN),
			Welcomed: func(given string) error { id <- given; return nil },
		}.Serve(ctx, conn)
		close(id)
		ended <- err
	}()
	return <-id, ended
}

// TestAUserWhoFloodsACardDelaysAnotherByOneUse is the queue of each user in
// front of a card: without it another user waits for all calls that came before.
func TestAUserWhoFloodsACardDelaysAnotherByOneUse(t *testing.T) {
	newBoard(t).faults = 1
	h := newHouse(t, 1, pivcard.Behaviour{DelayMS: 5})
	key := h.keys(t, "9e")[0]
	alone := honest(t, h, key, 15)
	flood, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		conn, err := dialAs(22001, h.Socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		for range 30 {
			all.Go(func() {
				for flood.Err() == nil {
					_, _ = inkanpb.NewSigningServiceClient(conn).Sign(flood, signRequest(key))
				}
			})
		}
	}
	beside := honest(t, h, key, 15)
	stop()
	all.Wait()
	one, two := quantile(slices.Clone(alone), 0.5), quantile(slices.Clone(beside), 0.5)
	t.Logf("a signature takes %v alone, %v (worst %v) beside 120 calls of another user", one, two, quantile(beside, 1))
	if two > 4*one { // two uses of the card, and a machine that does other things
		t.Errorf("p50 is %v beside another user, %v alone", two, one)
	}
}

// honest makes signatures one after the other, as a user of its own, and
// returns how long each took.
func honest(t *testing.T, h *house, key *inkanpb.Key, n int) (took []time.Duration) {
	t.Helper()
	conn, err := dialAs(20001, h.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range n {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		began := time.Now()
		_, err := inkanpb.NewSigningServiceClient(conn).Sign(ctx, signRequest(key))
		took = append(took, time.Since(began))
		cancel()
		if err != nil {
			t.Fatalf("an honest call: %v", err)
		}
	}
	return took
}
