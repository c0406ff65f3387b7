package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/inkan-project/inkan/token"
)

// Row is a record as it is stored. Body is what counts; the other columns
// repeat parts of it, so that a storage can select, and are compared with it
// when the row is read.
type Row struct {
	Sequence uint64
	HasUID   bool
	UID      uint32
	Kind     Kind
	Intent   uint64
	Body     []byte   // the JSON bytes that are hashed, never encoded again
	Prev     [32]byte // Hash of the row before, zero for the first
	Hash     [32]byte
}

// Storage keeps rows. It does not judge them: the log does. Every method
// returns an error rather than rows of which it cannot be sure.
type Storage interface {
	// Tail returns the row with the highest sequence and the number of rows.
	// An empty storage has the zero Row.
	Tail(ctx context.Context) (last Row, count uint64, err error)

	// Append makes rows durable, all or none: after nil they survive a loss of
	// power. A sequence that is there already is an error. After any error the
	// rows may or may not be there. ctx is never cancelled.
	Append(ctx context.Context, rows ...Row) error

	// List returns at most Limit rows in order of sequence.
	List(ctx context.Context, filter Filter) ([]Row, error)

	// Events returns all rows of KindEvent, in order of sequence.
	Events(ctx context.Context) ([]Row, error)

	// OpenIntents returns all rows of KindIntent to which no row of KindResult
	// points, in order of sequence.
	OpenIntents(ctx context.Context) ([]Row, error)
}

// domain separates these hashes from all others that Inkan makes.
const domain = "inkan audit row v1\x00"

// sum is the hash of a row: SHA-256 over domain, sequence and length of the
// body as 64-bit big-endian numbers, the hash before, and the body.
func (r Row) sum() [32]byte {
	b := make([]byte, 0, len(domain)+8+len(r.Prev)+8+len(r.Body))
	b = append(b, domain...)
	b = binary.BigEndian.AppendUint64(b, r.Sequence)
	b = append(b, r.Prev[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(r.Body)))
	b = append(b, r.Body...)
	return sha256.Sum256(b)
}

// body is the JSON of a record. Fields may be added, never changed: old
// bodies must stay readable.
type body struct {
	Time      time.Time `json:"time"`
	Kind      Kind      `json:"kind"`
	Operation string    `json:"operation,omitempty"`
	Intent    uint64    `json:"intent,omitempty"`
	Outcome   Outcome   `json:"outcome,omitempty"`
	Code      string    `json:"code,omitempty"`
	UID       *uint32   `json:"uid,omitempty"`
	PID       int32     `json:"pid,omitempty"`
	Program   string    `json:"program,omitempty"`
	Card      string    `json:"card,omitempty"`
	Key       string    `json:"key,omitempty"`
	Algorithm string    `json:"algorithm,omitempty"`
	Digest    string    `json:"digest,omitempty"` // hexadecimal
	Document  string    `json:"document,omitempty"`
	Tries     *int      `json:"tries,omitempty"` // absent = unknown
	Virtual   bool      `json:"virtual,omitempty"`
	Detail    string    `json:"detail,omitempty"`
	Request   *request  `json:"request,omitempty"`
	Together  uint8     `json:"together,omitempty"`

	Answer json.RawMessage `json:"answer,omitempty"`
}

// request is the JSON of a [Request].
type request struct {
	ID      string `json:"id"`
	Content string `json:"content"` // hexadecimal
}

// row encodes r. Only Sequence, Prev and Hash are left to set.
func (r Record) row() (Row, error) {
	b := body{
		Time: r.Time, Kind: r.Kind, Operation: r.Operation, Intent: r.Intent, Outcome: r.Outcome,
		Code: r.Code, PID: r.PID, Program: r.Program, Card: string(r.Card), Key: string(r.Key),
		Algorithm: r.Algorithm, Digest: hex.EncodeToString(r.Digest), Document: r.DocumentName,
		Virtual: r.Virtual, Detail: r.Detail, Answer: r.Answer, Together: r.Together,
	}
	if r.Request != nil {
		b.Request = &request{r.Request.ID, hex.EncodeToString(r.Request.Content[:])}
	}
	if r.HasUID {
		b.UID = &r.UID
	}
	if n, known := r.Tries.Count(); known {
		b.Tries = &n
	}
	text, err := json.Marshal(b)
	if err != nil {
		return Row{}, fmt.Errorf("encoding record: %w", err)
	}
	return Row{HasUID: r.HasUID, UID: r.UID, Kind: r.Kind, Intent: r.Intent, Body: text}, nil
}

// record checks a row by itself, not its place in the chain, and decodes it.
func (r Row) record() (Record, error) {
	if r.sum() != r.Hash {
		return Record{}, damaged(r.Sequence, "its content does not fit its hash")
	}
	var b body
	if err := json.Unmarshal(r.Body, &b); err != nil {
		return Record{}, damaged(r.Sequence, "its content cannot be read").Because(err)
	}
	digest, err := hex.DecodeString(b.Digest)
	if err != nil {
		return Record{}, damaged(r.Sequence, "its digest cannot be read").Because(err)
	}
	rec := Record{
		Sequence: r.Sequence, Time: b.Time, Kind: b.Kind, Operation: b.Operation, Intent: b.Intent,
		Outcome: b.Outcome, Code: b.Code, PID: b.PID, Program: b.Program, Card: token.CardID(b.Card),
		Key: token.KeyID(b.Key), Algorithm: b.Algorithm, DocumentName: b.Document,
		Virtual: b.Virtual, Detail: b.Detail, Together: b.Together, Hash: r.Hash,
	}
	if len(digest) > 0 {
		rec.Digest = digest
	}
	if len(b.Answer) > 0 {
		rec.Answer = b.Answer
	}
	if b.Request != nil {
		content, err := hex.DecodeString(b.Request.Content)
		if err != nil || len(content) != sha256.Size {
			return Record{}, damaged(r.Sequence, "its request cannot be read")
		}
		rec.Request = &Request{b.Request.ID, [sha256.Size]byte(content)}
	}
	if b.UID != nil {
		rec.HasUID, rec.UID = true, *b.UID
	}
	if b.Tries != nil {
		rec.Tries = token.KnownTries(*b.Tries)
	}
	if rec.HasUID != r.HasUID || rec.UID != r.UID || rec.Kind != r.Kind || rec.Intent != r.Intent {
		return Record{}, damaged(r.Sequence, "its columns do not fit its content")
	}
	return rec, nil
}

// normal returns r as reading it back will return it: texts are valid UTF-8
// and within the limits of [Record]. Programs choose some of them, so one that
// is too long is cut: it must not keep a record from being written.
func (r Record) normal() Record {
	r.Operation = clip(r.Operation, 64)
	r.Program = clip(r.Program, 4096)
	r.Algorithm = clip(r.Algorithm, 64)
	r.DocumentName = clip(r.DocumentName, 256)
	r.Detail = clip(r.Detail, 1024)
	r.Code = clip(r.Code, 64)
	if !r.HasUID {
		r.UID = 0
	}
	if len(r.Digest) == 0 {
		r.Digest = nil
	}
	if len(r.Answer) == 0 {
		r.Answer = nil
	}
	return r
}

// clip returns at most limit characters of s, the last one "…" if some are
// missing.
func clip(s string, limit int) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) <= limit {
		return s
	}
	end, characters := 0, 0
	for i := range s {
		if characters++; characters == limit {
			end = i
		} else if characters > limit {
			return s[:end] + "…"
		}
	}
	return s
}

// damaged names the first bad row.
func damaged(sequence uint64, what string) *token.Error {
	return token.Errorf(token.KindDatabaseDamaged, "record %d of the log: %s", sequence, what)
}
