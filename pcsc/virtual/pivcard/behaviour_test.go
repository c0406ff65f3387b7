package pivcard

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// variant returns a new card of a kind, with PIV selected.
func variant(t testing.TB, name string) *Card {
	t.Helper()
	b, ok := Variant(name)
	if !ok {
		t.Fatalf("there is no variant %q", name)
	}
	c, err := Open(Options{Dir: t.TempDir(), Keys: cheapKeys(), Behaviour: b})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	send(t, c, selectPIV)
	return c
}

// TestVariantsAnswerAsTheirCards follows each kind of card to its lock and
// back: the words of independent cards.
func TestVariantsAnswerAsTheirCards(t *testing.T) {
	const ok = apdu.SWOK
	tests := map[string]struct {
		limit      int
		wrong      []apdu.SW // the first, the second, the last allowed
		blocked    apdu.SW   // a right PIN on the locked card
		query      apdu.SW   // VERIFY without data on the fresh card
		queryProof apdu.SW   // after the right PIN
		queryLock  apdu.SW   // on the locked card
	}{
		"piv":          {10, []apdu.SW{0x63C9, 0x63C8, 0x63C0}, 0x6983, 0x63CA, ok, 0x6983},
		"limit-3":      {3, []apdu.SW{0x63C2, 0x63C1, 0x63C0}, 0x6983, 0x63C3, ok, 0x6983},
		"limit-5":      {5, []apdu.SW{0x63C4, 0x63C3, 0x63C0}, 0x6983, 0x63C5, ok, 0x6983},
		"limit-15":     {15, []apdu.SW{0x63CE, 0x63CD, 0x63C0}, 0x6983, 0x63CF, ok, 0x6983},
		"last-blocked": {10, []apdu.SW{0x63C9, 0x63C8, 0x6983}, 0x6983, 0x63CA, ok, 0x6983},
		"never-6983":   {10, []apdu.SW{0x63C9, 0x63C8, 0x63C0}, 0x63C0, 0x63CA, ok, 0x63C0},
		"no-count":     {10, []apdu.SW{0x6982, 0x6982, 0x6982}, 0x6983, 0x6982, 0x6982, 0x6982},
		"wrong-6300":   {10, []apdu.SW{0x6300, 0x6300, 0x6300}, 0x6983, 0x6300, 0x6300, 0x6300},
		"wrong-630x":   {10, []apdu.SW{0x6309, 0x6308, 0x6300}, 0x6983, 0x630A, ok, 0x6983},
		"slow":         {10, []apdu.SW{0x63C9, 0x63C8, 0x63C0}, 0x6983, 0x63CA, ok, 0x6983},
		"t0":           {10, []apdu.SW{0x63C9, 0x63C8, 0x63C0}, 0x6983, 0x63CA, ok, 0x6983},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the slow one waits for nobody
				c := variant(t, name)
				wantSWs(t, c, queryPIN, want.query, wrongPIN, want.wrong[0], rightPIN, ok, queryPIN, want.queryProof)
				wantSWs(t, c, wrongPIN, want.wrong[0], wrongPIN, want.wrong[1])
				for range want.limit - 3 {
					send(t, c, wrongPIN)
				}
				wantSWs(t, c, wrongPIN, want.wrong[2], rightPIN, want.blocked, queryPIN, want.queryLock, wrongPIN, want.blocked)
				if got := truth(t, c); got.PINLeft != 0 {
					t.Errorf("%d tries left on the locked card", got.PINLeft)
				}
				wantSWs(t, c, "002C0080 10"+rightUnlock+"313233343536FFFF", ok, rightPIN, ok)
				if got := truth(t, c); got.PINLeft != want.limit || got.UnlockLeft != want.limit {
					t.Errorf("after the unlock code %d and %d tries, want %d", got.PINLeft, got.UnlockLeft, want.limit)
				}
			})
		})
	}
}

func TestCardWithoutCounterNeverLocks(t *testing.T) {
	c := variant(t, "cac")
	for range 30 {
		wantSWs(t, c, wrongPIN, apdu.SWConditions, queryPIN, apdu.SWRefNotFound)
	}
	wantSWs(t, c, rightPIN, apdu.SWOK, queryPIN, apdu.SWRefNotFound)
	if got := truth(t, c); got.Verifies != 31 || got.PINLeft != Tries {
		t.Errorf("truth %+v, want 31 VERIFY and no try counted", got)
	}
}

func TestQuestionThatBurnsATryIsOnRecord(t *testing.T) {
	c := variant(t, "empty-verify-burns")
	wantSWs(t, c, queryPIN, triesLeft(9), rightPIN, apdu.SWOK, queryPIN, triesLeft(9), queryPIN, triesLeft(8))
	got := truth(t, c)
	if got.StatusQueries != 3 || got.Verifies != 1 || got.PINLeft != 8 {
		t.Errorf("truth %+v, want three questions, one VERIFY and 8 tries left", got)
	}
	if _, sw := sign(t, c, SlotAuthentication, P256, make([]byte, 32), true); sw != apdu.SWSecurityStatus {
		t.Errorf("9A signs after a question that burnt a try: %s, want 6982", sw)
	}
	for n := 7; n >= 0; n-- {
		wantSW(t, c, queryPIN, triesLeft(n))
	}
	wantSWs(t, c, queryPIN, apdu.SWBlocked, rightPIN, apdu.SWBlocked)
}

func TestAnswersComeAsTheTransportOfTheVariantHasThem(t *testing.T) {
	const (
		extended = "00CB3FFF 000005 5C03 5FC10A 0000"
		short    = "00CB3FFF 05 5C03 5FC10A 00"
		chuid    = "00CB3FFF 05 5C03 5FC102 "
	)
	t.Run("pieces", func(t *testing.T) {
		c := variant(t, "pieces")
		if r := send(t, c, extended); len(r.Data) != 256 || r.SW&0xFF00 != 0x6100 {
			t.Errorf("extended: %d bytes, %s, want 256 and 61xx", len(r.Data), r.SW)
		}
	})
	t.Run("T=0", func(t *testing.T) {
		c := variant(t, "t0")
		wantSW(t, c, extended, apdu.SWWrongLength)
		if r := send(t, c, short); len(r.Data) != 0 || r.SW != 0x6100 {
			t.Errorf("short: %d bytes, %s, want none and 6100", len(r.Data), r.SW)
		}
		r := send(t, c, chuid+"00")
		n, more := r.SW.More()
		if !more || len(r.Data) != 0 {
			t.Fatalf("CHUID: %d bytes, %s, want none and 61xx", len(r.Data), r.SW)
		}
		wantSW(t, c, "00C00000 00", 0x6C00|apdu.SW(n))
		if r := send(t, c, "00C00000"+tagName([]byte{byte(n)})); len(r.Data) != n || r.SW != apdu.SWOK {
			t.Errorf("GET RESPONSE: %d bytes, %s, want %d", len(r.Data), r.SW, n)
		}
	})
	t.Run("exact Le", func(t *testing.T) {
		c := variant(t, "exact-le")
		n, wrong := send(t, c, chuid+"00").SW.WrongLe()
		if !wrong {
			t.Fatal("no 6Cxx")
		}
		if r := send(t, c, chuid+tagName([]byte{byte(n)})); len(r.Data) != n || r.SW != apdu.SWOK {
			t.Errorf("with the right Le: %d bytes, %s", len(r.Data), r.SW)
		}
		wantSW(t, c, rightPIN, apdu.SWOK)
		if _, sw := sign(t, c, SlotSignature, P256, make([]byte, 32), true); sw != apdu.SWOK {
			t.Errorf("signing: %s: nothing that acts may be asked to be sent again", sw)
		}
	})
	t.Run("slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := variant(t, "slow")
			began := time.Now()
			wantSW(t, c, queryPIN, triesLeft(10))
			if took := time.Since(began); took != c.Behaviour().delay() || took == 0 {
				t.Errorf("a command took %v", took)
			}
		})
	})
}

func TestBehaviourIsThatOfTheCardForEver(t *testing.T) {
	c := variant(t, "limit-3")
	wantSWs(t, c, wrongPIN, triesLeft(2), wrongPIN, triesLeft(1))
	dir := c.options.Dir
	_ = c.Close()
	again, err := Open(Options{Dir: dir, Behaviour: Behaviour{Limit: 15}})
	if err != nil {
		t.Fatal(err)
	}
	wantSWs(t, again, selectPIV, apdu.SWOK, wrongPIN, triesLeft(0), rightPIN, apdu.SWBlocked)
	_ = again.Close()
	path := filepath.Join(dir, profileName)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, instead := range []string{`"limit": 15`, `"limit": 99`, `"never_locks": true, "limit": 3`, `"limit": 3, "wrong": "9000"`} {
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"limit": 3`, instead, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Options{Dir: dir}); !errors.Is(err, ErrDamaged) {
			t.Errorf("with %s in card.json Open gives %v, want ErrDamaged", instead, err)
		}
	}
}

func TestBehavioursAreReadStrictly(t *testing.T) {
	for _, name := range Variants() {
		if b, ok := Variant(name); !ok || b.check() != nil {
			t.Errorf("variant %s: %v, %v", name, ok, b.check())
		}
	}
	good, err := ParseBehaviour([]byte(`{"limit": 5, "wrong": "630x", "delay_ms": 20}`))
	if want := (Behaviour{Limit: 5, Wrong: "630x", DelayMS: 20}); err != nil || good != want {
		t.Errorf("ParseBehaviour = %+v, %v, want %+v", good, err, want)
	}
	for _, text := range []string{
		"", "{", `{"limt": 5}`, `{"limit": 16}`, `{"limit": -1}`, `{} {}`, `{"wrong": "9000"}`, `{"wrong": "63"}`, `{"wrong": "63Cy"}`,
		`{"blocked": "x"}`, `{"delay_ms": -1}`, `{"delay_ms": 600000}`, `{"empty_verify_burns": true, "empty_verify": "6A88"}`,
	} {
		if b, err := ParseBehaviour([]byte(text)); err == nil {
			t.Errorf("ParseBehaviour(%s) = %+v, want an error", text, b)
		}
	}
	if _, err := Open(Options{Dir: t.TempDir(), Behaviour: Behaviour{Limit: 16}}); err == nil {
		t.Error("a card with 16 tries was made: 63Cx cannot count them")
	}
	for text, fine := range map[string]bool{
		"9a=P-256": true, "9a=P-256,9c=RSA-2048,9d=P-384,9e=P-256": true,
		"": false, "9a": false, "9b=P-256": false, "9a=P-521": false, "9a=P-256,9a=P-384": false, "9a=P-256,": false,
	} {
		if keys, err := ParseKeys(text); (err == nil) != fine {
			t.Errorf("ParseKeys(%q) = %v, %v", text, keys, err)
		}
	}
}

func TestSilentCardActsAndSaysNothing(t *testing.T) {
	c, err := Open(Options{Dir: t.TempDir(), Keys: cheapKeys(), Behaviour: Behaviour{Silent: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	wantSWs(t, c, selectPIV, apdu.SWOK, queryPIN, triesLeft(10))
	if answer := c.Transmit(unhex(t, wrongPIN)); answer != nil {
		t.Errorf("a wrong PIN was answered: %x", answer)
	}
	if got := truth(t, c); got.Verifies != 1 || got.PINLeft != 9 {
		t.Errorf("after it %d VERIFYs and %d tries left, want 1 and 9", got.Verifies, got.PINLeft)
	}
	wantSWs(t, c, queryPIN, triesLeft(9))
	if answer := c.Transmit(unhex(t, rightPIN)); answer != nil {
		t.Errorf("a right PIN was answered: %x", answer)
	}
	wantSWs(t, c, queryPIN, apdu.SWOK) // it took it all the same
}
