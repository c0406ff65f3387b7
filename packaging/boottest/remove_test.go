//go:build boot

package boottest

import (
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// records are the files that must outlive the package.
var records = []string{"pin-tries.journal", "inkan.db"}

// sequence is in each record of `inkan log --json`.
var sequence = regexp.MustCompile(`"sequence": *(\d+)`)

// recorded returns the number of the newest record, as the administrator sees it.
func recorded(t *testing.T) (newest int) {
	t.Helper()
	out := run(t, "inkan", "log", "--json")
	for _, m := range sequence.FindAllStringSubmatch(out, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		newest = max(newest, n)
	}
	if newest == 0 {
		t.Fatalf("the log has no record:\n%s", out)
	}
	return newest
}

func wantRecords(t *testing.T, there bool) {
	t.Helper()
	for _, name := range records {
		if _, err := os.Stat(filepath.Join(state, name)); (err == nil) != there {
			t.Errorf("%s: %v, want it there: %v", name, err, there)
		}
	}
}

func wantGone(t *testing.T) {
	t.Helper()
	for _, path := range []string{apiSocket, pinSocket, "/usr/sbin/inkand"} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
	wantHealthy(t)
}

func removeAndReinstall(t *testing.T, p *pc) {
	if out, err := p.typing(t, wrongPIN, "pin", "verify"); err == nil {
		t.Fatalf("a wrong PIN was right:\n%s", out)
	}
	awaitCard(t, 9)
	before := recorded(t)
	run(t, "apt-get", "remove", "--yes", "inkan", "inkan-client", "inkan-trial")
	wantGone(t)
	wantRecords(t, true)
	aptInstall(t, debs(t, *packages, "inkan", "inkan-client", "inkan-trial")...)
	awaitCard(t, 9)
	if after := recorded(t); after <= before {
		t.Errorf("the newest record is %d, before it was removed %d", after, before)
	}
}

func purge(t *testing.T, p *pc) {
	before := recorded(t)
	out := run(t, "apt-get", "purge", "--yes", "inkan", "inkan-client", "inkan-trial")
	wantGone(t)
	wantRecords(t, true)
	if !strings.Contains(out, state) {
		t.Errorf("purging did not say that %s stays:\n%s", state, out)
	}
	if _, err := user.Lookup("inkan"); err != nil {
		t.Errorf("the records' user is gone: %v", err)
	}
	if _, err := os.Stat("/etc/inkan/inkand.toml"); err == nil {
		t.Error("the configuration is still there")
	}
	aptInstall(t, debs(t, *packages, "inkan", "inkan-client", "inkan-trial")...)
	if after := recorded(t); after <= before {
		t.Errorf("the newest record is %d, before it was purged %d", after, before)
	}
	p.awaitTry(t)
	p.sign(t, "after-purge") // a new virtual card, with a log that knows of the old one
	run(t, "env", "INKAN_PURGE=--delete-records", "apt-get", "purge", "--yes", "inkan", "inkan-client", "inkan-trial")
	wantGone(t)
	if _, err := os.Stat(state); err == nil {
		t.Errorf("%s is still there, although it was asked to go", state)
	}
}
