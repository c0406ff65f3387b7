package pinpage

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"testing"
	"unsafe"

	"github.com/inkan-project/inkan/token"
)

const (
	cardA = token.CardID("piv-00112233445566778899aabbccddeeff")
	cardB = token.CardID("piv-ffeeddccbbaa99887766554433221100")
)

func newWrong(t *testing.T, s *Source) *Wrong {
	t.Helper()
	w, err := s.Wrong()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func newPIN(t *testing.T, s *Source, digits string) *token.PIN {
	t.Helper()
	pin, err := s.ReadFD(memfd(t, digits), len(digits))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pin.Wipe)
	return pin
}

func TestAWrongSecretIsRememberedForItsCardAndItself(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		w := newWrong(t, s)
		pin := func(digits string) *token.PIN { return newPIN(t, s, digits) }
		if w.Has(cardA, token.SecretPIN, pin("123456")) {
			t.Error("an empty memory has something")
		}
		w.Add(cardA, token.SecretPIN, pin("123456"))
		w.Add(cardA, token.SecretPIN, pin("123456")) // twice is once
		w.Add(cardA, token.SecretUnlockCode, pin("87654321"))
		w.Add(cardB, token.SecretPIN, pin("555555"))
		for name, tt := range map[string]struct {
			card   token.CardID
			secret token.Secret
			digits string
			want   bool
		}{
			"the same":              {cardA, token.SecretPIN, "123456", true},
			"the unlock code":       {cardA, token.SecretUnlockCode, "87654321", true},
			"of another card":       {cardB, token.SecretPIN, "123456", false},
			"of another secret":     {cardA, token.SecretUnlockCode, "123456", false},
			"the other secret's":    {cardA, token.SecretPIN, "87654321", false},
			"another":               {cardA, token.SecretPIN, "123457", false},
			"longer":                {cardA, token.SecretPIN, "1234567", false},
			"longer by a NUL":       {cardA, token.SecretPIN, "123456\x00", false},
			"shorter":               {cardA, token.SecretPIN, "12345", false},
			"a card that is longer": {cardA + "\x01", 0, "123456", false},
			"no card":               {"", token.SecretPIN, "123456", false},
			"nothing":               {cardA, token.SecretPIN, "", false},
		} {
			if got := w.Has(tt.card, tt.secret, pin(tt.digits)); got != tt.want {
				t.Errorf("%s: Has = %v, want %v", name, got, tt.want)
			}
		}
		if len(w.known) != 3 {
			t.Errorf("%d are remembered, want 3", len(w.known))
		}
		w.Forget(cardA, token.SecretPIN)
		w.Forget(cardA, token.SecretAdminKey)
		if w.Has(cardA, token.SecretPIN, pin("123456")) {
			t.Error("what was forgotten is remembered")
		}
		if !w.Has(cardA, token.SecretUnlockCode, pin("87654321")) || !w.Has(cardB, token.SecretPIN, pin("555555")) {
			t.Error("what was not forgotten is gone")
		}
		another := newWrong(t, s)
		another.Add(cardB, token.SecretPIN, pin("555555"))
		if bytes.Equal(another.slotLocked(0), w.slotLocked(1)) || bytes.Equal(another.page[:keyLength], w.page[:keyLength]) {
			t.Error("two memories have the same key")
		}
	})
}

func TestSecretsOfEveryLengthAreToldApart(t *testing.T) {
	s, err := Open(KindLocked)
	if err != nil {
		t.Fatal(err)
	}
	w := newWrong(t, s)
	seen := map[string]bool{}
	for length := 1; length <= token.PINCapacity; length++ {
		for _, filling := range []byte{0, 1, '7', 0xFF} {
			pin := newPIN(t, s, string(bytes.Repeat([]byte{filling}, length)))
			hash, ok := w.hashLocked(cardA, token.SecretPIN, pin)
			pin.Wipe()
			if !ok || seen[string(hash[:])] {
				t.Errorf("%d bytes %#x: hash is there already, or none", length, filling)
			}
			seen[string(hash[:])] = true
		}
	}
}

func TestNothingIsRememberedOfNothing(t *testing.T) {
	s, err := Open(KindLocked)
	if err != nil {
		t.Fatal(err)
	}
	w := newWrong(t, s)
	wiped := newPIN(t, s, "123456")
	wiped.Wipe()
	for name, pin := range map[string]*token.PIN{"no PIN": nil, "a zero PIN": new(token.PIN), "an empty PIN": newPIN(t, s, ""), "a wiped PIN": wiped} {
		w.Add(cardA, token.SecretPIN, pin)
		if w.Has(cardA, token.SecretPIN, pin) || len(w.known) != 0 {
			t.Errorf("%s is remembered", name)
		}
	}
}

func TestTheOldestIsForgottenWhenThereAreTooMany(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		w := newWrong(t, s)
		has := func(i int) bool {
			pin := newPIN(t, s, fmt.Sprintf("%06d", i))
			defer pin.Wipe()
			return w.Has(cardA, token.SecretPIN, pin)
		}
		add := func(i int) {
			pin := newPIN(t, s, fmt.Sprintf("%06d", i))
			defer pin.Wipe()
			w.Add(cardA, token.SecretPIN, pin)
		}
		for i := range MaxWrong {
			add(i)
		}
		add(0) // the youngest again
		add(MaxWrong)
		for i := range MaxWrong + 1 {
			if want := i != 1; has(i) != want {
				t.Errorf("wrong PIN %d is remembered: %v, want %v", i, !want, want)
			}
		}
		for i := range 1000 {
			add(i)
		}
		if len(w.known) != MaxWrong || has(1000-MaxWrong-1) || !has(1000-MaxWrong) || !has(999) {
			t.Errorf("%d are remembered, or not the last ones", len(w.known))
		}
		end := hashOffset + MaxWrong*32
		if !bytes.Equal(w.page[end:], make([]byte, len(w.page)-end)) {
			t.Error("there are bytes behind the last hash")
		}
		w.Forget(cardA, token.SecretPIN)
		if !bytes.Equal(w.page[hashOffset:], make([]byte, len(w.page)-hashOffset)) {
			t.Error("hashes stay behind when they are forgotten")
		}
	})
}

func TestAfterCloseNothingIsRememberedAndNothingIsLeft(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		w := newWrong(t, s)
		pin := newPIN(t, s, "123456")
		w.Add(cardA, token.SecretPIN, pin)
		page := uintptr(unsafe.Pointer(&w.page[0]))
		released := 0
		s.released = func(p []byte) {
			released++
			if !bytes.Equal(p, make([]byte, os.Getpagesize())) {
				t.Error("the page is given back before it is zeroed")
			}
		}
		for range 2 {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		}
		if released != 1 || mapped(t, page) {
			t.Errorf("given back %d times, want once, and unmapped", released)
		}
		w.Add(cardA, token.SecretPIN, pin)
		w.Forget(cardA, token.SecretPIN)
		if w.Has(cardA, token.SecretPIN, pin) {
			t.Error("something is remembered after Close")
		}
		pin.Wipe()
		s.released = nil
	})
}

func TestItsPageIsAsWellKeptAsThatOfAPIN(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		w := newWrong(t, s)
		wantFlags(t, s, uintptr(unsafe.Pointer(&w.page[0])))
	})
}

func TestManyMayAskAtOnce(t *testing.T) {
	s, err := Open(KindLocked)
	if err != nil {
		t.Fatal(err)
	}
	w := newWrong(t, s)
	var wg sync.WaitGroup
	for i := range 8 {
		own := newPIN(t, s, fmt.Sprintf("%06d", i))
		wg.Go(func() {
			card := cardA
			if i%2 == 1 {
				card = cardB
			}
			for range 200 {
				w.Add(card, token.SecretPIN, own)
				if !w.Has(card, token.SecretPIN, own) {
					t.Errorf("wrong PIN %d is not remembered", i)
				}
				w.Forget(card, token.SecretUnlockCode)
			}
		})
	}
	wg.Wait()
}

// TestRememberingCopiesNothing looks through the memory of this process for the
// PIN, for the key, and for what they give together.
func TestRememberingCopiesNothing(t *testing.T) {
	forEachKind(t, func(t *testing.T, s *Source) {
		for _, length := range []int{8, token.PINCapacity} {
			w := newWrong(t, s)
			m := newMasked(length)
			pin := m.read(t, s)
			// In a goroutine of its own, which stays: searching from here would
			// write over what was left on this stack.
			asked, searched := make(chan struct{}), make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				w.Add(cardA, token.SecretPIN, pin)
				if !w.Has(cardA, token.SecretPIN, pin) || w.Has(cardB, token.SecretPIN, pin) {
					t.Error("not remembered")
				}
				close(asked)
				<-searched
			})
			<-asked
			if got, want := m.copies(t), s.inPage(); got != want {
				t.Errorf("a PIN of %d bytes stands %d times in memory, want %d", length, got, want)
			}
			if work := w.page[workOffset:hashOffset]; !bytes.Equal(work, make([]byte, len(work))) {
				t.Error("the masked PIN stays behind in the page")
			}
			key := make(masked, keyLength)
			for i := range key {
				key[i] = ^w.page[i]
			}
			pin.Wipe()
			if got := m.copies(t); got != 0 {
				t.Errorf("a PIN of %d bytes stands %d times in memory once it is wiped", length, got)
			}
			// Looking for the key spoils nothing but the copies that are found.
			if got, want := key.copies(t), s.inPage(); got != want {
				t.Errorf("the key stands %d times in memory, want %d", got, want)
			}
			close(searched)
			wg.Wait()
			_ = w.Close()
			if got := key.copies(t); got != 0 {
				t.Errorf("the key stands %d times in memory after Close", got)
			}
		}
	})
}
