package audittest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/token"
)

// tampering is one change to the rows of a log and the record it must be
// reported for.
type tampering struct {
	what string
	rows []audit.Row
	bad  uint64
}

// testTamper makes every change to a small log and wants both [audit.Open] and
// [audit.Log.Check] to name the first bad record.
func testTamper(t *testing.T, load Load) {
	good := SampleRows(t, 5)
	if err := check(t, load, good); err != nil {
		t.Fatalf("log before any change: %v", err)
	}
	list := slices.Concat(byteEdits(good[:3]), columnEdits(good), moves(good), forks(t, good))
	for _, c := range list {
		err := check(t, load, c.rows)
		named := fmt.Sprintf("record %d of the log", c.bad)
		if token.KindOf(err) != token.KindDatabaseDamaged || !strings.Contains(err.Error(), named) {
			t.Errorf("%s: got %v, want DATABASE_DAMAGED naming %s", c.what, err, named)
		}
	}
	t.Logf("%d changes", len(list))
}

// check opens the log on these rows, as at a start.
func check(t *testing.T, load Load, rows []audit.Row) error {
	l, err := audit.Open(t.Context(), audit.Config{Storage: load(t, rows), Now: Clock()})
	if err != nil {
		return err
	}
	return l.Check(t.Context())
}

// change returns the rows with one changed.
func change(good []audit.Row, i int, edit func(*audit.Row)) []audit.Row {
	rows := copyRows(good)
	edit(&rows[i])
	return rows
}

// byteEdits changes every single byte of body, previous hash and hash.
func byteEdits(good []audit.Row) (list []tampering) {
	for i, row := range good {
		edit := func(field string, n int, at func(*audit.Row) []byte) {
			for b := range n {
				list = append(list, tampering{
					what: fmt.Sprintf("byte %d of %s in row %d", b, field, row.Sequence),
					rows: change(good, i, func(r *audit.Row) { at(r)[b] ^= 1 << (b % 8) }),
					bad:  row.Sequence,
				})
			}
		}
		edit("body", len(row.Body), func(r *audit.Row) []byte { return r.Body })
		edit("prev", len(row.Prev), func(r *audit.Row) []byte { return r.Prev[:] })
		edit("hash", len(row.Hash), func(r *audit.Row) []byte { return r.Hash[:] })
	}
	return list
}

// columnEdits changes each column that repeats a part of the body, and cuts
// and lengthens the body.
func columnEdits(good []audit.Row) (list []tampering) {
	edits := map[string]func(*audit.Row){
		"uid":           func(r *audit.Row) { r.HasUID, r.UID = true, r.UID+1 },
		"no uid":        func(r *audit.Row) { r.HasUID, r.UID = !r.HasUID, 0 },
		"kind":          func(r *audit.Row) { r.Kind = audit.KindEvent },
		"intent":        func(r *audit.Row) { r.Intent += 2 },
		"body cut":      func(r *audit.Row) { r.Body = r.Body[:len(r.Body)-1] },
		"body longer":   func(r *audit.Row) { r.Body = append(r.Body, ' ') },
		"body emptied":  func(r *audit.Row) { r.Body = []byte{} },
		"hash zeroed":   func(r *audit.Row) { r.Hash = [32]byte{} },
		"hash of other": func(r *audit.Row) { r.Hash = r.Prev },
	}
	for i, row := range good {
		for what, edit := range edits {
			list = append(list, tampering{
				what: fmt.Sprintf("%s in row %d", what, row.Sequence),
				rows: change(good, i, edit), bad: row.Sequence,
			})
		}
	}
	return list
}

// moves deletes, repeats and swaps rows. Deleting the newest row is left out:
// a chain cannot show it.
func moves(good []audit.Row) (list []tampering) {
	renumber := func(rows []audit.Row) []audit.Row {
		for i := range rows {
			rows[i].Sequence = uint64(i + 1)
		}
		return rows
	}
	for i := range good {
		n := good[i].Sequence
		if i < len(good)-1 {
			hole := slices.Delete(copyRows(good), i, i+1)
			list = append(list,
				tampering{fmt.Sprintf("row %d deleted", n), hole, n},
				tampering{fmt.Sprintf("row %d deleted and the others moved up", n), renumber(copyRows(hole)), n})
		}
		for j := range good {
			twice := slices.Insert(copyRows(good), j+1, good[i])
			bad := uint64(j + 2)
			if j+1 == i { // the copy stands where the row stood, the row itself is one too many
				bad++
			}
			list = append(list, tampering{fmt.Sprintf("row %d again behind row %d", n, j+1), renumber(twice), bad})
			if j > i {
				swapped := copyRows(good)
				swapped[i], swapped[j] = swapped[j], swapped[i]
				list = append(list, tampering{fmt.Sprintf("rows %d and %d swapped", n, j+1), renumber(swapped), n})
			}
		}
	}
	return list
}

// forks replaces a row by one that was made for its place, hash and all. The
// row behind it shows that. For the newest row a chain cannot.
func forks(t *testing.T, good []audit.Row) (list []tampering) {
	for i := range good[:len(good)-1] {
		m := &Memory{rows: copyRows(good[:i])}
		l, err := audit.Open(t.Context(), audit.Config{Storage: m, Now: Clock()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(t.Context(), audit.Record{Kind: audit.KindEvent, Detail: "forged"}); err != nil {
			t.Fatal(err)
		}
		rows := copyRows(good)
		rows[i] = m.Rows()[i]
		list = append(list, tampering{fmt.Sprintf("row %d forged", i+1), rows, uint64(i + 2)})
	}
	return list
}
