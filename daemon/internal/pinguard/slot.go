package pinguard

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/inkan-project/inkan/token"
)

// slotSize is the unit of the journal: one disk sector, so that a power cut
// tears at most the slot that was being written.
const slotSize = 512

// maxCardID is the longest card identity that fits a slot.
const maxCardID = 128

// slotKind says what a slot records. Values never change.
type slotKind uint8

const (
	kindHeader   slotKind = 1 // first slot of a file; used = tries that count for cards never seen
	kindSnapshot slotKind = 2 // state of one account, carried over by a compaction
	kindDebit    slotKind = 3 // a try is spent
	kindVerdict  slotKind = 4 // what the card answered
	kindLowered  slotKind = 5 // the card's own count was below ours
	kindMark     slotKind = 6 // ties the journal to the log, no try
	// Of all secrets of a card:
	kindInserted      slotKind = 7 // it was inserted again
	kindAcknowledged  slotKind = 8 // a person confirmed that tries may go on
	kindAdministrator slotKind = 9 // an administrator did
)

// slot is one record. count is the state after it, so that the newest slot of
// an account says everything about it; in a header it is that of cards never
// seen.
type slot struct {
	kind     slotKind
	secret   token.Secret
	verdict  token.VerdictKind
	sequence uint64
	attempt  uint64 // number of the debit that it is or belongs to, 0 = none; in a header: slots that the file was made with
	audit    AuditMark
	at       int64 // Unix time in ns, for people only
	prev     [sha256.Size]byte
	card     token.CardID
	count    count
	origin   Origin // of a header
}

// Layout, little-endian. Bytes not named are zero.
const (
	offMagic    = 0 // 4 bytes
	offVersion  = 4
	offKind     = 5
	offSecret   = 6
	offVerdict  = 7
	offSequence = 8
	offAttempt  = 16
	offRows     = 24
	offOwn      = 32
	offUsed     = 33
	offSilent   = 34
	offLost     = 35
	offStreak   = 36
	offFlags    = 37
	offProgram  = 38
	offUserLen  = 39
	offAt       = 40
	offPrev     = 48 // SHA-256 of the 512 bytes of the slot before
	offCardLen  = 80
	offCard     = 81  // maxCardID bytes
	offBoot     = 212 // 16 bytes
	offSince    = 228
	offUsers    = 240 // maxUsers times uid (4 bytes) and tries
	offMachine  = 400 // 16 bytes
	offDir      = 416
	offFile     = 424
	offFull     = 432
	offCRC      = 508 // CRC32C (RFC 3720 appendix B.4) of all bytes before
)

const (
	slotMagic   = "INKJ"
	slotVersion = 1
)

var errUnreadable = errors.New("slot is unreadable")

// castagnoli returns the CRC32C table; the package caches it.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// encode returns the slot's 512 bytes.
func (s slot) encode() ([]byte, error) {
	if len(s.card) > maxCardID || len(s.count.users) > maxUsers {
		return nil, fmt.Errorf("card identity of %d bytes or %d users do not fit a slot", len(s.card), len(s.count.users))
	}
	b := make([]byte, slotSize)
	copy(b[offMagic:], slotMagic)
	b[offVersion] = slotVersion
	b[offKind], b[offSecret], b[offVerdict] = byte(s.kind), byte(s.secret), byte(s.verdict)
	binary.LittleEndian.PutUint64(b[offSequence:], s.sequence)
	binary.LittleEndian.PutUint64(b[offAttempt:], s.attempt)
	binary.LittleEndian.PutUint64(b[offRows:], s.audit.Rows)
	b[offOwn] = s.audit.Own
	binary.LittleEndian.PutUint64(b[offAt:], uint64(s.at))
	copy(b[offPrev:], s.prev[:])
	b[offCardLen] = byte(len(s.card))
	copy(b[offCard:], s.card)
	s.count.encode(b)
	copy(b[offMachine:], s.origin.Machine[:])
	binary.LittleEndian.PutUint64(b[offDir:], s.origin.Dir)
	binary.LittleEndian.PutUint64(b[offFile:], s.origin.File)
	binary.LittleEndian.PutUint32(b[offCRC:], crc32.Checksum(b[:offCRC], castagnoli()))
	return b, nil
}

// encode writes a count into its slot, but for the open attempt, which has a
// place of its own there.
func (c count) encode(b []byte) {
	b[offUsed], b[offSilent], b[offLost] = c.used, c.silent, c.lost
	b[offStreak], b[offProgram], b[offFlags], b[offFull] = c.streak, c.program, c.flags, c.full
	copy(b[offBoot:], c.last.boot[:])
	binary.LittleEndian.PutUint64(b[offSince:], uint64(c.last.since))
	b[offUserLen] = byte(len(c.users))
	for i, u := range c.users {
		binary.LittleEndian.PutUint32(b[offUsers+5*i:], u.uid)
		b[offUsers+5*i+4] = u.tries
	}
}

// decodeCount is the reverse of count.encode.
func decodeCount(b []byte) count {
	c := count{
		used: b[offUsed], silent: b[offSilent], lost: b[offLost],
		streak: b[offStreak], program: b[offProgram], flags: b[offFlags], full: b[offFull],
		last: stamp{[16]byte(b[offBoot:]), int64(binary.LittleEndian.Uint64(b[offSince:]))},
	}
	for i := range min(int(b[offUserLen]), maxUsers) {
		c.users = append(c.users, user{binary.LittleEndian.Uint32(b[offUsers+5*i:]), b[offUsers+5*i+4]})
	}
	return c
}

// decode reads a slot. Every bit of the 512 bytes counts: what encode would
// not have written is unreadable.
func decode(b []byte) (slot, error) {
	if crc32.Checksum(b[:offCRC], castagnoli()) != binary.LittleEndian.Uint32(b[offCRC:]) {
		return slot{}, errUnreadable
	}
	n := int(b[offCardLen])
	if string(b[offMagic:offVersion]) != slotMagic || b[offVersion] != slotVersion || n > maxCardID {
		return slot{}, errUnreadable
	}
	s := slot{
		kind: slotKind(b[offKind]), secret: token.Secret(b[offSecret]), verdict: token.VerdictKind(b[offVerdict]),
		sequence: binary.LittleEndian.Uint64(b[offSequence:]),
		attempt:  binary.LittleEndian.Uint64(b[offAttempt:]),
		audit:    AuditMark{Rows: binary.LittleEndian.Uint64(b[offRows:]), Own: b[offOwn]},
		at:       int64(binary.LittleEndian.Uint64(b[offAt:])),
		prev:     [sha256.Size]byte(b[offPrev:]),
		card:     token.CardID(b[offCard : offCard+n]),
		count:    decodeCount(b),
		origin: Origin{
			Machine: [16]byte(b[offMachine:]),
			Dir:     binary.LittleEndian.Uint64(b[offDir:]), File: binary.LittleEndian.Uint64(b[offFile:]),
		},
	}
	if s.kind == kindDebit || s.kind == kindSnapshot || s.kind == kindLowered {
		s.count.open = s.attempt
	}
	if again, err := s.encode(); err != nil || !bytes.Equal(again, b) || s.kind < kindHeader || s.kind > kindAdministrator {
		return slot{}, errUnreadable
	}
	return s, nil
}
