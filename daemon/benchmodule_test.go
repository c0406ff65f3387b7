package daemon

import (
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/virtual"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
	"github.com/inkan-project/inkan/token/cardprofile"
	"github.com/inkan-project/inkan/token/p11"
	"github.com/inkan-project/inkan/token/p11/module"
	"github.com/inkan-project/inkan/token/p11/p11test"
)

// TestMain makes this test the process of a PKCS#11 module where it is started
// as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == module.Verb {
		module.Main()
	}
	os.Exit(m.Run())
}

// BenchmarkSignModule compares a signature through the service and a PKCS#11
// module in its child process with its parts, on a token of SoftHSM with an
// RSA-2048 key (01) and a P-256 key (02). The goal is p50 <= empty RPC +
// (barrier, module in such a process, barrier) + 200 us, and .ci/bench-check holds
// it with twice the slack (docs/decisions/0010). All are taken in turn, on the
// same token:
//
//	sign    through the service: one RPC, two barriers, the module's process
//	login   C_OpenSession, C_Login, C_Logout and C_CloseSession in this process
//	direct  C_SignInit and C_Sign in this process, with a key that was just used
//	first   the same with finding the key, as after each login: a handle ends
//	        with the login
//	parts   barrier, card, barrier, and over is what sign took above that and the
//	        RPC, round by round: what else this computer does meets all alike
//	card    what the service asks of the module's process and the check of the
//	        signature, without service, journal and log: in no sum
//	kit     login, first and direct through p11-kit's server and client: no goal
func BenchmarkSignModule(b *testing.B) {
	h := newModuleHouse(b)
	m := medians{}
	for round := 0; b.Loop(); round++ {
		for _, id := range []string{"01", "02"} {
			rounds := []func(){
				func() { m.time("sign-"+id, func() { h.sign(b, id) }) },
				func() { m.time("parts-"+id, func() { h.barrier(b); h.card(b, id); h.barrier(b) }) },
				func() { m.time("empty-rpc", func() { h.empty(b) }) },
			}
			for i := range rounds { // each comes first as often as last
				rounds[(i+round)%len(rounds)]()
			}
			m["over-"+id] = append(m["over-"+id], m.last("sign-"+id)-m.last("parts-"+id)-m.last("empty-rpc"))
			m.time("card-"+id, func() { h.card(b, id) })
			m.time("two-barriers", func() { h.barrier(b); h.barrier(b) })
			h.parts(b, m, h.direct, "", id)
			h.parts(b, m, h.kit, "kit-", id)
		}
	}
	m.report(b)
}

// last returns how long something took the last time.
func (m medians) last(name string) time.Duration { return m[name][len(m[name])-1] }

// callers is how many use one card at once.
const callers = 8

// BenchmarkSignModuleCallers compares the rate of several callers on one card
// with that of one: the goal is 0.9 at least.
func BenchmarkSignModuleCallers(b *testing.B) {
	h := newModuleHouse(b)
	const signatures = 40 // of each in a round
	m := medians{}
	var rates []float64
	for b.Loop() {
		one, eight := h.rate(b, "02", 1, signatures), h.rate(b, "02", callers, signatures)
		m["one"], m["eight"] = append(m["one"], one), append(m["eight"], eight)
		rates = append(rates, float64(one)/float64(eight))
	}
	m.report(b)
	slices.Sort(rates)
	b.ReportMetric(rates[len(rates)/2], "rate-of-one")
}

// rate returns how long a signature takes when callers want some at once.
func (h *moduleHouse) rate(b *testing.B, id string, callers, signatures int) time.Duration {
	begin := time.Now()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range signatures / callers {
				h.sign(b, id)
			}
		})
	}
	wg.Wait()
	return time.Since(begin) / time.Duration(signatures)
}

// moduleHouse is a service with a token of SoftHSM, and beside it the same
// token in other ways.
type moduleHouse struct {
	*benchHouse
	module      *p11.Module
	conn        *p11.Card // in a process of its own
	profile     token.Profile
	pub         map[string]token.Key
	direct, kit *p11test.Direct
}

func newModuleHouse(b *testing.B) *moduleHouse {
	b.Helper()
	m := p11test.SoftHSM(b)
	h := &moduleHouse{
		benchHouse: &benchHouse{page: make([]byte, token.PINPageMin), keys: map[string]*inkanpb.Key{}},
		module:     m, pub: map[string]token.Key{},
	}
	environment := map[string]string{}
	for _, v := range m.Environment {
		name, value, _ := strings.Cut(v, "=")
		environment[name] = value
	}
	h.serve(b, b.TempDir(), Options{
		System: virtual.New(virtual.Options{}), prompter: delivered(p11test.PIN),
		Config: Config{PKCS11: []PKCS11Config{{
			Name: m.Name, Module: m.Path, Via: viaOwn, Profile: "softhsm", Environment: environment, Writable: m.Writable,
		}}},
	})
	h.record(b)
	h.connect(b)
	h.direct, h.kit = p11test.LoadDirect(b, m.Path, m.Environment...), p11test.P11Kit(b, m)
	return h
}

// connect starts a process with the module, as the service has one, and reads
// the keys.
func (h *moduleHouse) connect(b *testing.B) {
	b.Helper()
	set, err := cardprofile.Shipped()
	if err != nil {
		b.Fatal(err)
	}
	h.profile, _ = set.Named("softhsm")
	system := p11.NewSystem(virtual.New(virtual.Options{}), []*p11.Module{h.module}, slog.New(slog.DiscardHandler))
	b.Cleanup(func() { _ = system.Close() })
	var known []pcsc.ReaderState
	for h.conn == nil {
		if known, err = system.Wait(b.Context(), known); err != nil {
			b.Fatal(err)
		}
		for _, r := range known {
			if !r.Present {
				continue
			}
			conn, err := system.Connect(b.Context(), r.Name)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = conn.Disconnect(pcsc.Reset) })
			h.conn, _ = conn.(*p11.Card)
		}
	}
	tok := h.open()
	if _, err := tok.Identify(b.Context()); err != nil {
		b.Fatal(err)
	}
	keys, err := tok.Keys(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for _, k := range keys {
		h.pub[k.Slot] = k
	}
	if err := h.conn.Reset(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func (h *moduleHouse) open() *p11.Token {
	return p11.Open(h.conn, h.module, p11.Options{Profile: h.profile})
}

// algorithm is the usual one of a key.
func (h *moduleHouse) algorithm(id string) token.Algorithm {
	return token.Algorithms(h.pub[id].Public)[0]
}

// card is what the service asks of the module for a signature, and the check of
// it.
func (h *moduleHouse) card(b *testing.B, id string) {
	ctx, tok, key := b.Context(), h.open(), h.pub[id]
	who, err := tok.Identify(ctx)
	if err != nil {
		b.Fatal(err)
	}
	copy(h.page[token.PINHeadroom:], p11test.PIN)
	pin, err := token.NewPIN(h.page, len(p11test.PIN), nil)
	if err != nil {
		b.Fatal(err)
	}
	if v, err := tok.Verify(ctx, pin, token.NewAttempt(who.Card, token.SecretPIN, 1)); err != nil || v.Kind != token.VerdictOK {
		b.Fatal(v, err)
	}
	digest := make([]byte, 32)
	if _, err := tok.Begin(ctx, key, h.algorithm(id), digest); err != nil {
		b.Fatal(err)
	}
	sig, err := tok.Sign(ctx, key, h.algorithm(id), digest)
	if err != nil {
		b.Fatal(err)
	}
	if err := token.CheckSignature(key.Public, h.algorithm(id), digest, sig); err != nil {
		b.Fatal(err)
	}
	if err := h.conn.Reset(ctx); err != nil {
		b.Fatal(err)
	}
}

// parts times what a program does with a module by itself: session and login,
// a key's first signature, its next one, logout and the end of the session.
// What login and logout take is one figure.
func (h *moduleHouse) parts(b *testing.B, m medians, of *p11test.Direct, name, id string) {
	key, digest := h.pub[id], make([]byte, 32)
	begin := time.Now()
	of.Login(b)
	login := time.Since(begin)
	m.time("first-"+name+id, func() { of.Find(b, id); of.Sign(b, key, digest) })
	m.time("direct-"+name+id, func() { of.Sign(b, key, digest) })
	begin = time.Now()
	of.Logout(b)
	m["login-"+name+id] = append(m["login-"+name+id], login+time.Since(begin))
}
