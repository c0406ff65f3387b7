package audittest

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/token"
)

// Load returns a storage that holds exactly these rows, whatever they are. It
// may empty and return the same storage again.
type Load func(t *testing.T, rows []audit.Row) audit.Storage

// TestStorage is the suite that every storage of the log passes.
func TestStorage(t *testing.T, load Load) {
	t.Run("an empty storage has no tail", func(t *testing.T) {
		last, count, err := load(t, nil).Tail(t.Context())
		if err != nil || count != 0 || !cmp.Equal(last, audit.Row{}) {
			t.Errorf("Tail() = %v, %d, %v, want the zero row, 0, nil", last, count, err)
		}
	})
	t.Run("rows come back byte for byte", func(t *testing.T) { testRoundTrip(t, load) })
	t.Run("a sequence cannot be there twice", func(t *testing.T) { testTwice(t, load) })
	t.Run("filters select", func(t *testing.T) { testFilters(t, load) })
	t.Run("intents without a result are open, and events are found", func(t *testing.T) { testOpenIntents(t, load) })
	t.Run("several rows are appended together or not at all", func(t *testing.T) { testAllOrNone(t, load) })
	t.Run("a read with a done context fails", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s := load(t, SampleRows(t, 3))
		if _, _, err := s.Tail(ctx); err == nil {
			t.Error("Tail() = nil error, want one")
		}
		if _, err := s.List(ctx, audit.Filter{Limit: 10}); err == nil {
			t.Error("List() = nil error, want one")
		}
	})
	t.Run("every change of a row is named", func(t *testing.T) { testTamper(t, load) })
}

func testRoundTrip(t *testing.T, load Load) {
	rows := SampleRows(t, 6)
	rows[2].Body = []byte("\x00'\"\xff not even JSON")
	rows[3].UID, rows[3].HasUID = math.MaxUint32, true
	rows[4].UID, rows[4].HasUID = 0, true
	s := load(t, rows)
	got, err := s.List(t.Context(), audit.Filter{Limit: 100})
	if diff := cmp.Diff(rows, got); diff != "" || err != nil {
		t.Errorf("List() differs (-want +got), error %v:\n%s", err, diff)
	}
	last, count, err := s.Tail(t.Context())
	if diff := cmp.Diff(rows[5], last); diff != "" || count != 6 || err != nil {
		t.Errorf("Tail() = count %d, error %v, differs (-want +got):\n%s", count, err, diff)
	}
}

func testTwice(t *testing.T, load Load) {
	rows := SampleRows(t, 3)
	s := load(t, rows)
	changed := rows[1]
	changed.Body = []byte("{}")
	if err := s.Append(t.Context(), changed); err == nil {
		t.Error("Append() of sequence 2 again = nil, want an error")
	}
	got, err := s.List(t.Context(), audit.Filter{Limit: 100})
	if diff := cmp.Diff(rows, got); diff != "" || err != nil {
		t.Errorf("List() after it differs (-want +got), error %v:\n%s", err, diff)
	}
}

func testFilters(t *testing.T, load Load) {
	s := load(t, SampleRows(t, 12)) // sequence n belongs to uid 1000 + n%3, n%4 == 0 to nobody
	user, nobody := uint32(1001), uint32(7)
	for _, tc := range []struct {
		filter audit.Filter
		want   []uint64
	}{
		{audit.Filter{Limit: 3}, []uint64{1, 2, 3}},
		{audit.Filter{Limit: 3, After: 10}, []uint64{11, 12}},
		{audit.Filter{Limit: 3, After: 12}, nil},
		{audit.Filter{Limit: 3, Newest: true}, []uint64{10, 11, 12}},
		{audit.Filter{Limit: 3, Newest: true, After: 11}, []uint64{12}},
		{audit.Filter{Limit: 2, UID: &user}, []uint64{1, 7}},
		{audit.Filter{Limit: 9, UID: &user, After: 1}, []uint64{7, 10}},
		{audit.Filter{Limit: 2, UID: &user, Newest: true}, []uint64{7, 10}},
		{audit.Filter{Limit: 2, UID: &nobody}, nil},
		{audit.Filter{Limit: 2, After: math.MaxInt64}, nil},
	} {
		got, err := s.List(t.Context(), tc.filter)
		if diff := cmp.Diff(tc.want, sequences(got)); diff != "" || err != nil {
			t.Errorf("List(%+v) differs (-want +got), error %v:\n%s", tc.filter, err, diff)
		}
	}
}

func testOpenIntents(t *testing.T, load Load) {
	rows := SampleRows(t, 8)
	for i := range rows {
		rows[i].Kind, rows[i].Intent = audit.KindEvent, 0
	}
	for _, i := range []int{0, 2, 4, 6} {
		rows[i].Kind = audit.KindIntent
	}
	rows[3].Kind, rows[3].Intent = audit.KindResult, 1
	rows[7].Kind, rows[7].Intent = audit.KindResult, 5
	storage := load(t, rows)
	events, err := storage.Events(t.Context())
	if diff := cmp.Diff([]uint64{2, 6}, sequences(events)); diff != "" || err != nil {
		t.Errorf("Events() differs (-want +got), error %v:\n%s", err, diff)
	}
	got, err := storage.OpenIntents(t.Context())
	if diff := cmp.Diff([]uint64{3, 7}, sequences(got)); diff != "" || err != nil {
		t.Errorf("OpenIntents() differs (-want +got), error %v:\n%s", err, diff)
	}
}

func testAllOrNone(t *testing.T, load Load) {
	rows := SampleRows(t, 4)
	s := load(t, rows[:1])
	if err := s.Append(t.Context(), rows[1], rows[2]); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), rows[3], rows[2]); err == nil {
		t.Error("Append takes a sequence that is there")
	}
	got, err := s.List(t.Context(), audit.Filter{Limit: 10})
	if diff := cmp.Diff([]uint64{1, 2, 3}, sequences(got)); diff != "" || err != nil {
		t.Errorf("List() differs (-want +got), error %v:\n%s", err, diff)
	}
}

func sequences(rows []audit.Row) []uint64 {
	var list []uint64
	for _, r := range rows {
		list = append(list, r.Sequence)
	}
	return list
}

// SampleRows returns the rows of a log with n records.
func SampleRows(t testing.TB, n int) []audit.Row {
	t.Helper()
	m := &Memory{}
	l, err := audit.Open(t.Context(), audit.Config{Storage: m, Now: Clock()})
	if err != nil {
		t.Fatalf("opening a log in memory: %v", err)
	}
	for i := 1; i <= n; i++ {
		if _, err := l.Append(t.Context(), SampleRecord(i)); err != nil {
			t.Fatalf("appending record %d: %v", i, err)
		}
	}
	return m.Rows()
}

// SampleRecord returns what could be record n of a log: an intent if n is odd,
// else its result. It belongs to user 1000 + n%3, or to the service itself if
// n%4 is 0.
func SampleRecord(n int) audit.Record {
	r := audit.Record{
		Kind: audit.KindIntent, Operation: "sign", HasUID: n%4 != 0, UID: uint32(1000 + n%3), PID: int32(n),
		Program: "/usr/bin/sample", Card: "piv-00112233445566778899aabbccddeeff",
		Key:       token.KeyID("piv-00112233445566778899aabbccddeeff." + strings.Repeat("ab", 32)),
		Algorithm: "RSA-PKCS1-SHA256", Digest: make([]byte, 32), DocumentName: fmt.Sprintf("入札書-%d.pdf", n),
		Tries: token.KnownTries(10),
	}
	if n%2 == 0 {
		r.Kind, r.Intent, r.Outcome = audit.KindResult, uint64(n-1), audit.OutcomeOK
	}
	return r
}

// Clock returns a clock that moves one second with each look.
func Clock() func() time.Time {
	now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	return func() time.Time {
		now = now.Add(time.Second)
		return now
	}
}

// IgnoreSet leaves out of a comparison what Append sets.
func IgnoreSet() cmp.Options {
	return cmp.Options{
		cmpopts.IgnoreFields(audit.Record{}, "Sequence", "Time", "Hash"),
		cmp.AllowUnexported(token.Tries{}),
	}
}
