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
)

// slot is one record. used and silent are the state after it, so that the
// newest slot of an account says everything about it.
type slot struct {
	kind     slotKind
	secret   token.Secret
	verdict  token.VerdictKind
	sequence uint64
	attempt  uint64 // number of the debit it belongs to, 0 = none
	audit    AuditMark
	used     uint8
	silent   uint8
	at       int64 // Unix time in ns, for people only
	prev     [sha256.Size]byte
	card     token.CardID
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
	offAt       = 40
	offPrev     = 48 // SHA-256 of the 512 bytes of the slot before
	offCardLen  = 80
	offCard     = 81
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
	if len(s.card) > maxCardID {
		return nil, fmt.Errorf("card identity of %d bytes does not fit a slot", len(s.card))
	}
	b := make([]byte, slotSize)
	copy(b[offMagic:], slotMagic)
	b[offVersion] = slotVersion
	b[offKind], b[offSecret], b[offVerdict] = byte(s.kind), byte(s.secret), byte(s.verdict)
	binary.LittleEndian.PutUint64(b[offSequence:], s.sequence)
	binary.LittleEndian.PutUint64(b[offAttempt:], s.attempt)
	binary.LittleEndian.PutUint64(b[offRows:], s.audit.Rows)
	b[offOwn], b[offUsed], b[offSilent] = s.audit.Own, s.used, s.silent
	binary.LittleEndian.PutUint64(b[offAt:], uint64(s.at))
	copy(b[offPrev:], s.prev[:])
	b[offCardLen] = byte(len(s.card))
	copy(b[offCard:], s.card)
	binary.LittleEndian.PutUint32(b[offCRC:], crc32.Checksum(b[:offCRC], castagnoli()))
	return b, nil
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
		used:     b[offUsed], silent: b[offSilent],
		at:   int64(binary.LittleEndian.Uint64(b[offAt:])),
		prev: [sha256.Size]byte(b[offPrev:]),
		card: token.CardID(b[offCard : offCard+n]),
	}
	if again, err := s.encode(); err != nil || !bytes.Equal(again, b) || s.kind < kindHeader || s.kind > kindMark {
		return slot{}, errUnreadable
	}
	return s, nil
}
