package store

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
)

// BenchmarkAppend takes turns between one record of the log and what the disk
// itself needs: 300 bytes written and synced in a file that does not grow. The
// medians are in the metrics, and so is their ratio.
func BenchmarkAppend(b *testing.B) {
	dir := b.TempDir()
	l := openLog(b, openIn(b, dir))
	raw := preallocated(b, filepath.Join(dir, "raw"))
	var log, disk []time.Duration
	for n := 1; b.Loop(); n++ {
		begin := time.Now()
		if _, err := l.Append(b.Context(), audittest.SampleRecord(n)); err != nil {
			b.Fatal(err)
		}
		log = append(log, time.Since(begin))
		begin = time.Now()
		if _, err := raw.WriteAt(make([]byte, 300), int64(n%rawSlots)*512); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(raw.Fd())); err != nil {
			b.Fatal(err)
		}
		disk = append(disk, time.Since(begin))
	}
	slices.Sort(log)
	slices.Sort(disk)
	b.ReportMetric(float64(median(log).Nanoseconds())/1e3, "µs/append-p50")
	b.ReportMetric(float64(log[len(log)*99/100].Nanoseconds())/1e3, "µs/append-p99")
	b.ReportMetric(float64(median(disk).Nanoseconds())/1e3, "µs/fdatasync-p50")
	b.ReportMetric(float64(median(log))/float64(median(disk)), "ratio")
}

const rawSlots = 16384

func preallocated(b *testing.B, name string) *os.File {
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(make([]byte, rawSlots*512)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return f
}

func median(sorted []time.Duration) time.Duration { return sorted[len(sorted)/2] }

// BenchmarkOpen opens a database with 100,000 records, and the log in it with
// its open intents: what a start of the service does.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := openIn(b, dir)
	mustExec(b, s, "PRAGMA synchronous = OFF")
	appendRecords(b, openLog(b, s), 1, 100_000)
	closeStore(b, s)
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil {
		b.Fatal(err)
	}
	var database, log time.Duration
	n := 0
	for b.Loop() {
		begin := time.Now()
		s := openIn(b, dir)
		database += time.Since(begin)
		begin = time.Now()
		if open, err := openLog(b, s).OpenIntents(b.Context()); err != nil || len(open) != 0 {
			b.Fatal(open, err)
		}
		log += time.Since(begin)
		closeStore(b, s)
		n++
	}
	b.ReportMetric(float64(database.Milliseconds())/float64(n), "ms/database")
	b.ReportMetric(float64(log.Milliseconds())/float64(n), "ms/log")
	b.ReportMetric(float64(info.Size())/1e6, "MB")
}
