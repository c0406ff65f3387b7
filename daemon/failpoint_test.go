package daemon_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build makes inkand with these tags.
func build(t *testing.T, tags string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "inkand")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", tags, "-o", path, "./cmd/inkand").CombinedOutput()
	if err != nil {
		t.Fatalf("building inkand: %v\n%s", err, out)
	}
	return path
}

func TestAReleaseHasNothingOfTheFailpoints(t *testing.T) {
	list, err := exec.CommandContext(t.Context(), build(t, "faults"), "failpoints").Output()
	if err != nil {
		t.Fatal(err)
	}
	points := strings.Fields(string(list))
	if len(points) < 28 {
		t.Fatalf("a build with failpoints lists %d of them, want at least the 28 of a signature", len(points))
	}
	release := build(t, "")
	said, err := exec.CommandContext(t.Context(), release, "failpoints").Output()
	if err != nil || string(said) != "This build has no failpoints.\n" {
		t.Errorf("a release says %q, %v", said, err)
	}
	symbols, err := exec.CommandContext(t.Context(), "go", "tool", "nm", release).Output()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(symbols, []byte("internal/failpoint.")) {
		t.Error("a release has symbols of package failpoint")
	}
	text, err := os.ReadFile(release)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(points, "INKAN_FAILPOINT") {
		if strings.Contains(name, "-") && bytes.Contains(text, []byte(name)) {
			t.Errorf("a release holds the name %s", name)
		}
	}
}
