package cli_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client/internal/clientfake"
)

// command is inkan as a process, with the fake's sockets.
func command(fake *clientfake.Server, args ...string) *exec.Cmd {
	cmd := exec.Command("inkan", args...)
	cmd.Env = append(os.Environ(), "INKAN_SOCKET="+fake.Socket, "INKAN_PIN_SOCKET="+fake.PINSocket, "LC_ALL=C", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// waitCalls waits until the fake has had so many calls.
func waitCalls(t *testing.T, fake *clientfake.Server, n int) {
	t.Helper()
	late := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for fake.Calls() < n {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("inkand had %d calls, want %d", fake.Calls(), n)
		}
	}
}

func TestTheFirstSignalEndsWhatWaitsOutsideThePrompt(t *testing.T) {
	const listed = 4 // calls until the keys are known: three pages and an empty one
	for _, tc := range []struct {
		name    string
		in, out string
		waiting func(t *testing.T, fake *clientfake.Server, stdin io.Writer, stderr *bufio.Reader) // returns when inkan waits, or is about to
		exit    int
		stderr  string
	}{
		{
			"reading stdin", "-", "x.sig",
			func(t *testing.T, _ *clientfake.Server, stdin io.Writer, _ *bufio.Reader) {
				if _, err := stdin.Write(make([]byte, 1<<20)); err != nil { // more than a pipe holds: somebody reads
					t.Fatal(err)
				}
			},
			9, "cannot be read: interrupted",
		},
		{
			"opening a pipe to read", "pipe", "x.sig",
			func(t *testing.T, fake *clientfake.Server, _ io.Writer, _ *bufio.Reader) { waitCalls(t, fake, listed) },
			9, "inkan: ",
		},
		{
			"opening a pipe to write", "/dev/null", "pipe",
			func(t *testing.T, fake *clientfake.Server, _ io.Writer, _ *bufio.Reader) { waitCalls(t, fake, listed) },
			9, "inkan: ",
		},
		{
			"writing to a full pipe", "/dev/null", "pipe",
			func(t *testing.T, _ *clientfake.Server, _ io.Writer, stderr *bufio.Reader) {
				if line, err := stderr.ReadString('\n'); err != nil || !strings.Contains(line, "INK-6001") { // said before it is written
					t.Fatalf("got %q, %v; want the warning", line, err)
				}
			},
			1, "the signature was made (record 1) but could not be written to pipe: interrupted",
		},
	} {
		for _, s := range []os.Signal{os.Interrupt, unix.SIGTERM} {
			t.Run(tc.name+", "+s.String(), func(t *testing.T) {
				fake, dir := startFake(t), t.TempDir()
				path := filepath.Join(dir, "pipe")
				if err := unix.Mkfifo(path, 0o600); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(tc.name, "full") {
					fillPipe(t, path)
					fake.Warn("INK-6001")
				}
				cmd := command(fake, "sign", "--key", "9e", "--in", tc.in, "--out", tc.out)
				cmd.Dir = dir
				stderrPipe, err := cmd.StderrPipe()
				if err != nil {
					t.Fatal(err)
				}
				stderr := bufio.NewReader(stderrPipe)
				stdin, give, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				defer give.Close()
				cmd.Stdin = stdin
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				_ = stdin.Close()
				tc.waiting(t, fake, give, stderr)
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
				said, err := io.ReadAll(stderr)
				if err != nil {
					t.Fatal(err)
				}
				exit, ok := errors.AsType[*exec.ExitError](cmd.Wait())
				if !ok || exit.ExitCode() != tc.exit || !strings.Contains(string(said), tc.stderr) {
					t.Errorf("inkan ended with %v and %q, want %d and %q", exit, said, tc.exit, tc.stderr)
				}
				left, err := os.ReadDir(dir)
				if err != nil || len(left) != 1 {
					t.Errorf("%v is left, %v; want the pipe alone", left, err)
				}
			})
		}
	}
}

// fillPipe opens a pipe and fills it, so that nobody else can write to it.
func fillPipe(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 4096); err == nil; {
		_, err = unix.Write(fd, b)
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { _ = file.Close() })
}

func TestWatchShowsEachChangeUntilItIsInterrupted(t *testing.T) {
	fake := startFake(t)
	cmd := command(fake, "status", "--watch", "--json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for _, want := range []string{`{"sequence":1,`, `{"sequence":3,`} {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), want) {
			t.Fatalf("got line %q, want %s…", lines.Text(), want)
		}
		if want == `{"sequence":1,` {
			fake.SetTries(10) // a change that shows nowhere
			fake.SetTries(4)
		}
	}
	if !strings.Contains(lines.Text(), `"tries_left":4`) {
		t.Errorf("got %q, want 4 tries", lines.Text())
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if lines.Scan() {
		t.Errorf("got another line %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("watch ended with %v, want 0", err)
	}
}

func TestWatchEndsWhenNobodyCanReadIt(t *testing.T) {
	fake := startFake(t)
	for _, args := range [][]string{{"status", "--watch"}, {"status", "--watch", "--json"}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := command(fake, args...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		exit, ok := errors.AsType[*exec.ExitError](cmd.Run())
		_ = full.Close()
		if !ok || exit.ExitCode() != 1 || !strings.Contains(stderr.String(), "the output cannot be written: the disk is full") {
			t.Errorf("%v ended with %v and %q, want 1 and a full disk", args, exit, stderr.String())
		}
	}
}
