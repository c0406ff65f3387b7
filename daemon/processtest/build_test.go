package processtest_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// edit is a change of one source file, made while building and nowhere else:
// `go build -overlay` takes the changed text from a temporary folder.
type edit struct {
	file string // from the root of the module
	old  string // stands in it exactly once
	new  string
}

// root is the folder of the module.
const root = "../.."

// build builds a program as .ci/build does, with edits.
func build(t *testing.T, pkg string, edits ...edit) (program string) {
	t.Helper()
	dir := t.TempDir()
	program = filepath.Join(dir, filepath.Base(pkg))
	args := []string{"build", "-trimpath", "-buildvcs=false", "-o", program}
	if len(edits) > 0 {
		args = append(args, "-overlay", overlay(t, dir, edits))
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, pkg)...)
	cmd.Dir = root
	if strings.HasPrefix(pkg, "./client/") {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, out)
	}
	return program
}

// overlay writes the changed files and the list of them (go help build).
func overlay(t *testing.T, dir string, edits []edit) (list string) {
	t.Helper()
	absolute, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, e := range edits {
		if _, seen := texts[e.file]; !seen {
			text, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				t.Fatal(err)
			}
			texts[e.file] = string(text)
		}
		if n := strings.Count(texts[e.file], e.old); n != 1 {
			t.Fatalf("%s has %q %d times, want once: this test must follow the source", e.file, e.old, n)
		}
		texts[e.file] = strings.Replace(texts[e.file], e.old, e.new, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		changed := filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(absolute, file)] = changed
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return list
}
