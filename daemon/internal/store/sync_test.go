package store

import "testing"

// FULL syncs the write-ahead log at each commit: less, and a power cut takes
// records that were answered for (https://sqlite.org/pragma.html#pragma_synchronous).
func TestEachCommitIsSynced(t *testing.T) {
	s := openIn(t, t.TempDir())
	appendRecords(t, openLog(t, s), 1, 1)
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal"} {
		var got string
		if err := s.writer.db.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", pragma, got, err, want)
		}
	}
}
