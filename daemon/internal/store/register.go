package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/token"
)

var _ register.Storage = (*Register)(nil)

// Register is the storage of the register: a [register.Storage].
type Register struct {
	store                    *Store
	card, cards, key, keysOf *sql.Stmt
}

const (
	cardColumns = "SELECT id, serial, application, virtual, first_seen, last_seen, company, token, hash FROM card "
	keyColumns  = "SELECT id, card, slot, label, spki, certificate, pin_policy, hash FROM card_key "

	saveCard = `INSERT INTO card (id, serial, application, virtual, first_seen, last_seen, company, token, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET serial = excluded.serial, application = excluded.application,
		virtual = excluded.virtual, first_seen = excluded.first_seen, last_seen = excluded.last_seen,
		company = excluded.company, token = excluded.token, hash = excluded.hash`
	saveKey = `INSERT INTO card_key (id, card, slot, label, spki, certificate, pin_policy, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET card = excluded.card, slot = excluded.slot, label = excluded.label,
		spki = excluded.spki, certificate = excluded.certificate, pin_policy = excluded.pin_policy,
		hash = excluded.hash`
)

func newRegister(ctx context.Context, s *Store) (*Register, error) {
	r := &Register{store: s}
	p := preparer{ctx: ctx, db: s.readers}
	r.card = p.prepare(cardColumns + "WHERE id = ?")
	r.cards = p.prepare(cardColumns + "ORDER BY first_seen, id")
	r.key = p.prepare(keyColumns + "WHERE id = ?")
	r.keysOf = p.prepare(keyColumns + "WHERE card = ? ORDER BY slot, id")
	return r, p.err
}

// Save implements register.Storage.
func (r *Register) Save(ctx context.Context, c register.Card) error {
	return r.store.write(ctx, func(ctx context.Context, w *writer) error {
		tx, err := w.db.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("beginning: %w", err)
		}
		if err := w.save(ctx, tx, c); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		return tx.Commit()
	})
}

func (w *writer) save(ctx context.Context, tx *sql.Tx, c register.Card) error {
	hash := cardHash(c)
	if _, err := tx.StmtContext(ctx, w.saveCard).ExecContext(ctx, string(c.ID), c.Serial, c.Application, c.Virtual,
		c.FirstSeen.UnixNano(), c.LastSeen.UnixNano(), c.Company, c.Token, hash[:]); err != nil {
		return err
	}
	saveKey := tx.StmtContext(ctx, w.saveKey)
	for _, k := range c.Keys {
		hash := keyHash(c.ID, k)
		if _, err := saveKey.ExecContext(ctx, string(k.ID), string(c.ID), k.Slot, k.Label, k.SPKI, k.Certificate,
			int64(k.PINPolicy), hash[:]); err != nil {
			return err
		}
	}
	return nil
}

// Card implements register.Storage.
func (r *Register) Card(ctx context.Context, id token.CardID) (register.Card, bool, error) {
	cards, err := r.read(ctx, r.card, string(id))
	if err != nil || len(cards) == 0 {
		return register.Card{}, false, err
	}
	return cards[0], true, nil
}

// Cards implements register.Storage.
func (r *Register) Cards(ctx context.Context) ([]register.Card, error) {
	return r.read(ctx, r.cards)
}

// Key implements register.Storage.
func (r *Register) Key(ctx context.Context, id token.KeyID) (register.Key, bool, error) {
	keys, err := readAll(ctx, r.key, scanKey, string(id))
	if err != nil || len(keys) == 0 {
		return register.Key{}, false, err
	}
	return keys[0], true, nil
}

// read returns cards with their keys.
func (r *Register) read(ctx context.Context, statement *sql.Stmt, args ...any) ([]register.Card, error) {
	cards, err := readAll(ctx, statement, scanCard, args...)
	for i := 0; i < len(cards) && err == nil; i++ {
		cards[i].Keys, err = readAll(ctx, r.keysOf, scanKey, string(cards[i].ID))
	}
	if err != nil {
		return nil, err
	}
	return cards, nil
}

func scanCard(s scanner) (c register.Card, err error) {
	var first, last int64
	var hash []byte
	if err := s.Scan((*string)(&c.ID), &c.Serial, &c.Application, &c.Virtual, &first, &last, &c.Company, &c.Token, &hash); err != nil {
		return c, err
	}
	c.FirstSeen, c.LastSeen = time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
	if want := cardHash(c); !bytes.Equal(hash, want[:]) {
		return c, damaged("card %s in the register: its content does not fit its hash", c.ID)
	}
	return c, nil
}

func scanKey(s scanner) (k register.Key, err error) {
	var card token.CardID
	var hash []byte
	if err := s.Scan((*string)(&k.ID), (*string)(&card), &k.Slot, &k.Label, &k.SPKI, &k.Certificate,
		(*uint8)(&k.PINPolicy), &hash); err != nil {
		return k, err
	}
	if want := keyHash(card, k); !bytes.Equal(hash, want[:]) {
		return k, damaged("key %s in the register: its content does not fit its hash", k.ID)
	}
	return k, nil
}

// cardHash is over the content of a row of table card.
func cardHash(c register.Card) [32]byte {
	virtual := "card"
	if c.Virtual {
		virtual = "virtual card"
	}
	return contentHash("inkan register card v2", string(c.ID), c.Serial, c.Application, virtual,
		c.FirstSeen.UTC().Format(time.RFC3339Nano), c.LastSeen.UTC().Format(time.RFC3339Nano), c.Company, c.Token)
}

// keyHash is over the content of a row of table card_key.
func keyHash(card token.CardID, k register.Key) [32]byte {
	certificate := "no certificate"
	if len(k.Certificate) > 0 { // SQLite's driver reads an empty value as none
		certificate = "certificate " + string(k.Certificate)
	}
	return contentHash("inkan register key v1", string(k.ID), string(card), k.Slot, k.Label, string(k.SPKI),
		certificate, strconv.Itoa(int(k.PINPolicy)))
}

// contentHash is SHA-256 over the fields, each behind its length in bytes as a
// 64-bit big-endian number, so that no two lists of fields are the same bytes.
func contentHash(fields ...string) [32]byte {
	var b []byte
	for _, field := range fields {
		b = binary.BigEndian.AppendUint64(b, uint64(len(field)))
		b = append(b, field...)
	}
	return sha256.Sum256(b)
}
