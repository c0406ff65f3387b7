package store

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/token"
)

// nextLayout is that of a release to come: a table more, then a column more.
func nextLayout() layout {
	return append(tables(),
		"CREATE TABLE loan (card TEXT PRIMARY KEY REFERENCES card (id), holder TEXT NOT NULL) STRICT, WITHOUT ROWID",
		"ALTER TABLE card ADD COLUMN expires INTEGER; CREATE INDEX card_expires ON card (expires)",
	)
}

const keptName = fileName + ".version-2"

// openAs opens the database in dir as a release with this layout does.
func openAs(t *testing.T, dir string, l layout) *Store {
	t.Helper()
	s, err := open(t.Context(), filepath.Join(dir, fileName), false, l)
	if err != nil {
		t.Fatalf("open() = %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestAnOlderDatabaseIsBroughtForwardWithACopy(t *testing.T) {
	closed, crashed := images(t)
	for name, files := range map[string]map[string]string{"after a stop": closed, "after a crash": crashed} {
		t.Run(name, func(t *testing.T) {
			dir := restore(t, files)
			s := openAs(t, dir, nextLayout())
			l := openLog(t, s)
			if err := l.Check(t.Context()); err != nil || l.Count() != 60 {
				t.Errorf("Check() = %v with %d records, want nil with 60", err, l.Count())
			}
			appendRecords(t, l, 61, 62)
			mustExec(t, s, "UPDATE card SET expires = 1; INSERT INTO loan SELECT id, '' FROM card")
			closeStore(t, s)
			closeStore(t, openAs(t, dir, nextLayout())) // nothing is left to be done
			names := slices.Sorted(maps.Keys(withoutEmpty(snapshot(t, dir))))
			if want := []string{fileName, keptName}; !slices.Equal(names, want) {
				t.Errorf("the state directory holds %q, want %q", names, want)
			}
			if info, err := os.Stat(filepath.Join(dir, keptName)); err != nil || info.Mode().Perm() != fileMode {
				t.Errorf("the copy has mode %v, %v, want %o", info.Mode(), err, fileMode)
			}
		})
	}
}

func TestTheCopyIsADatabaseOfTheReleaseBefore(t *testing.T) {
	_, crashed := images(t)
	dir := restore(t, crashed)
	closeStore(t, openAs(t, dir, nextLayout()))
	back := t.TempDir() // as somebody does who goes back to the release before
	if err := os.Rename(filepath.Join(dir, keptName), filepath.Join(back, fileName)); err != nil {
		t.Fatal(err)
	}
	s := openIn(t, back)
	l := openLog(t, s)
	if err := l.Check(t.Context()); err != nil || l.Count() != 60 {
		t.Errorf("Check() = %v with %d records, want nil with the 60 there were, also those of the write-ahead log", err, l.Count())
	}
	appendRecords(t, l, 61, 61)
}

func TestAStepThatFailsChangesNothing(t *testing.T) {
	closed, _ := images(t)
	dir := restore(t, closed)
	l := append(nextLayout(), "CREATE TABLE half (a TEXT); INSERT INTO nothing VALUES (1)")
	path := filepath.Join(dir, fileName)
	for range maxCopies + 1 { // a service that starts again and again
		if _, err := open(t.Context(), path, false, l); err == nil || !strings.Contains(err.Error(), "bringing the database forward") {
			t.Fatalf("open() = %v, want an error of bringing forward", err)
		}
	}
	if names := slices.Collect(maps.Keys(withoutEmpty(snapshot(t, dir)))); !slices.Equal(names, []string{fileName}) {
		t.Errorf("the state directory holds %q, want only %s", names, fileName)
	}
	if l := openLog(t, openIn(t, dir)); l.Count() != 60 {
		t.Errorf("the release before reads %d records, want 60", l.Count())
	}
}

func TestACopyThatIsThereIsNotOverwritten(t *testing.T) {
	closed, _ := images(t)
	closed[keptName] = "of a crash"
	dir := restore(t, closed)
	closeStore(t, openAs(t, dir, nextLayout()))
	after := snapshot(t, dir)
	if after[keptName] != "of a crash" || len(after[keptName+".2"]) < pageSize {
		t.Errorf("copies: %d and %d bytes, want the first as it was and a second", len(after[keptName]), len(after[keptName+".2"]))
	}
}

func TestAnOlderDatabaseIsNotBroughtForwardForReading(t *testing.T) {
	closed, _ := images(t)
	dir := restore(t, closed)
	_, err := open(t.Context(), filepath.Join(dir, fileName), true, nextLayout())
	if e := asToken(asOpenError(filepath.Join(dir, fileName), err)); e == nil || e.Kind != token.KindStateNotWritable || !strings.Contains(e.Meta["detail"], "older inkand") {
		t.Errorf("open() = %v, want STATE_NOT_WRITABLE that names an older inkand", err)
	}
	if after := withoutEmpty(snapshot(t, dir)); after[fileName] != closed[fileName] || len(after) != 1 {
		t.Error("a file was changed, made or removed")
	}
}

func TestANewDatabaseHasTheTablesOfOneBroughtForward(t *testing.T) {
	closed, _ := images(t)
	for name, dir := range map[string]string{"new": t.TempDir(), "brought forward": restore(t, closed)} {
		s := openAs(t, dir, nextLayout())
		got, err := words(t.Context(), s.readers)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got, "CREATE TABLE loan") || !strings.Contains(got, "expires INTEGER") {
			t.Errorf("%s: the tables are %s", name, got)
		}
		closeStore(t, s)
		closeStore(t, openAs(t, dir, nextLayout()))
		if _, err := Open(t.Context(), Config{Dir: dir}); token.KindOf(err) != token.KindDatabaseNewer {
			t.Errorf("%s: Open() by the release before = %v, want DATABASE_NEWER", name, err)
		}
	}
}
