package p11_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/token/p11/p11test"
)

// TestTheCageHolds has the module try from within C_Login, when it has all that
// it ever gets, what it must not be able to do.
func TestTheCageHolds(t *testing.T) {
	s := newStand(t, p11test.NewLiar(t))
	forbidden := t.TempDir()
	file := filepath.Join(forbidden, "file")
	if err := os.WriteFile(file, []byte("帳"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("inkan-test-%d", os.Getpid())
	listener, err := net.Listen("unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	s.liar.Put(t, "forbidden", []byte(forbidden))
	s.liar.Put(t, "abstract", []byte(name))
	s.liar.works(t)
	s.liar.Lie(t, "probe:C_Login")
	if o := s.liar.use(t, p11test.PIN); !o.good() {
		t.Fatalf("with the cage tried: %v", o)
	}
	came := map[string][]string{}
	for _, line := range s.liar.Lines(t, "probe") {
		what, word, _ := strings.Cut(line, " ")
		came[what] = append(came[what], word)
	}
	for what, want := range map[string]string{
		// What modules need.
		"unix": "done", "own": "done", "fork": "done", "read": "done", "own-limit": "done", "end": "done",
		// Network.
		"inet": "EAFNOSUPPORT", "inet6": "EAFNOSUPPORT", "netlink": "EAFNOSUPPORT", "packet": "EAFNOSUPPORT",
		"vsock": "EAFNOSUPPORT", "pair": "EAFNOSUPPORT", "abstract": "EPERM", "io_uring": "EPERM",
		// Files.
		"create": "EACCES", "create-above": "EACCES", "mkdir": "EACCES", "write": "EACCES", "truncate": "EACCES",
		"unlink": "EACCES", "link-out": "EACCES", "chmod": "EPERM", "fchmod": "EPERM", "chown": "EPERM", "setxattr": "EPERM",
		// inkand.
		"environ": "EACCES", "mem": "EACCES", "maps": "EACCES", "auxv": "EACCES", "fd": "EACCES",
		"process_vm_readv": "EPERM", "ptrace": "EPERM", "signal": "EPERM", "prlimit": "EPERM",
		"priority": "EPERM", "affinity": "EPERM", "scheduler": "EPERM",
		// Threads of the process that the module did not make.
		"thread-create": "EACCES", "thread-inet": "EAFNOSUPPORT",
		// Outliving the process.
		"setsid": "EPERM", "setpgid": "EPERM", "fork-sibling": "EPERM", "fork-user": "EPERM", "fork-pid": "EPERM", "clone3": "ENOSYS",
	} {
		if len(came[what]) == 0 || slices.ContainsFunc(came[what], func(word string) bool { return word != want }) {
			t.Errorf("%s: %q, want %s", what, came[what], want)
		}
		delete(came, what)
	}
	if len(came) != 0 {
		t.Errorf("tried, and nobody says what is right: %v", came)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "帳" {
		t.Errorf("the file that it must not touch: %q, %v", text, err)
	}
	s.wantDescriptors()
}

// wantDescriptors looks at what a module finds open when it is given a PIN.
func (s *stand) wantDescriptors() {
	s.Helper()
	lines := s.liar.Lines(s.T, "descriptors")
	if len(lines) < 5 {
		s.Errorf("only descriptors %q", lines)
	}
	for _, line := range lines {
		fd, is, _ := strings.Cut(line, " ")
		switch {
		case (fd == "0" || fd == "1" || fd == "2") && is == "/dev/null":
		case fd == "3" && strings.HasPrefix(is, "socket:"): // to inkand
		case strings.HasPrefix(is, "/memfd:opensc.conf"), strings.HasPrefix(is, "/memfd:pin"):
		// Go's own: how many processors it has, and its poller.
		case strings.HasPrefix(is, "/sys/fs/cgroup/"), strings.HasPrefix(is, "anon_inode:[event"):
		default:
			s.Errorf("the module finds descriptor %s open: %s", fd, is)
		}
	}
}

// TestEveryThreadOfAModulesProcessIsConfined asks the kernel.
func TestEveryThreadOfAModulesProcessIsConfined(t *testing.T) {
	s := newStand(t, p11test.NewLiar(t))
	s.liar.works(t)
	threads := 0
	for _, pid := range s.liar.Running(t) {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			threads++
			status, err := os.ReadFile(task)
			if err != nil {
				t.Fatal(err)
			}
			// proc_pid_status(5): a filter, no new privileges, no capabilities.
			for _, want := range []string{"Seccomp:\t2", "NoNewPrivs:\t1", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapInh:\t0000000000000000"} {
				if !strings.Contains(string(status), "\n"+want+"\n") {
					t.Errorf("%s has no %q:\n%s", task, want, status)
				}
			}
		}
		s.wantLimits(pid)
	}
	if threads < 4 {
		t.Errorf("only %d threads looked at", threads)
	}
}

func (s *stand) wantLimits(pid int) {
	s.Helper()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		s.Fatal(err)
	}
	for name, want := range map[string]string{
		"Max core file size": "0", "Max data size": "536870912", "Max file size": "67108864", "Max open files": "256",
	} {
		for line := range strings.Lines(string(limits)) {
			if rest, ok := strings.CutPrefix(line, name); ok {
				if f := strings.Fields(rest); f[0] != want || f[1] != want {
					s.Errorf("%s: %s and %s, want %s", name, f[0], f[1], want)
				}
			}
		}
	}
}
