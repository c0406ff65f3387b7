package pcscdtest_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// station is a reader with a card in it, a second card beside it, and somebody
// who uses them. Its methods are for one goroutine.
type station struct {
	b       *bench
	books   *books
	variant string
	reader  *pcsctest.Reader
	in, out *seat
	caller  *client.Client // gives the right secrets
	tap     *tap
	stalls  chan struct{} // holds who lets a call hang
}

// seat is a card of a station.
type seat struct {
	card
	key    *inkanpb.Key // 9a
	signed []string     // SHA-256 of the signatures that came out
}

// Times of a bench of stations.
const (
	stationIdle    = 50 * time.Millisecond
	stationCommand = 500 * time.Millisecond
	quietTime      = 3 * stationIdle
	maxReaders     = 8 // of pcscd's 16: each has a second slot
	maxStalls      = pcsc.MaxStuck - 1
)

// newStations starts a pcscd with a reader for each variant, two cards for
// each, and inkand.
func newStations(t *testing.T, variants []string) []*station {
	t.Helper()
	names := make([]string, len(variants))
	for i, v := range variants {
		names[i] = fmt.Sprintf("%d %s", i, v)
	}
	b := &bench{t: t, pcscd: pcsctest.Start(t, pcsctest.Options{Readers: names})}
	profiles, cards := t.TempDir(), make([][2]card, len(variants))
	for i, v := range variants {
		for j := range cards[i] {
			cards[i][j] = newVariant(t, v)
			if err := daemontest.WriteProfile(profiles, v, cards[i][j].id(), ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.Daemon = daemontest.Start(t, daemontest.Options{PCSCD: true, Config: func(c *daemon.Config) {
		c.Card.Idle, c.Card.CommandTimeout, c.Card.Profiles = daemon.Duration(stationIdle), daemon.Duration(stationCommand), profiles
	}})
	owners := &keeper{cards: map[string]card{}}
	caller, log, stations := b.Client(owners), newBooks(b.Client(nil)), make([]*station, len(variants))
	stalls := make(chan struct{}, maxStalls)
	for i, v := range variants {
		s := &station{
			b: b, books: log, variant: v, caller: caller, tap: newTap(), stalls: stalls,
			reader: b.pcscd.Reader(names[i]), in: &seat{card: cards[i][0]}, out: &seat{card: cards[i][1]},
		}
		for _, c := range cards[i] {
			owners.cards[c.id()] = c
		}
		s.reader.Arrange(pcsctest.Fault{Match: s.tap.listen})
		stations[i] = s
	}
	return stations
}

// newVariant makes a card of a kind.
func newVariant(t *testing.T, name string) card {
	t.Helper()
	behaviour, ok := pivcard.Variant(name)
	if !ok {
		t.Fatalf("no variant %s", name)
	}
	dir := t.TempDir()
	c, err := pivcard.Open(pivcard.Options{Dir: dir, Behaviour: behaviour, Keys: map[pivcard.Slot]pivcard.KeyType{
		pivcard.SlotAuthentication: pivcard.P256, pivcard.SlotSignature: pivcard.P256, pivcard.SlotCardAuth: pivcard.P256,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return card{c, dir}
}

// keeper knows the secrets of all cards: each new PIN is the other of two (the
// first is none that inkand would take as a new one), so that which one it is
// now follows from how often the card took one.
type keeper struct{ cards map[string]card }

// PIN implements client.PINSource.
func (k *keeper) PIN(_ context.Context, p client.Prompt, buf []byte) (int, error) {
	return k.give(p.CardID, 0, buf)
}

// Secret implements client.SecretSource.
func (k *keeper) Secret(_ context.Context, p client.Prompt, buf []byte) (int, error) {
	if p.Secret == inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE {
		return copy(buf, pivcard.DemoUnlockCode), nil
	}
	return k.give(p.CardID, 1, buf)
}

// Confirm implements client.Confirmer.
func (k *keeper) Confirm(_ context.Context, p client.Prompt) (string, error) {
	return p.Confirmation, nil
}

// give gives the PIN that a card has after so many more changes.
func (k *keeper) give(id string, more int, buf []byte) (int, error) {
	truth, err := pivcard.ReadTruth(k.cards[id].dir)
	if err != nil {
		return 0, err
	}
	switch n := truth.Replaced + more; {
	case n == 0:
		return copy(buf, pivcard.DemoPIN), nil
	case n%2 == 1:
		return copy(buf, "864209"), nil
	}
	return copy(buf, "975318"), nil
}

// tap hears each command that reaches a reader.
type tap struct {
	mu    sync.Mutex // guards the field that follows
	names []string
	last  atomic.Int64 // when, in Unix nanoseconds
}

func newTap() *tap {
	t := &tap{}
	t.last.Store(time.Now().UnixNano())
	return t
}

// listen is what a fault matches that never strikes.
func (t *tap) listen(command []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names = append(t.names, commandName(command))
	t.last.Store(time.Now().UnixNano())
	return false
}

// commandName names the commands of inkand (ISO/IEC 7816-4 table 4, SP 800-73-5
// part 2 section 3).
func commandName(command []byte) string {
	if len(command) < 4 {
		return fmt.Sprintf("% X", command)
	}
	name, ok := map[byte]string{
		0xA4: "SELECT", 0xCB: "GET DATA", 0x20: "VERIFY", 0x24: "CHANGE REFERENCE DATA",
		0x2C: "RESET RETRY COUNTER", 0x87: "GENERAL AUTHENTICATE", 0xC0: "GET RESPONSE",
	}[command[1]]
	switch {
	case !ok:
		return fmt.Sprintf("INS %02X", command[1])
	case command[1] == 0x20 && len(command) <= 5:
		return "empty VERIFY"
	}
	return name
}

// take returns what was heard since it was called last.
func (t *tap) take() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := t.names
	t.names = nil
	return names
}

// quiet waits until inkand leaves the card alone: it asks for the tries once
// more before it lets the card go.
func (s *station) quiet(ctx context.Context) error {
	enough := quietTime + 2*time.Duration(s.in.Behaviour().DelayMS)*time.Millisecond
	return poll(ctx, func() bool { return time.Since(time.Unix(0, s.tap.last.Load())) > enough })
}

// poll waits until something is so.
func poll(ctx context.Context, so func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// flows are the uses of a card with a secret.
func flows() []string { return []string{"sign", "change", "unlock", "verify"} }

// use does one of the flows with the card that is in. A signature that comes
// out is checked with the key's certificate, and noted.
func (s *station) use(ctx context.Context, flow string) (err error) {
	c := s.in
	switch flow {
	case "sign":
		var sig client.Signature
		if sig, err = sign(ctx, s.caller, c.key, inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256); err == nil {
			c.signed = append(c.signed, fmt.Sprintf("%x", sha256.Sum256(sig.Bytes)))
			if !verifies(s.b.t, c.key, sig.Bytes) {
				return errWrongKey
			}
		}
	case "change":
		_, err = s.caller.ChangePIN(ctx, c.id())
	case "unlock":
		_, err = s.caller.Unlock(ctx, c.id())
	case "verify":
		_, err = s.caller.VerifyPIN(ctx, c.id())
	default:
		err = fmt.Errorf("there is no flow %q", flow)
	}
	return err
}

// errWrongKey is a signature that another key made.
var errWrongKey = errors.New("the signature is not one of the key")

// status is what is shown of the reader's card; nil without one.
func (s *station) status(ctx context.Context) (*inkanpb.CardStatus, error) {
	st, err := s.caller.Status(ctx)
	if err != nil {
		return nil, err
	}
	return in(s.reader)(st), nil
}

// awaits waits until the card in the reader is the one with this identity, or
// gone with "".
func (s *station) awaits(ctx context.Context, id string) error {
	for u, err := range s.caller.Watch(ctx) {
		if err = errors.Join(err, u.Lost); err != nil {
			return fmt.Errorf("waiting for card %q: %w", id, err)
		}
		if in(s.reader)(u.Status).GetId() == id {
			return nil
		}
	}
	return errors.New("the watch ended")
}

// pull takes the card out and waits until that is seen.
func (s *station) pull(ctx context.Context) error {
	s.reader.Remove()
	return s.awaits(ctx, "")
}

// meet makes both cards known, ends with the first one in, and returns which
// commands each flow has with a card of this kind.
func (s *station) meet(ctx context.Context) (gaps map[string][]string, err error) {
	gaps = map[string][]string{}
	for range 2 {
		s.in, s.out = s.out, s.in
		s.reader.Insert(s.in.card)
		if err := s.awaits(ctx, s.in.id()); err != nil {
			return nil, err
		}
		s.in.key = s.b.key(s.in.id(), "9a")
		for _, flow := range flows() {
			if err := s.quiet(ctx); err != nil {
				return nil, err
			}
			s.tap.take()
			if err := s.use(ctx, flow); err != nil {
				return nil, fmt.Errorf("%s, %s without a fault: %w", s.variant, flow, err)
			}
			// inkand may have looked at the card by itself once, not twice.
			if heard := s.tap.take(); len(gaps[flow]) == 0 || len(heard) < len(gaps[flow]) {
				gaps[flow] = heard
			}
		}
		if err := s.pull(ctx); err != nil {
			return nil, err
		}
	}
	s.reader.Insert(s.in.card)
	if err := s.awaits(ctx, s.in.id()); err != nil {
		return nil, err
	}
	return gaps, nil
}

// is reports whether an error is one of these.
func is(err error, known ...error) bool {
	return slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) })
}
