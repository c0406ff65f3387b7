// Package registertest is for tests: a storage in memory, and the suite that
// keeps it and every other storage of the register honest.
//
// It guarantees that a [Memory] behaves like a database as far as package
// register can tell, because both pass [TestStorage]. A caller reads
// [Memory.Saves] to see what was worth a write.
package registertest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/token"
)

// Memory is a register.Storage that forgets. The zero value is empty.
type Memory struct {
	mu    sync.Mutex // guards the fields that follow
	cards []register.Card
	saves int
	err   error
}

// Saves returns how often Save was called.
func (m *Memory) Saves() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saves
}

// Fail lets every later call return err.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// Card implements register.Storage.
func (m *Memory) Card(_ context.Context, id token.CardID) (register.Card, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := m.index(id); at >= 0 && m.err == nil {
		return clone(m.cards[at]), true, nil
	}
	return register.Card{}, false, m.err
}

// Cards implements register.Storage.
func (m *Memory) Cards(context.Context) ([]register.Card, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []register.Card
	for _, c := range m.cards {
		list = append(list, clone(c))
	}
	slices.SortStableFunc(list, func(a, b register.Card) int { return a.FirstSeen.Compare(b.FirstSeen) })
	return list, m.err
}

// Key implements register.Storage.
func (m *Memory) Key(_ context.Context, id token.KeyID) (register.Key, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.cards {
		for _, k := range c.Keys {
			if k.ID == id {
				return k, true, m.err
			}
		}
	}
	return register.Key{}, false, m.err
}

// Save implements register.Storage.
func (m *Memory) Save(_ context.Context, card register.Card) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.saves++
	at := m.index(card.ID)
	if at < 0 {
		m.cards = append(m.cards, clone(card))
		return nil
	}
	old := m.cards[at]
	m.cards[at] = clone(card)
	m.cards[at].FirstSeen = old.FirstSeen
	for _, k := range old.Keys {
		if !slices.ContainsFunc(card.Keys, func(n register.Key) bool { return n.ID == k.ID }) {
			m.cards[at].Keys = append(m.cards[at].Keys, k)
		}
	}
	return nil
}

func (m *Memory) index(id token.CardID) int {
	return slices.IndexFunc(m.cards, func(c register.Card) bool { return c.ID == id })
}

func clone(c register.Card) register.Card {
	c.Keys = slices.Clone(c.Keys)
	return c
}

// TestStorage is the suite that every storage of the register passes. make
// returns an empty storage.
func TestStorage(t *testing.T, empty func(t *testing.T) register.Storage) {
	day := time.Date(2026, 11, 20, 9, 0, 0, 123456789, time.UTC)
	card := func(id token.CardID, first time.Time, keys ...register.Key) register.Card {
		return register.Card{
			ID: id, Serial: "00 11", Application: "PIV", Virtual: true,
			FirstSeen: first, LastSeen: first, Company: "株式会社サンプル", Keys: keys,
		}
	}
	key := func(card token.CardID, slot, spki string) register.Key {
		return register.Key{
			ID: token.NewKeyID(card, []byte(spki)), Slot: slot, Label: "署名用", SPKI: []byte(spki),
			Certificate: []byte{0x30, 0}, PINPolicy: token.PINAlways,
		}
	}
	t.Run("an empty storage has nothing", func(t *testing.T) {
		s := empty(t)
		_, card, err1 := s.Card(t.Context(), "piv-1")
		_, key, err2 := s.Key(t.Context(), "piv-1.00")
		cards, err3 := s.Cards(t.Context())
		if card || key || len(cards) != 0 || err1 != nil || err2 != nil || err3 != nil {
			t.Errorf("got card %v, key %v, cards %v, errors %v %v %v", card, key, cards, err1, err2, err3)
		}
	})
	t.Run("cards come back as saved, in the order first seen", func(t *testing.T) {
		s := empty(t)
		late := card("piv-a", day.Add(time.Hour), key("piv-a", "9a", "a1"))
		early := card("piv-b", day)
		noCertificate := key("piv-a", "9c", "a2")
		noCertificate.Certificate = nil
		late.Keys = append(late.Keys, noCertificate)
		save(t, s, late)
		save(t, s, early)
		got, err := s.Cards(t.Context())
		if diff := cmp.Diff([]register.Card{early, late}, got); diff != "" || err != nil {
			t.Errorf("Cards() differs (-want +got), error %v:\n%s", err, diff)
		}
		one, found, err := s.Card(t.Context(), "piv-a")
		if diff := cmp.Diff(late, one); diff != "" || !found || err != nil {
			t.Errorf("Card() differs (-want +got), found %v, error %v:\n%s", found, err, diff)
		}
	})
	t.Run("saving again changes a card and keeps keys that are not named", func(t *testing.T) {
		s := empty(t)
		gone, stays := key("piv-a", "9a", "a1"), key("piv-a", "9c", "a2")
		save(t, s, card("piv-a", day, gone, stays))
		stays.Label, stays.Certificate = "電子入札用", []byte{0x30, 1, 0}
		next := card("piv-a", day, stays)
		next.LastSeen, next.Company, next.Virtual = day.Add(time.Hour), "サンプル", false
		save(t, s, next)
		next.Keys = []register.Key{gone, stays}
		got, found, err := s.Card(t.Context(), "piv-a")
		sortKeys := func(c register.Card) register.Card {
			slices.SortFunc(c.Keys, func(a, b register.Key) int { return strings.Compare(a.Slot, b.Slot) })
			return c
		}
		if diff := cmp.Diff(next, sortKeys(got)); diff != "" || !found || err != nil {
			t.Errorf("Card() differs (-want +got), found %v, error %v:\n%s", found, err, diff)
		}
		k, found, err := s.Key(t.Context(), stays.ID)
		if diff := cmp.Diff(stays, k); diff != "" || !found || err != nil {
			t.Errorf("Key() differs (-want +got), found %v, error %v:\n%s", found, err, diff)
		}
	})
}

func save(t *testing.T, s register.Storage, c register.Card) {
	t.Helper()
	if err := s.Save(t.Context(), c); err != nil {
		t.Fatalf("Save(%s) = %v", c.ID, err)
	}
}
