package faults

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The packages of the classes that are tests and run in a process of their own:
// F8 and F9 because libpcsclite finds only one pcscd in the life of a process,
// F11 and F12 because they measure what a process has open.
const (
	behindPCSCD = "pcscdtest"
	underLoad   = "loadtest"
)

// inTest is a class that is a test of such a package. Its lines are read here.
func inTest(pkg, test string) func(context.Context, *Run) error {
	return func(ctx context.Context, r *Run) error {
		binary, err := buildTests(ctx, filepath.Dir(r.Release), pkg)
		if err != nil {
			return err
		}
		return r.readers(ctx, exec.CommandContext(ctx, binary, "-test.run", "^"+test+"$", "-test.timeout", "0", "-test.v")) //nolint:gosec // built by the run itself
	}
}

// buildTests makes the program of the tests of a package, once for all classes.
func buildTests(ctx context.Context, dir, pkg string) (string, error) {
	binary := filepath.Join(dir, pkg+".test")
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	c := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-o", binary, //nolint:gosec // the path is of our own making
		"github.com/inkan-project/inkan/daemon/"+pkg)
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the tests of %s: %w\n%s", pkg, err, out)
	}
	return binary, nil
}

// readers runs such a test and counts what it says.
func (r *Run) readers(ctx context.Context, cmd *exec.Cmd) error {
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(), "TMPDIR="+r.Dir,
		"INKAN_FAULTS_TIER="+string(r.Tier), "INKAN_FAULTS_SEED="+strconv.FormatUint(r.Random.Uint64(), 10))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // and pcscd ends with it
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	ended := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.measured(out.Bytes())
	violations, whole := r.countReaders(out.Bytes())
	if !whole || (ended != nil) != (violations > 0) {
		if err := os.WriteFile(filepath.Join(r.Dir, "output"), out.Bytes(), 0o600); err != nil {
			return err
		}
		return fmt.Errorf("the test noted %d violations and ended with %w: %s",
			violations, errors.Join(ended, errors.New("see its output")), tail(out.Bytes()))
	}
	return nil
}

// measured repeats the numbers that a test has printed.
func (r *Run) measured(output []byte) {
	for line := range strings.Lines(string(output)) {
		if strings.Contains(line, "p99") && !strings.Contains(line, "VIOLATION") && !strings.Contains(line, "I11:") {
			_, _ = fmt.Fprintln(r.Log, " ", strings.TrimSpace(line))
		}
	}
}

// countReaders counts faults and violations from the lines of such a test.
// whole says that it came to its last line, and that this says the same.
func (r *Run) countReaders(output []byte) (violations int, whole bool) {
	all := []Invariant{I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, I11}
	for lines := bufio.NewScanner(bytes.NewReader(output)); lines.Scan(); {
		var invariant, faults, told int
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "VIOLATION "):
			_, what, _ := strings.Cut(strings.TrimPrefix(line, "VIOLATION "), " ")
			if _, err := fmt.Sscanf(line, "VIOLATION I%d ", &invariant); err != nil || invariant < 1 || invariant > len(all) {
				return violations, false
			}
			violations++
			r.Broken(all[invariant-1], "%s", what)
		case strings.HasPrefix(line, "faults="):
			if _, err := fmt.Sscanf(line, "faults=%d violations=%d", &faults, &told); err != nil {
				return violations, false
			}
			for range faults {
				r.Fault()
			}
			whole = told == violations
		}
	}
	return violations, whole
}

// tail is the end of an output, without the log of inkand.
func tail(output []byte) string {
	var kept []string
	for line := range strings.Lines(string(output)) {
		if !strings.Contains(line, "level=") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept[max(0, len(kept)-20):], "")
}
