package promptcmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// install makes a copy of the program that is setgid, as it is packaged.
func install(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: making a file setgid to a group that nobody is in")
	}
	path := filepath.Join(folder(t), "inkan-prompt")
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 0, promptGroup); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o755|os.ModeSetgid); err != nil { // after chown(2), which takes the bit away
		t.Fatal(err)
	}
	return path
}

func TestInkandSeesTheGroupAndThenItIsGone(t *testing.T) {
	path, dir := install(t), folder(t)
	l := listen(t, dir)
	p := start(t, path, filepath.Join(dir, "pin.sock"), asUser)
	_, who := welcome(t, l)
	if who.Uid != someUser || who.Gid != promptGroup || who.Pid != int32(p.cmd.Process.Pid) {
		t.Errorf("the kernel says %+v, want user %d and group %d", who, someUser, promptGroup)
	}
	if id := p.id(); id != "agent-0123456789abcdef" {
		t.Errorf("got id %q", id)
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.cmd.Process.Pid))
	if err != nil || len(threads) == 0 {
		t.Fatal(err)
	}
	for _, thread := range threads {
		status := p.proc("task/" + thread.Name() + "/status")
		if want := fmt.Sprintf("Gid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d\n", someGroup); !strings.Contains(status, want) {
			t.Errorf("thread %s does not have %q:\n%s", thread.Name(), want, status)
		}
	}
	_ = p.life.Close()
	p.ends(0, "")
}

// The user can look into what he runs; not into this, before nor after the
// group is gone.
func TestNobodyOfTheSameUserLooksIntoIt(t *testing.T) {
	path, dir := install(t), folder(t)
	l := listen(t, dir)
	p := start(t, path, filepath.Join(dir, "pin.sock"), asUser)
	welcome(t, l)
	p.id()
	for _, name := range []string{"mem", "environ", "fd"} { // owned by root when a process is not dumpable (proc(5))
		var st unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name), &st); err != nil || st.Uid != 0 {
			t.Errorf("%s belongs to user %d, %v; want root", name, st.Uid, err)
		}
	}
	if limits := p.proc("limits"); !strings.Contains(strings.Join(strings.Fields(limits), " "), "Max core file size 0 0 bytes") {
		t.Errorf("cores are possible:\n%s", limits)
	}
}

func TestTheEnvironmentIsForgottenButForTheLanguage(t *testing.T) {
	path, dir := install(t), folder(t)
	l := listen(t, dir)
	p := start(t, path, filepath.Join(dir, "pin.sock"), func(cmd *exec.Cmd) {
		asUser(cmd)
		cmd.Env = []string{
			"LC_ALL=ja_JP.UTF-8", "LANG=C", "GODEBUG=gctrace=1", "GRPC_GO_LOG_SEVERITY_LEVEL=info", "LD_PRELOAD=/tmp/x.so",
			"INKAN_PIN_SOCKET=/tmp/other.sock", "PATH=/tmp", "HOME=/tmp", "=", "",
		}
	})
	_, who := welcome(t, l)
	if who.Gid != promptGroup {
		t.Errorf("the group is %d after it started itself again, want %d", who.Gid, promptGroup)
	}
	p.id()
	if got := p.proc("environ"); got != "LC_ALL=ja_JP.UTF-8\x00LANG=C\x00" {
		t.Errorf("the environment is %q", got)
	}
	_ = p.life.Close()
	p.ends(0, "")
}

func TestDescriptorsThatItWasNotToldOfAreClosed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: nobody else looks into inkan-prompt")
	}
	dir := folder(t)
	l := listen(t, dir)
	secret, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	p := start(t, binary, filepath.Join(dir, "pin.sock"), func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout = secret, secret
		cmd.ExtraFiles = append(cmd.ExtraFiles, secret, secret, secret)
	})
	welcome(t, l)
	p.id()
	fds := fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)
	entries, err := os.ReadDir(fds)
	if err != nil || len(entries) < 4 {
		t.Fatalf("got %v, %v", entries, err)
	}
	for _, e := range entries {
		if to, _ := os.Readlink(filepath.Join(fds, e.Name())); to == "/dev/zero" {
			t.Errorf("descriptor %s is still open", e.Name())
		}
	}
}

func TestItEndsWithItsParentAndWithInkand(t *testing.T) {
	dir := folder(t)
	l := listen(t, dir)
	p := start(t, binary, filepath.Join(dir, "pin.sock"), nil)
	welcome(t, l)
	p.id()
	_ = p.life.Close()
	p.ends(0, "")

	p = start(t, binary, filepath.Join(dir, "pin.sock"), nil)
	conn, _ := welcome(t, l)
	p.id()
	_ = conn.Close()
	p.ends(1, "inkan-prompt: inkand ended the connection")

	p = start(t, binary, filepath.Join(dir, "pin.sock"), nil)
	welcome(t, l)
	p.id()
	if err := p.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.ends(0, "")
}

func TestItSaysWhyItDoesNotStart(t *testing.T) {
	dir := folder(t)
	p := start(t, binary, filepath.Join(dir, "none.sock"), nil)
	if id := p.id(); id != "" {
		t.Errorf("got id %q without an inkand", id)
	}
	p.ends(1, "inkan-prompt: connecting to the PIN socket: ")

	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	listen(t, dir)
	p = start(t, binary, filepath.Join(dir, "pin.sock"), nil)
	p.ends(1, "the PIN socket is not trusted, no PIN is asked for: "+dir+" can be written to by others")
}

func TestItIsNeverSetuid(t *testing.T) {
	path, dir := install(t), folder(t)
	listen(t, dir)
	if err := os.Chmod(path, 0o755|os.ModeSetgid|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	start(t, path, filepath.Join(dir, "pin.sock"), asUser).ends(1, "installed setuid")
}

func TestAWrongCommandLineIsRefused(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"--help"},
		{"--socket", "pin.sock", "--ready-fd", "3", "--life-fd", "4"},
		{"--socket", "/pin.sock", "--ready-fd", "2", "--life-fd", "4"},
		{"--socket", "/pin.sock", "--ready-fd", "4", "--life-fd", "4"},
		{"--socket", "/pin.sock", "--ready-fd", "3", "--life-fd", "4", "--lang", "fr"},
		{"--socket", "/pin.sock", "--ready-fd", "3", "--life-fd", "4", "more"},
		{"--socket", "/pin.sock", "--ready-fd", "x"},
	} {
		cmd := exec.Command(binary, args...)
		cmd.Env = []string{"LC_ALL=C"}
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.HasPrefix(string(out), "inkan-prompt: ") {
			t.Errorf("%v ended with %v and %q, want 2", args, cmd.ProcessState, out)
		}
	}
	cmd := exec.Command(binary, "--socket", "/pin.sock", "--ready-fd", "30", "--life-fd", "40")
	cmd.Env = []string{"LC_ALL=C"}
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "descriptor 30 was not handed over") {
		t.Errorf("ended with %v and %q, want 1 for descriptors that are not there", cmd.ProcessState, out)
	}
}
