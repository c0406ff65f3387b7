package store

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
	"github.com/inkan-project/inkan/daemon/internal/register"
	"github.com/inkan-project/inkan/token"
)

func asToken(err error) *token.Error {
	e, _ := errors.AsType[*token.Error](err)
	return e
}

// snapshot reads all files of a directory but the index of the write-ahead
// log, which holds no data.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if base := filepath.Base(name); base != fileName+"-shm" {
			files[base] = string(content)
		}
	}
	return files
}

func restore(t testing.TB, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), fileMode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// images returns the files of a database with 60 records: after it was closed,
// and as a crash leaves them, with 20 records in the write-ahead log alone.
func images(t testing.TB) (closed, crashed map[string]string) {
	t.Helper()
	dir := t.TempDir()
	s := openIn(t, dir)
	appendRecords(t, openLog(t, s), 1, 40)
	closeStore(t, s)
	s = openIn(t, dir)
	appendRecords(t, openLog(t, s), 41, 60)
	crashed = snapshot(t, dir)
	closeStore(t, s)
	return snapshot(t, dir), crashed
}

func TestADamagedDatabaseIsRefusedAndLeftAsItIs(t *testing.T) {
	closed, crashed := images(t)
	edit := func(from map[string]string, change func(db string) string) map[string]string {
		files := maps.Clone(from)
		files[fileName] = change(files[fileName])
		return files
	}
	patch := func(at int, with string) func(string) string {
		return func(db string) string { return db[:at] + with + db[at+len(with):] }
	}
	early := strings.LastIndex(crashed[fileName], "入札書-1.pdf") / pageSize * pageSize // not in the write-ahead log
	cases := map[string]struct {
		files map[string]string
		says  string
	}{
		"empty":                    {edit(closed, func(string) string { return "" }), "header"},
		"cut within its header":    {edit(closed, func(db string) string { return db[:60] }), "header"},
		"cut after its first page": {edit(closed, func(db string) string { return db[:pageSize] }), ""},
		"cut by its last page":     {edit(closed, func(db string) string { return db[:len(db)-pageSize] }), ""},
		"cut by a byte":            {edit(closed, func(db string) string { return db[:len(db)-1] }), ""},
		"garbage at its beginning": {edit(closed, patch(0, "garbage")), "does not begin"},
		"all garbage":              {edit(closed, func(db string) string { return strings.Repeat("x", len(db)) }), "does not begin"},
		"another program's":        {edit(closed, patch(68, "\x00\x00\x00\x01")), "does not begin"},
		"of version 0":             {edit(closed, patch(60, "\x00\x00\x00\x00")), "never by inkand"},
		"made before any release":  {edit(closed, patch(60, "\x00\x00\x00\x01")), "first release"},
		"a page of zeros":          {edit(closed, patch(pageSize, strings.Repeat("\x00", pageSize))), ""},
		"a table renamed":          {edit(closed, func(db string) string { return strings.ReplaceAll(db, "card_key", "card_kex") }), "tables"},
		"a crash and garbage":      {edit(crashed, patch(0, "garbage")), "does not begin"},
		"a crash and a lost page":  {edit(crashed, patch(early, strings.Repeat("\xff", pageSize))), ""},
		"a database lost to a log": {map[string]string{fileName + "-wal": crashed[fileName+"-wal"]}, "missing"},
		"a rollback journal there": {map[string]string{fileName: closed[fileName], fileName + "-journal": "x"}, "journal"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := restore(t, tc.files)
			_, err := Open(t.Context(), Config{Dir: dir})
			if e := asToken(err); e == nil || e.Kind != token.KindDatabaseDamaged || !strings.Contains(e.Meta["detail"], tc.says) {
				t.Errorf("Open() = %v, want DATABASE_DAMAGED with %q", err, tc.says)
			}
			if after := snapshot(t, dir); !cmp.Equal(tc.files, withoutEmpty(after)) {
				t.Error("a file was changed, made or removed")
			}
		})
	}
}

func TestADatabaseOfANewerProgramIsRefusedAndLeftAsItIs(t *testing.T) {
	closed, _ := images(t)
	db := closed[fileName]
	closed[fileName] = db[:60] + "\x00\x00\x00\x03" + db[64:]
	dir := restore(t, closed)
	_, err := Open(t.Context(), Config{Dir: dir})
	if e := asToken(err); e == nil || e.Kind != token.KindDatabaseNewer || e.Meta["detail"] != "its version is 3, this one knows 2" {
		t.Errorf("Open() = %v, want DATABASE_NEWER with both versions", err)
	}
	if after := snapshot(t, dir); !cmp.Equal(closed, withoutEmpty(after)) {
		t.Error("a file was changed, made or removed")
	}
}

// withoutEmpty leaves out an empty write-ahead log, which SQLite makes by
// reading.
func withoutEmpty(files map[string]string) map[string]string {
	if files[fileName+"-wal"] == "" {
		delete(files, fileName+"-wal")
	}
	return files
}

func TestACrashLosesNothing(t *testing.T) {
	_, crashed := images(t)
	s := openIn(t, restore(t, crashed))
	l := openLog(t, s)
	if err := l.Check(t.Context()); err != nil || l.Count() != 60 {
		t.Errorf("Check() = %v with %d records, want nil with 60", err, l.Count())
	}
}

func TestADamagedLogIsLeftAsItIs(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	appendRecords(t, openLog(t, s), 1, 20)
	mustExec(t, s, "UPDATE audit SET body = x'7b7d' WHERE sequence = 7")
	crashed := snapshot(t, dir)
	closeStore(t, s)
	closed := snapshot(t, dir)
	for name, files := range map[string]map[string]string{"closed": closed, "after a crash": crashed} {
		t.Run(name, func(t *testing.T) {
			dir := restore(t, files)
			s := openIn(t, dir)
			_, err := audit.Open(t.Context(), audit.Config{Storage: s.Audit(), Now: audittest.Clock()})
			if token.KindOf(err) != token.KindDatabaseDamaged || !strings.Contains(err.Error(), "record 7 ") {
				t.Errorf("opening log = %v, want DATABASE_DAMAGED naming record 7", err)
			}
			closeStore(t, s)
			if after := snapshot(t, dir); !cmp.Equal(files, withoutEmpty(after)) {
				t.Error("a file was changed, made or removed")
			}
		})
	}
}

func TestAFlippedBitIsFoundOrChangesNothing(t *testing.T) {
	closed, _ := images(t)
	want := listAll(t, restore(t, closed))
	db := closed[fileName]
	harmless, steps := 0, 0
	for at := 0; at < len(db); at += 389 { // a prime, so that all places in a page come up
		files := maps.Clone(closed)
		files[fileName] = db[:at] + string([]byte{db[at] ^ 1<<(at%8)}) + db[at+1:]
		got := listAll(t, restore(t, files))
		if steps++; got == nil {
			continue // found
		}
		if harmless++; !cmp.Equal(want, got, cmp.AllowUnexported(token.Tries{})) {
			t.Errorf("bit %d of byte %d of page %d: other records, and no error", at%8, at%pageSize, at/pageSize+1)
		}
	}
	t.Logf("%d of %d flipped bits lie where they change nothing, the others are found", harmless, steps)
}

// listAll returns all records, or nil if something is damaged.
func listAll(t *testing.T, dir string) []audit.Record {
	t.Helper()
	s, err := Open(t.Context(), Config{Dir: dir, ReadOnly: true})
	if err != nil {
		return nil
	}
	defer closeStore(t, s)
	l, err := audit.Open(t.Context(), audit.Config{Storage: s.Audit(), Now: audittest.Clock()})
	if err != nil || l.Check(t.Context()) != nil {
		return nil
	}
	list, _, err := l.List(t.Context(), audit.Filter{Limit: 1000})
	if err != nil {
		return nil
	}
	return list
}

// An index that says another thing than its table would hide a key: quick_check
// does not compare the two.
func TestADamagedIndexIsFound(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir)
	now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	const id = "piv-00112233445566778899aabbccddeeff"
	card := register.Card{ID: id, FirstSeen: now, LastSeen: now, Keys: []register.Key{{ID: id + ".01", Slot: "9c", SPKI: []byte{1}}}}
	if err := s.Register().Save(t.Context(), card); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	whole := snapshot(t, dir)
	db, places := whole[fileName], 0
	for at := 0; ; at++ {
		next := strings.Index(db[at:], id)
		if next < 0 {
			break
		}
		at += next
		places++
		files := maps.Clone(whole)
		files[fileName] = db[:at] + "q" + db[at+1:]
		s, err := Open(t.Context(), Config{Dir: restore(t, files), ReadOnly: true})
		if err != nil {
			continue
		}
		if cards, err := s.Register().Cards(t.Context()); err == nil {
			t.Errorf("byte %d of page %d: the register is %v, and no error", at%pageSize, at/pageSize+1, cards)
		}
		closeStore(t, s)
	}
	if places < 4 { // card, card_key twice, its index
		t.Errorf("the card is at %d places, want at least 4", places)
	}
}

func TestAnEditedRowOfTheRegisterIsNamed(t *testing.T) {
	now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	key := register.Key{ID: "piv-1.ff", Slot: "9c", Label: "署名用", SPKI: []byte{1, 2}, PINPolicy: token.PINAlways}
	card := register.Card{ID: "piv-1", Serial: "1", FirstSeen: now, LastSeen: now, Keys: []register.Key{key}}
	for edit, named := range map[string]string{
		"UPDATE card SET serial = '2'":                         "card piv-1",
		"UPDATE card SET company = 'x'":                        "card piv-1",
		"UPDATE card SET virtual = 1":                          "card piv-1",
		"UPDATE card SET first_seen = first_seen + 1":          "card piv-1",
		"UPDATE card SET serial = '', application = serial":    "card piv-1",
		"UPDATE card SET hash = zeroblob(32)":                  "card piv-1",
		"UPDATE card_key SET spki = x'0103'":                   "key piv-1.ff",
		"UPDATE card_key SET certificate = x'00'":              "key piv-1.ff",
		"UPDATE card_key SET pin_policy = 1":                   "key piv-1.ff",
		"UPDATE card_key SET slot = '9a'":                      "key piv-1.ff",
		"UPDATE card_key SET pin_policy = 70000":               "a row",
		"PRAGMA foreign_keys = 0; UPDATE card_key SET id = ''": "key ",
	} {
		t.Run(edit, func(t *testing.T) {
			s := openIn(t, t.TempDir())
			if err := s.Register().Save(t.Context(), card); err != nil {
				t.Fatal(err)
			}
			mustExec(t, s, edit)
			_, err := s.Register().Cards(t.Context())
			if token.KindOf(err) != token.KindDatabaseDamaged || !strings.Contains(err.Error(), named) {
				t.Errorf("Cards() = %v, want DATABASE_DAMAGED naming %s", err, named)
			}
		})
	}
}
