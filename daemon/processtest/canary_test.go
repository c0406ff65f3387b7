package processtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// canaries are all secrets of one run.
type canaries struct {
	pin, wrong, changed, wrongCode, code, unlocked canary
}

func newCanaries() canaries {
	return canaries{
		newCanary("PIN"), newCanary("wrong PIN"), newCanary("new PIN"),
		newCanary("wrong unlock code"), newCanary("unlock code"), newCanary("PIN after unlock"),
	}
}

func (c canaries) search() *search {
	return newSearch(c.pin, c.wrong, c.changed, c.wrongCode, c.code, c.unlocked)
}

// aviary is a bench whose card has canaries for secrets.
type aviary struct {
	*bench
	canaries
	card    string
	cli     string // inkan
	program string // inkand
	config  config
}

// newAviary starts everything. Canaries are chosen that stand nowhere while
// nobody was given one: of digits packed into four bytes some stand in every
// program.
func newAviary(t *testing.T, program, cli, memory string) *aviary {
	t.Helper()
	a := &aviary{bench: newBench(t), program: program, cli: cli, config: config{memory: memory, program: true}}
	a.check(os.Mkdir(a.path("said"), 0o700))
	a.serve(program, "", a.config)
	for range 20 {
		a.canaries = newCanaries()
		if len(a.everywhere()) == 0 {
			a.card = a.insert(a.pin.digits, a.code.digits)
			a.await(a.card)
			return a
		}
	}
	t.Fatal("all digits stand in memory before they were given to anybody: is something wrong with the search?")
	return nil
}

// everywhere looks through inkand and pcscd, and all that they wrote. The card
// and who asks are not looked at: they must know.
func (a *aviary) everywhere() []found {
	a.Helper()
	s := a.search()
	if a.inkand.ProcessState == nil {
		s.memory(a.T, "inkand", a.inkand.Process.Pid)
	}
	s.memory(a.T, "pcscd", a.pcscd.PID())
	for _, dir := range []string{"state", "cores", "said"} {
		s.files(a.T, a.path(dir))
	}
	s.in("inkand.log", 0, []byte(a.log()), 0)
	return s.found
}

// useAll does everything with a secret that can be done.
func (a *aviary) useAll() {
	a.Helper()
	person := a.asker(a.self)
	person.do(order{Do: "sign", Card: a.card, Slot: "9a", PIN: a.pin.digits}, "")
	person.do(order{Do: "verify", Card: a.card, PIN: a.wrong.digits}, "PIN_WRONG")
	person.do(order{Do: "verify", Card: a.card, PIN: a.wrong.digits}, "PIN_KNOWN_WRONG")
	person.do(order{Do: "change", Card: a.card, PIN: a.pin.digits, New: a.changed.digits}, "")
	a.inkan(a.changed.digits, "sign", "--key", "9c", "--in", "/etc/hostname", "--out", a.path("said/signature"), "--pin-fd", "0")
	person.do(order{Do: "unlock", Card: a.card, Code: a.wrongCode.digits, New: a.unlocked.digits}, "UNLOCK_CODE_WRONG")
	person.do(order{Do: "unlock", Card: a.card, Code: a.code.digits, New: a.unlocked.digits}, "")
	person.do(order{Do: "sign", Card: a.card, Slot: "9c", PIN: a.unlocked.digits}, "")
	a.inkan("", "log")
	a.inkan("", "status")
	a.inkan("", "support-bundle", a.path("said/bundle"))
}

// inkan runs inkan with a secret on its standard input, and keeps what it
// writes where it is searched.
func (a *aviary) inkan(secret string, args ...string) {
	a.Helper()
	cmd := exec.CommandContext(a.Context(), a.cli, args...)
	cmd.Env = append(os.Environ(), "INKAN_SOCKET="+a.path("inkan.sock"), "INKAN_PIN_SOCKET="+a.path("pin.sock"))
	cmd.Stdin, cmd.SysProcAttr = strings.NewReader(secret), a.signer(0)
	out, err := cmd.CombinedOutput()
	if err != nil {
		a.Fatalf("inkan %s: %v\n%s", args[0], err, out)
	}
	a.check(os.WriteFile(a.path("said/"+args[0]), out, 0o600))
}

// crashInUse lets inkand crash while it has a PIN and waits for pcscd. It
// returns what was found of the PIN in its memory before.
func (a *aviary) crashInUse() []found {
	a.Helper()
	person := a.asker(a.self)
	person.tell(order{Do: "sign", Card: a.card, Slot: "9a", PIN: a.unlocked.digits, Wait: true})
	if r := person.hear(); !r.Asked {
		a.Fatalf("nobody was asked: %+v", r)
	}
	a.pcscd.Pause()
	before := a.locked()
	person.tell(order{})
	a.poll("inkand never took the PIN", func() bool { return a.locked() > before })
	s := a.search()
	s.memory(a.T, "inkand", a.inkand.Process.Pid)
	a.crash(syscall.SIGABRT)
	a.pcscd.Resume()
	return s.found
}

// locked is how much memory inkand has locked, as the kernel says it
// (proc(5), /proc/pid/status, VmLck).
func (a *aviary) locked() string {
	a.Helper()
	for _, line := range strings.Split(a.procFile("status"), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmLck:"); ok {
			return rest // right-aligned: compares as a number
		}
	}
	a.Fatal("the kernel does not say what is locked")
	return ""
}

// crash ends inkand by a signal that dumps core where that is allowed.
func (a *aviary) crash(s syscall.Signal) {
	a.Helper()
	if status := a.end(a.inkand, s); status.CoreDump() {
		a.Errorf("inkand dumped core on %v", s)
	}
	if !strings.Contains(a.log(), "goroutine ") {
		a.Errorf("inkand wrote no traceback on %v, though it was told to", s)
	}
	if cores, err := filepath.Glob(a.path("cores/*")); err != nil || len(cores) > 0 {
		a.Errorf("%v after %v: %v", cores, s, err)
	}
}

// coresHere makes sure that a core would be dumped here.
func (a *aviary) coresHere() {
	a.Helper()
	cmd := exec.CommandContext(a.Context(), "sh", "-c", "ulimit -c unlimited; kill -ABRT $$")
	cmd.Dir = a.TempDir()
	_ = cmd.Run() // it is killed
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.CoreDump() {
		a.Errorf("a shell dumps no core either (%v): this test shows nothing", cmd.ProcessState)
	}
}
