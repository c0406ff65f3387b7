package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/inkan-project/inkan/daemon/daemontest"
	"github.com/inkan-project/inkan/pcsc/virtual"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// isVerify and isSign tell the two commands that matter (ISO/IEC 7816-4 VERIFY
// with data, SP 800-73-5 part 2 GENERAL AUTHENTICATE).
func isVerify(command []byte) bool { return len(command) > 5 && command[1] == 0x20 }
func isSign(command []byte) bool   { return len(command) > 5 && command[1] == 0x87 }

// crashed is the name of the request that a crash interrupts.
const crashed = "interrupted"

// crashAt signs, and puts everything on the disk back as it was in the moment
// of a command: what a power cut would have left. The files stay the same ones:
// a copy would be noticed.
func crashAt(t *testing.T, pin daemontest.PIN, wanted func([]byte) bool, before bool) (dir string) {
	t.Helper()
	dir, image := t.TempDir(), t.TempDir()
	var armed atomic.Bool
	freeze := func(command []byte) error {
		if armed.Load() && wanted(command) {
			armed.Store(false)
			for _, part := range []string{"state", "card"} {
				if err := os.CopyFS(filepath.Join(image, part), os.DirFS(filepath.Join(dir, part))); err != nil {
					t.Error(err)
				}
			}
		}
		return nil
	}
	hooks := virtual.Options{After: func(_ string, command, _ []byte) error { return freeze(command) }}
	if before {
		hooks = virtual.Options{Before: func(_ string, command []byte) error { return freeze(command) }}
	}
	d := daemontest.Start(t, daemontest.Options{Dir: dir, Hooks: hooks})
	key := d.Key("9a")
	armed.Store(true)
	_, _ = d.Client(pin).Sign(t.Context(), named(key, crashed)) // how it ends is another test's business
	d.Stop()
	if armed.Load() {
		t.Fatal("the moment never came")
	}
	for _, part := range []string{"state", "card"} {
		putBack(t, filepath.Join(image, part), filepath.Join(dir, part))
	}
	return dir
}

// putBack gives dir the files of image: those that are there stay the same
// files.
func putBack(t *testing.T, image, dir string) {
	t.Helper()
	had, err := os.ReadDir(image)
	if err != nil {
		t.Fatal(err)
	}
	keep := map[string]bool{}
	for _, f := range had {
		keep[f.Name()] = true
		content, err := os.ReadFile(filepath.Join(image, f.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f.Name()), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range have {
		if !keep[f.Name()] {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestACrashNeverGivesATryBackNorHidesASignature(t *testing.T) {
	tests := map[string]struct {
		pin    daemontest.PIN
		wanted func([]byte) bool
		before bool
		left   uint32 // tries shown after the restart
	}{
		"before VERIFY left the PC": {rightPIN, isVerify, true, 9},
		"after a right PIN":         {rightPIN, isVerify, false, 9},
		"after a wrong PIN":         {"000000", isVerify, false, 9},
		"after the card has signed": {rightPIN, isSign, false, 9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := crashAt(t, tt.pin, tt.wanted, tt.before)
			for range 2 { // a second restart changes nothing
				d := daemontest.Start(t, daemontest.Options{Dir: dir})
				st, err := d.Client(nil).Status(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got := st.GetCards()[0].GetPin().GetTriesLeft(); got != tt.left || int(got) > d.Truth().PINLeft {
					t.Errorf("%d tries shown, the card has %d; want %d", got, d.Truth().PINLeft, tt.left)
				}
				checkRecovered(t, d)
				d.Stop()
			}
			d := daemontest.Start(t, daemontest.Options{Dir: dir})
			if _, err := sign(d.Client(rightPIN), d.Key("9a")); err != nil {
				t.Errorf("signing after the crash: %v", err)
			}
		})
	}
}

// checkRecovered checks that the log says exactly once what the crash left.
func checkRecovered(t *testing.T, d *daemontest.Daemon) {
	t.Helper()
	var intents, unknown, unaccounted int
	for rec, err := range d.Client(nil).Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case rec.GetKind() == inkanpb.RecordKind_RECORD_KIND_INTENT:
			intents++
		case rec.GetOutcome() == "UNKNOWN":
			unknown++
		case strings.Contains(rec.GetDetail(), "1 try unaccounted for"):
			unaccounted++
		}
	}
	if intents != 1 || unknown != 1 || unaccounted != 1 {
		t.Errorf("log has %d intents, %d closed as UNKNOWN, %d tries unaccounted for; want one each", intents, unknown, unaccounted)
	}
}
