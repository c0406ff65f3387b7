package piv

import (
	"bytes"
	"compress/gzip"
	"runtime"
	"testing"
)

// A few kilobytes on the card must not become a few hundred megabytes here.
func TestACertificateExpandsToItsLimitAndNoFurther(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for range 64 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	der, err := decompress(bomb.Bytes())
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Errorf("decompress gives %d bytes, want an error", len(der))
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("%d bytes allocated for a certificate of %d bytes", used, bomb.Len())
	}
}
