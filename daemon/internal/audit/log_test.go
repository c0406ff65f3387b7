package audit_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
	"github.com/inkan-project/inkan/token"
)

func TestMemoryIsAStorage(t *testing.T) {
	audittest.TestStorage(t, func(t *testing.T, rows []audit.Row) audit.Storage {
		m := &audittest.Memory{}
		for _, row := range rows {
			if err := m.Append(t.Context(), row); err != nil {
				t.Fatal(err)
			}
		}
		return m
	})
}

func open(t *testing.T, s audit.Storage) *audit.Log {
	t.Helper()
	l, err := audit.Open(t.Context(), audit.Config{Storage: s, Now: audittest.Clock()})
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	return l
}

func TestRecordsComeBackAsAppended(t *testing.T) {
	m := &audittest.Memory{}
	l := open(t, m)
	var want []audit.Record
	for i, r := range []audit.Record{
		{Kind: audit.KindStart},
		audittest.SampleRecord(1),
		{Kind: audit.KindResult, Intent: 2, Outcome: audit.OutcomeFailed, Code: string(token.KindPINWrong), Tries: token.KnownTries(0)},
		{Kind: audit.KindRefused, HasUID: true, UID: 0, Program: "\xff<&>\x00\u2028", Detail: strings.Repeat("印", 2000)},
		{
			Kind: audit.KindResult, Intent: 2, Outcome: audit.OutcomeOK, Request: &audit.Request{ID: "入札-1", Content: [32]byte{1, 31: 2}},
			Answer: []byte(`{"signature":"AAEC"}`),
		},
	} {
		got, err := l.Append(t.Context(), r)
		if err != nil {
			t.Fatalf("Append(%d) = %v", i, err)
		}
		if got.Sequence != uint64(i+1) || got.Time.IsZero() || got.Hash == [32]byte{} {
			t.Errorf("Append(%d) = sequence %d, time %v, hash %x", i, got.Sequence, got.Time, got.Hash)
		}
		want = append(want, got)
	}
	if diff := cmp.Diff(audittest.SampleRecord(1), want[1], audittest.IgnoreSet()); diff != "" {
		t.Errorf("Append changed the record (-want +got):\n%s", diff)
	}
	if got := []rune(want[3].Detail); len(got) != 1024 || got[1023] != '…' {
		t.Errorf("detail has %d characters and ends with %q, want 1024 and …", len(got), got[len(got)-1])
	}
	got, more, err := open(t, m).List(t.Context(), audit.Filter{})
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(token.Tries{})); diff != "" || more || err != nil {
		t.Errorf("List() = more %v, error %v, differs (-want +got):\n%s", more, err, diff)
	}
}

func TestRecordsThatAreWrittenTogetherSaySo(t *testing.T) {
	m := &audittest.Memory{}
	l := open(t, m)
	newest := func() uint64 { return open(t, m).Newest() }
	if n := newest(); n != 0 {
		t.Errorf("an empty log: %d", n)
	}
	event := audit.Record{Kind: audit.KindEvent}
	if _, err := l.AppendAll(t.Context(), []audit.Record{event, event}); err != nil || newest() != 2 {
		t.Errorf("after two at once: %d, %v", newest(), err)
	}
	if _, err := l.Append(t.Context(), event); err != nil || newest() != 1 {
		t.Errorf("after one: %d, %v", newest(), err)
	}
	if err := l.Check(t.Context()); err != nil || l.Count() != 3 {
		t.Errorf("%d records, %v", l.Count(), err)
	}
	if _, err := l.AppendAll(t.Context(), []audit.Record{event, {Kind: "none"}}); err == nil || l.Count() != 3 || l.Err() != nil {
		t.Errorf("one that cannot be: %v, %d records, %v", err, l.Count(), l.Err())
	}
	if _, err := l.AppendAll(t.Context(), nil); err == nil {
		t.Error("none at all")
	}
}

func TestListTellsWhetherMoreFollow(t *testing.T) {
	m := &audittest.Memory{}
	l := open(t, m)
	for i := 1; i <= 250; i++ {
		if _, err := l.Append(t.Context(), audittest.SampleRecord(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name        string
		filter      audit.Filter
		first, last uint64
		more        bool
	}{
		{"no limit is one hundred", audit.Filter{}, 1, 100, true},
		{"the next page", audit.Filter{After: 100, Limit: 149}, 101, 249, true},
		{"the last page", audit.Filter{After: 100, Limit: 150}, 101, 250, false},
		{"nothing follows the newest", audit.Filter{Newest: true, Limit: 10}, 241, 250, false},
		{"a limit beyond the greatest", audit.Filter{Limit: 5000}, 1, 250, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, more, err := l.List(t.Context(), tc.filter)
			if err != nil || more != tc.more || got[0].Sequence != tc.first || got[len(got)-1].Sequence != tc.last {
				t.Errorf("List() = %d to %d, more %v, %v, want %d to %d, more %v", got[0].Sequence,
					got[len(got)-1].Sequence, more, err, tc.first, tc.last, tc.more)
			}
		})
	}
}

func TestOpenIntentsAreWhatACrashLeftBehind(t *testing.T) {
	m := &audittest.Memory{}
	l := open(t, m)
	for _, n := range []int{1, 2, 3} {
		if _, err := l.Append(t.Context(), audittest.SampleRecord(n)); err != nil {
			t.Fatal(err)
		}
	}
	l = open(t, m)
	left, err := l.OpenIntents(t.Context())
	if err != nil || len(left) != 1 || left[0].Sequence != 3 {
		t.Fatalf("OpenIntents() = %v, %v, want record 3", left, err)
	}
	if _, err := l.Append(t.Context(), audit.Record{Kind: audit.KindResult, Intent: 3, Outcome: audit.OutcomeUnknown}); err != nil {
		t.Fatal(err)
	}
	if left, err = l.OpenIntents(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("OpenIntents() after the result = %v, %v, want none", left, err)
	}
}

func TestAFailedAppendClosesTheLogForGood(t *testing.T) {
	for _, kept := range []bool{false, true} {
		t.Run(fmt.Sprintf("row on disk %v", kept), func(t *testing.T) {
			asked, cause := 0, errors.New("no space left on device")
			m := &audittest.Memory{Fault: func(r audit.Row) (bool, error) {
				if asked++; r.Sequence == 3 {
					return kept, cause
				}
				return true, nil
			}}
			l := open(t, m)
			for n := 1; n <= 5; n++ {
				_, err := l.Append(t.Context(), audit.Record{Kind: audit.KindEvent})
				if n < 3 && err != nil {
					t.Errorf("Append(%d) = %v, want nil", n, err)
				}
				if n >= 3 && (token.KindOf(err) != token.KindAuditUnavailable || !errors.Is(err, cause)) {
					t.Errorf("Append(%d) = %v, want AUDIT_UNAVAILABLE because of %v", n, err, cause)
				}
			}
			if asked != 3 || l.Count() != 2 {
				t.Errorf("storage was asked %d times and Count() = %d, want 3 and 2", asked, l.Count())
			}
			if _, _, err := l.List(t.Context(), audit.Filter{}); err != nil {
				t.Errorf("List() on a closed log = %v, want nil", err)
			}
			m.Fault = nil
			if _, err := open(t, m).Append(t.Context(), audit.Record{Kind: audit.KindStart}); err != nil {
				t.Errorf("Append() after a restart = %v, want nil", err)
			}
		})
	}
}

func TestADoneContextNeverLeavesHalfARecord(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := &audittest.Memory{}
	l := open(t, m)
	m.Fault = func(audit.Row) (bool, error) {
		cancel() // in the middle of the write
		return true, nil
	}
	if _, err := l.Append(ctx, audit.Record{Kind: audit.KindStart}); err != nil {
		t.Errorf("Append() cancelled while writing = %v, want nil: it was written", err)
	}
	m.Fault = nil
	if _, err := l.Append(ctx, audit.Record{Kind: audit.KindStop}); !errors.Is(err, context.Canceled) {
		t.Errorf("Append() cancelled before = %v, want context.Canceled", err)
	}
	if _, err := l.Append(t.Context(), audit.Record{Kind: audit.KindStop}); err != nil || l.Count() != 2 {
		t.Errorf("Append() after it = %v, Count() = %d, want nil and 2: the log stays open", err, l.Count())
	}
}

func TestRecordsThatCannotBeAreRefused(t *testing.T) {
	l := open(t, &audittest.Memory{})
	for name, r := range map[string]audit.Record{
		"no kind":                        {},
		"an unknown kind":                {Kind: "signed"},
		"a result without an intent":     {Kind: audit.KindResult},
		"a result of a later intent":     {Kind: audit.KindResult, Intent: 1},
		"an event that names an intent":  {Kind: audit.KindEvent, Intent: 1},
		"a digest longer than any there": {Kind: audit.KindEvent, Digest: make([]byte, 65)},
	} {
		if _, err := l.Append(t.Context(), r); token.KindOf(err) != token.KindInternal {
			t.Errorf("Append() of %s = %v, want INTERNAL", name, err)
		}
	}
	if _, err := l.Append(t.Context(), audit.Record{Kind: audit.KindStart}); err != nil || l.Count() != 1 {
		t.Errorf("Append() after them = %v, Count() = %d, want nil and 1", err, l.Count())
	}
}

func TestManyWritersMakeOneChain(t *testing.T) {
	m := &audittest.Memory{}
	l := open(t, m)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if _, err := l.Append(t.Context(), audit.Record{Kind: audit.KindEvent}); err != nil {
					t.Error(err)
				}
				if err := l.Check(t.Context()); err != nil {
					t.Error(err)
				}
				if _, _, err := l.List(t.Context(), audit.Filter{Newest: true, Limit: 3}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := open(t, m).Check(t.Context()); err != nil || l.Count() != 400 {
		t.Errorf("Check() = %v with %d records, want nil with 400", err, l.Count())
	}
}

func TestOpenChecksTheLastThousandAndCheckAll(t *testing.T) {
	good := audittest.SampleRows(t, 1500)
	for _, tc := range []struct {
		row   int
		opens bool
	}{{1, true}, {499, true}, {500, false}, {501, false}, {1499, false}, {1500, false}} {
		t.Run(fmt.Sprintf("row %d edited", tc.row), func(t *testing.T) {
			m := &audittest.Memory{}
			for _, r := range good {
				if int(r.Sequence) == tc.row {
					r.Body = []byte(strings.Replace(string(r.Body), "sign", "sigh", 1))
				}
				if err := m.Append(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			want := fmt.Sprintf("record %d of", tc.row)
			l, err := audit.Open(t.Context(), audit.Config{Storage: m, Now: audittest.Clock()})
			if (err == nil) != tc.opens {
				t.Fatalf("Open() = %v, want error %v", err, !tc.opens)
			}
			if err == nil {
				err = l.Check(t.Context())
			}
			if token.KindOf(err) != token.KindDatabaseDamaged || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want DATABASE_DAMAGED naming %s", err, want)
			}
		})
	}
}

func TestOpenNoticesThatAnOldRecordIsMissing(t *testing.T) {
	m := &audittest.Memory{}
	for _, r := range audittest.SampleRows(t, 1500) {
		if r.Sequence == 10 {
			continue
		}
		if err := m.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	_, err := audit.Open(t.Context(), audit.Config{Storage: m, Now: audittest.Clock()})
	if token.KindOf(err) != token.KindDatabaseDamaged || !strings.Contains(err.Error(), "record 10 of") {
		t.Errorf("Open() = %v, want DATABASE_DAMAGED naming record 10", err)
	}
}

// TestTheFormatOfARecordNeverChanges holds body and hash of two records that
// were made once; the hashes were computed by another program too.
func TestTheFormatOfARecordNeverChanges(t *testing.T) {
	const first = `{"time":"2026-11-20T09:00:01Z","kind":"intent","operation":"sign","uid":1001,"pid":1,` +
		`"program":"/usr/bin/sample","card":"piv-00112233445566778899aabbccddeeff",` +
		`"key":"piv-00112233445566778899aabbccddeeff.abababababababababababababababababababababababababababababababab",` +
		`"algorithm":"RSA-PKCS1-SHA256","digest":"0000000000000000000000000000000000000000000000000000000000000000",` +
		`"document":"入札書-1.pdf","tries":10}`
	want := []string{
		"307aa9717f0967a6929d8bdfeb17b1de08ebd5f4dca451164bf49910cd6c24f6",
		"4dd6e78e8133cf9d167f683430f764efc5887c1e775e9edcfad958dd3f225dff",
	}
	rows := audittest.SampleRows(t, 2)
	for i, row := range rows {
		if got := fmt.Sprintf("%x", row.Hash); got != want[i] {
			t.Errorf("hash of record %d = %s, want %s", row.Sequence, got, want[i])
		}
	}
	if diff := cmp.Diff(first, string(rows[0].Body)); diff != "" {
		t.Errorf("body of record 1 differs (-want +got):\n%s", diff)
	}
}
