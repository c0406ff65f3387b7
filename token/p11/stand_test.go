package p11_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/p11"
	"github.com/inkan-project/inkan/token/p11/p11test"
	"github.com/inkan-project/inkan/token/tokentest"
)

// stand is a system with the module that lies and one beside it that does not.
type stand struct {
	*testing.T
	system       *p11.System
	liar, honest *place
}

// place is one slot and how it is used: as the owner of cards would.
type place struct {
	*p11test.Liar
	system *p11.System
	card   pcsc.Card // or nil
}

// operationTime is the time of one operation here; a use that hangs takes it and
// what it takes to end a process.
const operationTime = time.Second

func newStand(t *testing.T, made *p11test.Liar) *stand {
	t.Helper()
	s := &stand{
		T:      t,
		liar:   &place{Liar: made.Another(t, "liar", "0001")},
		honest: &place{Liar: made.Another(t, "honest", "0002")},
	}
	before := have(t)
	s.liar.Timeout, s.honest.Timeout = operationTime, 20*time.Second
	s.system = p11.NewSystem(virtual.New(virtual.Options{}), []*p11.Module{s.liar.Module, s.honest.Module}, logger(t))
	s.liar.system, s.honest.system = s.system, s.system
	t.Cleanup(func() { s.nothingLeft(before) })
	return s
}

// reader is the name of the place's reader.
func (p *place) reader() string { return p.Name + ": slot of " + p.Name }

// leave gives the card back.
func (p *place) leave() {
	if p.card != nil {
		_ = p.card.Disconnect(pcsc.Reset)
		p.card = nil
	}
}

// outcome is what came of a use, as far as it came.
type outcome struct {
	before    error // connecting, resetting, identifying, reading keys
	verdict   token.Verdict
	sign      error
	signature error // what the check of the signature says
	reset     error // after it
	took      time.Duration
}

func (o outcome) String() string {
	return fmt.Sprintf("before: %v; verdict: %v %v (cause %v); sign: %v; signature: %v; reset: %v; took %v", o.before, o.verdict.Kind, o.verdict.Tries, o.verdict.Cause, o.sign, o.signature, o.reset, o.took)
}

// good reports a signature with the first PIN.
func (o outcome) good() bool {
	return o.before == nil && o.verdict.Kind == token.VerdictOK && o.sign == nil && o.signature == nil && o.reset == nil
}

// came says how far a use came, and what people are told: "" and "" for a
// signature.
func (o outcome) came() (where string, kind token.Kind) {
	switch {
	case o.before != nil:
		return "before", token.KindOf(o.before)
	case o.verdict.Kind == token.VerdictNone:
		return "PIN", token.KindOf(o.verdict.Cause)
	case o.verdict.Kind != token.VerdictOK:
		return "PIN", token.KindPINWrong
	case o.sign != nil:
		return "sign", token.KindOf(o.sign)
	case o.signature != nil:
		return "check", token.KindOf(o.signature)
	case o.reset != nil:
		return "reset", token.KindOf(o.reset)
	}
	return "", ""
}

// use makes one signature with this PIN, from reset to reset. What fails is not
// tried again; after a failure the connection is given up.
func (p *place) use(t *testing.T, pin string) (o outcome) {
	t.Helper()
	began := time.Now()
	defer func() {
		o.took = time.Since(began)
		if !o.good() {
			p.leave()
		}
	}()
	ctx := t.Context()
	tok, identity, key, err := p.begin(ctx, t)
	if err != nil {
		o.before = err
		return o
	}
	attempt := token.NewAttempt(identity.Card, token.SecretPIN, 1)
	if o.verdict, err = tok.Verify(ctx, tokentest.PIN(t, []byte(pin)), attempt); err != nil {
		o.before = err
		return o
	}
	if o.verdict.Kind == token.VerdictOK {
		digest := sha256.Sum256([]byte("入札書"))
		var signature []byte
		if signature, o.sign = tok.Sign(ctx, key, token.RSAPKCS1SHA256, digest[:]); o.sign == nil {
			o.signature = token.CheckSignature(key.Public, token.RSAPKCS1SHA256, digest[:], signature)
		}
	}
	o.reset = p.card.Reset(ctx)
	return o
}

// begin does what comes before a PIN.
func (p *place) begin(ctx context.Context, t *testing.T) (*p11.Token, token.Identity, token.Key, error) {
	t.Helper()
	if p.card == nil {
		card, err := p.system.Connect(ctx, p.reader())
		if err != nil {
			return nil, token.Identity{}, token.Key{}, err
		}
		p.card = card
	}
	if err := p.card.Reset(ctx); err != nil {
		return nil, token.Identity{}, token.Key{}, err
	}
	tok := open(t, p.card, p.Module)
	identity, err := tok.Identify(ctx)
	if err != nil {
		return nil, identity, token.Key{}, err
	}
	keys, err := tok.Keys(ctx)
	if err == nil && len(keys) != 1 {
		err = token.Errorf(token.KindKeyNotFound, "%d keys", len(keys))
	}
	if err != nil {
		return nil, identity, token.Key{}, err
	}
	return tok, identity, keys[0], nil
}

// until waits for what another process does, and looks every few milliseconds.
func until(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	end := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
}

// ready waits until the place is shown with a card in it.
func (p *place) ready(t *testing.T) {
	t.Helper()
	until(t, 20*time.Second, p.Name+" has a card", func() bool {
		states, err := p.system.Wait(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range states {
			if r.Name == p.reader() && r.Present {
				return true
			}
		}
		return false
	})
}

// works waits until a use goes well: a module that failed is given some time.
func (p *place) works(t *testing.T) {
	t.Helper()
	p.ready(t)
	var last outcome
	defer func() {
		if t.Failed() {
			t.Logf("the last use of %s: %v", p.Name, last)
		}
	}()
	until(t, 20*time.Second, p.Name+" signs", func() bool {
		last = p.use(t, p11test.PIN)
		return last.good()
	})
}

// having is what this process holds.
type having struct{ descriptors, goroutines int }

func have(t *testing.T) having {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return having{descriptors: len(all), goroutines: runtime.NumGoroutine()}
}

// nothingLeft ends the system and wants nothing of it to be left.
func (s *stand) nothingLeft(before having) {
	s.Helper()
	s.liar.leave()
	s.honest.leave()
	_ = s.system.Close()
	var now having
	var running []int
	defer func() {
		if s.Failed() {
			s.Logf("now %+v, before %+v, processes %v", now, before, running)
		}
	}()
	until(s.T, 10*time.Second, "nothing is left of the modules", func() bool {
		now, running = have(s.T), append(s.liar.Running(s.T), s.honest.Running(s.T)...)
		return now.descriptors <= before.descriptors && now.goroutines <= before.goroutines && len(running) == 0
	})
}
