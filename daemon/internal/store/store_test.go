package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/daemon/internal/register/registertest"
	"github.com/inkan-project/inkan/token"
)

func openIn(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Config{Dir: dir})
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func openLog(t testing.TB, s *Store) *audit.Log {
	t.Helper()
	l, err := audit.Open(context.Background(), audit.Config{Storage: s.Audit(), Now: audittest.Clock()})
	if err != nil {
		t.Fatalf("opening log: %v", err)
	}
	return l
}

func appendRecords(t testing.TB, l *audit.Log, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		if _, err := l.Append(context.Background(), audittest.SampleRecord(i)); err != nil {
			t.Fatalf("appending record %d: %v", i, err)
		}
	}
}

// mustExec runs SQL on the connection that writes, behind the program's back.
func mustExec(t testing.TB, s *Store, query string) {
	t.Helper()
	err := s.write(context.Background(), func(ctx context.Context, w *writer) error {
		_, err := w.db.ExecContext(ctx, query)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close() = %v", err)
	}
}

func TestAuditIsAStorage(t *testing.T) {
	s := openIn(t, t.TempDir())
	mustExec(t, s, "PRAGMA synchronous = OFF") // thousands of logs; none needs to last
	audittest.TestStorage(t, func(t *testing.T, rows []audit.Row) audit.Storage {
		mustExec(t, s, "DELETE FROM audit")
		for _, row := range rows {
			if err := s.Audit().Append(t.Context(), row); err != nil {
				t.Fatalf("Append(%d) = %v", row.Sequence, err)
			}
		}
		return s.Audit()
	})
}

func TestRegisterIsAStorage(t *testing.T) {
	registertest.TestStorage(t, func(t *testing.T) register.Storage {
		return openIn(t, t.TempDir()).Register()
	})
}

func TestRecordsAreThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	appendRecords(t, openLog(t, s), 1, 40)
	closeStore(t, s)
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("state directory after Close() holds %v, %v, want only %s", files, err, fileName)
	}
	s = openIn(t, dir)
	l := openLog(t, s)
	appendRecords(t, l, 41, 43)
	if err := l.Check(t.Context()); err != nil || l.Count() != 43 {
		t.Errorf("Check() = %v with %d records, want nil with 43", err, l.Count())
	}
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	appendRecords(t, openLog(t, s), 1, 2)
	check := func(want int) {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(dir, fileName+"*"))
		if err != nil || len(names) != want {
			t.Fatalf("found %v, %v, want %d files", names, err, want)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != fileMode {
				t.Errorf("%s has mode %v, %v, want %o", filepath.Base(name), info.Mode(), err, fileMode)
			}
		}
	}
	check(3) // database, write-ahead log, its index
	closeStore(t, s)
	if err := os.Chmod(filepath.Join(dir, fileName), 0o644); err != nil {
		t.Fatal(err)
	}
	openIn(t, dir)
	check(3)
}

func TestADatabaseOpenForReadingIsNotWritten(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(t.Context(), Config{Dir: dir, ReadOnly: true}); token.KindOf(err) != token.KindStateNotWritable {
		t.Errorf("Open() of nothing for reading = %v, want STATE_NOT_WRITABLE", err)
	}
	writer := openIn(t, dir)
	appendRecords(t, openLog(t, writer), 1, 5)
	reader, err := Open(t.Context(), Config{Dir: dir, ReadOnly: true})
	if err != nil {
		t.Fatalf("Open() beside a writer = %v", err)
	}
	defer closeStore(t, reader)
	l := openLog(t, reader)
	if err := l.Check(t.Context()); err != nil || l.Count() != 5 {
		t.Errorf("Check() = %v with %d records, want nil with 5", err, l.Count())
	}
	if _, err := l.Append(t.Context(), audit.Record{Kind: audit.KindEvent}); token.KindOf(err) != token.KindAuditUnavailable {
		t.Errorf("Append() = %v, want AUDIT_UNAVAILABLE", err)
	}
	if err := reader.Register().Save(t.Context(), register.Card{ID: "piv-1"}); token.KindOf(err) != token.KindStateNotWritable {
		t.Errorf("Save() = %v, want STATE_NOT_WRITABLE", err)
	}
}

func TestAFullDiskClosesTheLog(t *testing.T) {
	s := openIn(t, t.TempDir())
	l := openLog(t, s)
	appendRecords(t, l, 1, 1)
	var pages int
	if err := s.readers.QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
		t.Fatal(err)
	}
	mustExec(t, s, fmt.Sprintf("PRAGMA max_page_count = %d", pages)) // SQLITE_FULL, as from a full disk
	var failed error
	n := 2
	for ; n < 100 && failed == nil; n++ {
		_, failed = l.Append(t.Context(), audit.Record{Kind: audit.KindEvent})
	}
	if token.KindOf(failed) != token.KindAuditUnavailable || !strings.Contains(failed.Error(), "full") {
		t.Fatalf("Append() on a full disk = %v, want AUDIT_UNAVAILABLE because it is full", failed)
	}
	mustExec(t, s, "PRAGMA max_page_count = 1000000")
	if _, err := l.Append(t.Context(), audit.Record{Kind: audit.KindEvent}); token.KindOf(err) != token.KindAuditUnavailable {
		t.Errorf("Append() with room again = %v, want AUDIT_UNAVAILABLE until a restart", err)
	}
	again := openLog(t, s)
	if err := again.Check(t.Context()); err != nil || again.Count() != l.Count() {
		t.Errorf("after a restart Check() = %v with %d records, want nil with %d", err, again.Count(), l.Count())
	}
}

func TestNothingIsWrittenAfterAnIOError(t *testing.T) {
	s := openIn(t, t.TempDir())
	l := openLog(t, s)
	appendRecords(t, l, 1, 3)
	broken := error(damaged("a failed sync"))
	err := s.write(t.Context(), func(context.Context, *writer) error { return broken })
	if err == nil {
		t.Fatal("write() = nil, want its error")
	}
	if err := s.Register().Save(t.Context(), register.Card{ID: "piv-1"}); err == nil {
		t.Error("Save() after it = nil, want an error")
	}
	if _, err := l.Append(t.Context(), audit.Record{Kind: audit.KindEvent}); token.KindOf(err) != token.KindAuditUnavailable {
		t.Errorf("Append() after it = %v, want AUDIT_UNAVAILABLE", err)
	}
}

func TestADirectoryThatCannotBeWrittenIsSaidSo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{
		"a missing directory":          filepath.Join(t.TempDir(), "missing"),
		"a file":                       file,
		"a directory without writing ": "/proc/self", // for root too
	}
	for name, dir := range dirs {
		_, err := Open(t.Context(), Config{Dir: dir})
		e := asToken(err)
		if e == nil || e.Kind != token.KindStateNotWritable || e.Meta["path"] != dir || e.Meta["detail"] == "" {
			t.Errorf("Open() of %s = %v, want STATE_NOT_WRITABLE with path and detail", name, err)
		}
	}
}

func TestLogAndRegisterShareOneWriter(t *testing.T) {
	s := openIn(t, t.TempDir())
	l := openLog(t, s)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 20 {
				if _, err := l.Append(t.Context(), audit.Record{Kind: audit.KindEvent}); err != nil {
					t.Error(err)
				}
				now := time.Unix(int64(i), 0).UTC()
				card := register.Card{ID: token.CardID(fmt.Sprint("piv-", w)), FirstSeen: now, LastSeen: now}
				if err := s.Register().Save(t.Context(), card); err != nil {
					t.Error(err)
				}
				if got, _, err := s.Register().Card(t.Context(), card.ID); err != nil || !cmp.Equal(got, card) {
					t.Errorf("Card() = %v, %v, want %v", got, err, card)
				}
			}
		})
	}
	wg.Wait()
	if err := l.Check(t.Context()); err != nil || l.Count() != 80 {
		t.Errorf("Check() = %v with %d records, want nil with 80", err, l.Count())
	}
}
