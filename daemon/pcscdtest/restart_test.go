package pcscdtest_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// hangs is how long a call may take before the test calls it hung.
const hangs = 30 * time.Second

// recoverTime is how soon after pcscd a signature must come.
const recoverTime = 5 * time.Second

// TestF8 kills pcscd and starts it again while four programs sign and another
// gives wrong PINs, as often as the tier wants.
func TestF8(t *testing.T) {
	b := newBench(t)
	r := restarts{
		b: b, c: newCatalogue(t), card: newCard(t, nil), reader: b.pcscd.Reader("Inkan Test"),
		books: newBooks(b.Client(nil)), wrong: b.Client(daemontest.WrongPINs()),
	}
	r.reader.Insert(r.card)
	key := b.key(b.awaitCard(in(r.reader)).GetId(), "9a")
	r.load = &load{key: key, news: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	clients, under := make([]*client.Client, 4), sync.WaitGroup{}
	for i := range clients {
		clients[i] = b.Client(rightPIN)
		under.Go(func() { r.load.signOn(ctx, t, clients[i]) })
	}
	r.served(t)
	for i := range pick(r.c, 5, 20, 100, 1000) {
		r.restart(t, i)
	}
	stop()
	under.Wait()
	within, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for i, c := range clients {
		if err := r.load.sign(within, c); err != nil {
			t.Errorf("program %d after the last restart: %v", i, err)
		}
	}
	r.check(t, "at the end", true)
}

// load is what programs sign that do so all the time.
type load struct {
	key  *inkanpb.Key
	news chan struct{} // something was signed, or refused for good

	mu       sync.Mutex // guards the fields that follow
	signed   []string   // SHA-256 of each signature
	reinsert bool       // inkand wants the card to be inserted again
}

// restarts is a pcscd that is restarted under a load.
type restarts struct {
	b      *bench
	c      *catalogue
	card   card
	reader *pcsctest.Reader
	load   *load
	books  *books
	wrong  *client.Client
}

// restart kills pcscd, every second time with a wrong PIN on its way.
func (r *restarts) restart(t *testing.T, i int) {
	t.Helper()
	where := fmt.Sprintf("seed %d, restart %d", r.c.seed, i)
	ended := make(chan error, 1)
	if i%2 == 0 {
		go func() {
			_, err := sign(t.Context(), r.wrong, r.load.key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
			ended <- err
		}()
	} else {
		ended <- client.ErrPINWrong
	}
	<-time.After(time.Duration(r.c.random.IntN(40)) * time.Millisecond) // any moment
	r.b.pcscd.Kill()
	r.c.fault()
	r.b.Await(func(s *inkanpb.Status) bool { return s.GetService().GetMissing() == inkanpb.Layer_LAYER_PCSCD })
	r.check(t, where, false)
	r.b.pcscd.Restart()
	began := time.Now()
	if err := <-ended; err == nil {
		t.Errorf("%s: a wrong PIN signed", where)
	}
	if took := r.served(t).Sub(began); took > recoverTime {
		r.c.note(where, []finding{found(10, "nothing was signed within %v of pcscd being back, but after %v", recoverTime, took.Round(time.Millisecond))})
	}
	r.check(t, where, false)
}

// served waits for a signature and returns when it came, or when inkand asked
// for the card to be inserted again, as it does after two PINs in a row that
// were not right: the wrong one, and one whose verdict the kill took.
func (r *restarts) served(t *testing.T) time.Time {
	t.Helper()
	before, _ := r.load.count()
	late, asked := time.After(hangs), time.Time{}
	for {
		select {
		case <-r.load.news:
		case <-late:
			t.Fatal("no program signs any more")
		}
		now, reinsert := r.load.count()
		switch {
		case now > before && asked.IsZero():
			return time.Now()
		case now > before:
			return asked
		case reinsert:
			if asked.IsZero() {
				asked = time.Now()
			}
			r.reader.Remove()
			r.b.Await(func(s *inkanpb.Status) bool { return in(r.reader)(s) == nil })
			r.reader.Insert(r.card)
			r.b.awaitCard(in(r.reader))
		}
	}
}

// check holds card and log together. settled says that nobody signs any more.
func (r *restarts) check(t *testing.T, where string, settled bool) {
	t.Helper()
	truth := r.card.truth(t) // first: the log may only be ahead
	log, err := r.books.of(t.Context(), r.card.id())
	if err != nil {
		t.Fatal(err)
	}
	r.c.note(where, log.spends(truth))
	if settled {
		r.load.mu.Lock()
		defer r.load.mu.Unlock()
		r.c.note(where, log.settled(truth, slices.Clone(r.load.signed)))
	}
}

// count returns how much was signed, and whether the card is to be inserted
// again since.
func (l *load) count() (signed int, reinsert bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	reinsert, l.reinsert = l.reinsert, false
	return len(l.signed), reinsert
}

// sign signs once and notes what came of it.
func (l *load) sign(ctx context.Context, c *client.Client) error {
	sig, err := sign(ctx, c, l.key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.signed = append(l.signed, fmt.Sprintf("%x", sha256.Sum256(sig.Bytes)))
	case errors.Is(err, client.ErrReinsertNeeded):
		l.reinsert = true
	default:
		return err
	}
	select {
	case l.news <- struct{}{}:
	default:
	}
	return err
}

// signOn signs until ctx ends. While there is no card it waits for one.
func (l *load) signOn(ctx context.Context, t *testing.T, c *client.Client) {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(t.Context(), hangs)
		err := l.sign(call, c)
		cancel()
		if errors.Is(err, client.ErrPINWrong) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sign with the right PIN: %v", err)
			return
		}
		if err == nil {
			continue
		}
		select { // others work here, too
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
		for u, err := range c.Watch(ctx) {
			if err != nil || len(u.Status.GetCards()) > 0 {
				break
			}
		}
	}
}
