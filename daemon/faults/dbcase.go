package faults

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/inkan-project/inkan/daemon/faults/crashdisk"
	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/token"
)

// Names of the database's files.
const (
	databaseName = "inkan.db"
	walName      = databaseName + "-wal"
)

// dbCase is a database and what must be read from it.
type dbCase struct {
	name  string
	files map[string][]byte // without the index of the write-ahead log, which holds no data
	disk  *crashdisk.Disk   // the journal beside it
	facts facts
}

// facts are all that a database is for.
type facts struct {
	Records []audit.Record
	Cards   []register.Card
	Stopped map[token.CardID]bool
	Noted   bool // the recovery recorded that something was lost
}

// dbCases makes a database: as a crash leaves it, with the last records in the
// write-ahead log alone, and as an orderly end does.
func dbCases(ctx context.Context, dir string) (crashed, closed *dbCase, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, nil, err
	}
	disk := crashdisk.New()
	if err := fillBooks(ctx, dir, disk, 1, func() error { return nil }); err != nil {
		return nil, nil, err
	}
	crashed, closed = &dbCase{name: "after a crash"}, &dbCase{name: "after an orderly end"}
	err = fillBooks(ctx, dir, disk, 2, func() error { return crashed.take(dir, disk) })
	if err == nil {
		err = closed.take(dir, disk)
	}
	for _, c := range []*dbCase{crashed, closed} {
		if err != nil {
			return nil, nil, err
		}
		if err = c.putInto(dir); err == nil {
			c.facts, err = c.read(ctx, dir)
		}
		if err == nil && (len(c.facts.Records) < 12 || len(c.facts.Cards) != 2 || len(c.facts.Stopped) != 1) {
			err = fmt.Errorf("%s %d records, %d cards and %d stops are read", c.name, len(c.facts.Records), len(c.facts.Cards), len(c.facts.Stopped))
		}
	}
	return crashed, closed, errors.Join(err, os.RemoveAll(dir))
}

// fillBooks writes a card and what was done with it, each record with its
// slot, and calls then before it closes.
func fillBooks(ctx context.Context, dir string, disk *crashdisk.Disk, n int, then func() error) (err error) {
	b, err := openBooks(ctx, dir, disk)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	card := token.CardID(fmt.Sprintf("piv-%032x", n))
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	key, err := token.NewKey(card, "9c", "署名用", private.Public(), nil, token.PINAlways)
	if err != nil {
		return err
	}
	if err := b.register.Seen(ctx, token.Identity{Card: card, Serial: fmt.Sprint(n), Application: "PIV"}, []token.Key{key}); err != nil {
		return err
	}
	sign := audit.Record{Kind: audit.KindIntent, Operation: "sign", HasUID: true, UID: 1000, Card: card, Key: key.ID, DocumentName: "入札書.pdf"}
	records := []audit.Record{{Kind: audit.KindStart, Operation: "start"}, sign, {Kind: audit.KindResult, Operation: "sign", Outcome: audit.OutcomeOK, Card: card}}
	records = append(records, records[1:]...)
	stop := audit.Record{Kind: audit.KindEvent, Operation: "stop-here", HasUID: true, UID: 1000, Card: card, Detail: "lost"}
	lift := stop
	lift.Operation = "lift"
	if records = append(records, stop); n == 1 {
		records = append(records, lift)
	}
	var intent uint64
	for _, rec := range records {
		if rec.Kind == audit.KindResult {
			rec.Intent = intent
		}
		written, err := b.log.Append(ctx, rec)
		if err != nil {
			return err
		}
		if intent = written.Sequence; err == nil {
			err = b.guard.Mark(pinguard.AuditMark{Rows: written.Sequence, Own: 1})
		}
		if err != nil {
			return err
		}
	}
	return then()
}

// take keeps the files of a database as they are.
func (c *dbCase) take(dir string, disk *crashdisk.Disk) error {
	c.files, c.disk = map[string][]byte{}, disk.Image(crashdisk.All, nil)
	names, err := os.ReadDir(dir)
	for _, f := range names {
		if err == nil && !strings.HasSuffix(f.Name(), "-shm") {
			c.files[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name()))
		}
	}
	return err
}

// putInto makes the database in an empty directory.
func (c *dbCase) putInto(dir string) error {
	err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700))
	for name, b := range c.files {
		if err == nil {
			err = writeSparse(filepath.Join(dir, name), b)
		}
	}
	return err
}

// writeSparse writes a file that ends in many zeros.
func writeSparse(path string, b []byte) error {
	if err := os.WriteFile(path, bytes.TrimRight(b, "\x00"), 0o600); err != nil {
		return err
	}
	return os.Truncate(path, int64(len(b)))
}

// with returns the case with another file.
func (c *dbCase) with(name string, b []byte) *dbCase {
	other := *c
	other.files = map[string][]byte{}
	for n, have := range c.files {
		other.files[n] = have
	}
	other.files[name] = b
	return &other
}

// read opens the database as a start does and reads all facts. Only the
// recovery's own records are in memory.
func (c *dbCase) read(ctx context.Context, dir string) (f facts, err error) {
	b, err := openBooks(ctx, dir, c.disk.Image(crashdisk.All, nil))
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if f.Records, err = listAll(ctx, b.log); err != nil {
		return f, err
	}
	if b, err = b.inMemory(ctx); err != nil {
		return f, err
	}
	if err := b.recoverBooks(ctx); err != nil {
		return f, err
	}
	if f.Cards, err = b.register.Cards(ctx); err != nil {
		return f, err
	}
	for _, card := range f.Cards {
		for _, k := range card.Keys {
			if _, _, err := b.register.Key(ctx, k.ID); err != nil {
				return f, err
			}
		}
	}
	if f.Stopped, err = b.stopped(ctx); err != nil {
		return f, err
	}
	after, err := listAll(ctx, b.log)
	for _, rec := range after[len(f.Records):] {
		f.Noted = f.Noted || rec.Operation == "recovery"
	}
	return f, err
}

// start starts on a damaged database and judges what comes of it.
func (c *dbCase) start(ctx context.Context, r *Run, damaged *dbCase, where string) error {
	where = c.name + ", " + where
	dir, err := os.MkdirTemp(r.Dir, "damaged")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := damaged.putInto(dir); err != nil {
		return err
	}
	r.Fault()
	got, err := damaged.read(ctx, dir)
	if ctx.Err() != nil { // interrupted: that says nothing about the image
		return ctx.Err()
	}
	switch token.KindOf(err) {
	case "":
		c.compare(r, got, where)
	case token.KindDatabaseDamaged, token.KindJournalDamaged, token.KindDatabaseNewer: // a flipped version may be a newer one
		damaged.unchanged(r, dir, where)
	default:
		r.Broken(I8, "%s: %v", where, err)
	}
	return nil
}

// compare holds facts against those that were written. One record may be
// missing at the end: that is what a crash in a barrier leaves, and the start
// records that it was so.
func (c *dbCase) compare(r *Run, got facts, where string) {
	n := len(c.facts.Records)
	missing := len(got.Records) == n-1
	if len(got.Records) != n && !missing {
		r.Broken(I9, "%s: %d of %d records are there, and nothing was noticed", where, len(got.Records), n)
		return
	}
	if missing && !got.Noted {
		r.Broken(I9, "%s: the last record is lost, and no record says so", where)
	}
	if !reflect.DeepEqual(got.Records, c.facts.Records[:len(got.Records)]) {
		r.Broken(I5, "%s: a record is another one", where)
	}
	if !reflect.DeepEqual(got.Cards, c.facts.Cards) {
		r.Broken(I9, "%s: the register is another one", where)
	}
	if !reflect.DeepEqual(got.Stopped, c.facts.Stopped) && !missing {
		r.Broken(I6, "%s: stopped are %v, not %v", where, got.Stopped, c.facts.Stopped)
	}
}

// unchanged checks that the files of a database that was refused are those
// that were there.
func (c *dbCase) unchanged(r *Run, dir, where string) {
	names, err := os.ReadDir(dir)
	if err != nil {
		r.Broken(I8, "%s: %v", where, err)
	}
	for _, f := range names {
		if strings.HasSuffix(f.Name(), "-shm") {
			continue
		}
		now, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err == nil && len(now) == 0 && f.Name() == walName {
			continue // SQLite makes an empty one by reading
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) || !bytes.Equal(now, c.files[f.Name()]) {
			r.Broken(I8, "%s: %s was changed although it is refused", where, f.Name())
		}
	}
}
