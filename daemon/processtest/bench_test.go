package processtest_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

const (
	patience    = time.Minute // the longest that anything may take
	signerGroup = "users"     // exists on every Debian system (base-passwd)
)

// bench is a pcscd, a card in a process of its own, and an inkand.
type bench struct {
	*testing.T
	dir    string // every user can look into it
	pcscd  *pcsctest.PCSCD
	self   string // path of this program, which inkand trusts
	inkand *process
}

// config is what a test may set; the rest is as on a PC.
type config struct {
	memory  string // pin.memory
	program bool   // pin.program_source
	more    string // behind all else
}

func newBench(t *testing.T) *bench {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: other processes' memory is read, and other users call")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "inkan-process") // short: a socket's path has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &bench{T: t, dir: dir, self: self, pcscd: pcsctest.Start(t, pcsctest.Options{})}
	b.check(errors.Join(os.Chmod(dir, 0o755), os.Mkdir(b.path("cores"), 0o755)))
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) check(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// insert makes a card with these secrets and puts it in, in a process of its
// own. What it is given before it is run goes through no other process.
func (b *bench) insert(pin, code string) (cardID string) {
	b.Helper()
	card, err := pivcard.Open(pivcard.Options{Dir: b.path("card"), Keys: map[pivcard.Slot]pivcard.KeyType{
		pivcard.SlotAuthentication: pivcard.P256, pivcard.SlotSignature: pivcard.P256, pivcard.SlotCardAuth: pivcard.P256,
	}})
	b.check(err)
	// SELECT PIV, then CHANGE REFERENCE DATA of PIN and unlock code (SP 800-73-5
	// part 2 sections 3.1.1 and 3.2.2).
	commands := [][]byte{{0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0x00, 0x00, 0x03, 0x08}}
	for _, change := range []struct {
		reference byte
		old, new  string
	}{{0x80, pivcard.DemoPIN + "\xFF\xFF", pin}, {0x81, pivcard.DemoUnlockCode, code}} {
		if change.new != "" && change.new != change.old {
			commands = append(commands, append([]byte{0x00, 0x24, 0x00, change.reference, 0x10}, change.old+change.new...))
		}
	}
	for _, command := range commands {
		if answer := card.Transmit(command); len(answer) < 2 || answer[len(answer)-2] != 0x90 {
			b.Fatalf("the new card answers % X to % X", answer, command[:4])
		}
	}
	cardID = "piv-" + hex.EncodeToString(card.GUID())
	b.check(card.Close())
	log, err := os.Create(b.path("card.log"))
	b.check(err)
	b.Cleanup(func() { _ = log.Close() })
	b.pcscd.StartInside(log, "env", asWhat+"="+asCard, b.self, "--state", b.path("card"), "--vpcd", b.pcscd.Reader("Inkan Test").Address())
	return cardID
}

// truth is what the card saw.
func (b *bench) truth() pivcard.Truth {
	b.Helper()
	truth, err := pivcard.ReadTruth(b.path("card"))
	b.check(err)
	return truth
}

// serve starts inkand and waits until it knows the card. Core dumps are asked
// for, which it must not give.
func (b *bench) serve(program, cardID string, c config) {
	b.Helper()
	text := fmt.Sprintf("state_dir = %q\nsocket = %q\nsigner_group = %q\nallow_virtual = true\n[pin]\ntrusted_agents = [%q]\nprogram_source = %v\n",
		b.path("state"), b.path("inkan.sock"), signerGroup, b.self, c.program)
	if c.memory != "" {
		text += fmt.Sprintf("memory = %q\n", c.memory)
	}
	text += "[card]\nidle = \"300ms\"\n" + c.more
	b.check(os.WriteFile(b.path("inkan.toml"), []byte(text), 0o600))
	cmd := b.pcscd.Command(context.WithoutCancel(b.Context()), "sh", "-c", `ulimit -c unlimited; exec "$@"`, "sh",
		program, "serve", "--config", b.path("inkan.toml"), "--ready-fd", "3", "--verbose")
	cmd.Env = append(cmd.Env, "GOTRACEBACK=crash")
	cmd.Dir = b.path("cores")
	log, err := os.OpenFile(b.path("inkand.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	b.check(err)
	defer log.Close()
	ready, announce, err := os.Pipe()
	b.check(err)
	defer ready.Close()
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{announce}
	b.inkand = b.start(cmd)
	b.check(announce.Close())
	if line, err := bufio.NewReader(ready).ReadString('\n'); line != "READY=1\n" {
		b.Fatalf("inkand says %q, %v\n%s", line, err, b.log())
	}
	if cardID != "" {
		b.await(cardID)
	}
}

// log is what inkand wrote.
func (b *bench) log() string {
	text, err := os.ReadFile(b.path("inkand.log"))
	b.check(err)
	return string(text)
}

// await waits until inkand knows a card.
func (b *bench) await(cardID string) *inkanpb.CardStatus {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	c := b.client()
	defer c.Close()
	for u, err := range c.Watch(ctx) {
		if err != nil {
			b.Fatalf("card %s was never seen: %v\n%s", cardID, err, b.log())
		}
		for _, card := range u.Status.GetCards() {
			if card.GetId() == cardID {
				return card
			}
		}
	}
	b.Fatalf("card %s was never seen\n%s", cardID, b.log())
	return nil
}

// procFile is what the kernel says of inkand.
func (b *bench) procFile(name string) string {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", b.inkand.Process.Pid, name))
	b.check(err)
	return string(text)
}

// poll waits until something is so that nobody announces.
func (b *bench) poll(otherwise string, so func() bool) {
	b.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !so(); {
		select {
		case <-tick.C:
		case <-end:
			b.Fatalf("%s\n%s", otherwise, b.log())
		}
	}
}

// client is this process, an administrator who gives no PINs.
func (b *bench) client() *client.Client {
	b.Helper()
	c, err := client.Dial(b.Context(), client.Options{Socket: b.path("inkan.sock"), Language: "en"})
	b.check(err)
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// signer is a user who may sign.
func (b *bench) signer(uid uint32) *syscall.SysProcAttr {
	b.Helper()
	group, err := user.LookupGroup(signerGroup)
	b.check(err)
	gid, err := strconv.ParseUint(group.Gid, 10, 32)
	b.check(err)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uint32(gid)}}
}

// process is a program that ends with the test.
type process struct {
	*exec.Cmd
	exited <-chan struct{}
}

// start starts a program that the kernel kills when this one ends. The kernel
// goes by the thread that started it, so that thread is kept (prctl(2),
// PR_SET_PDEATHSIG).
func (b *bench) start(cmd *exec.Cmd) *process {
	b.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started, exited := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in cmd.ProcessState
		}
	}()
	b.check(<-started)
	p := &process{cmd, exited}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	return p
}

// startSaying starts a program and returns what it writes. A pipe of exec.Cmd
// would be closed as soon as it ends.
func (b *bench) startSaying(cmd *exec.Cmd) (*process, *json.Decoder) {
	b.Helper()
	out, in, err := os.Pipe()
	b.check(err)
	b.Cleanup(func() { _ = out.Close() })
	cmd.Stdout = in
	p := b.start(cmd)
	b.check(in.Close())
	return p, json.NewDecoder(out)
}

// end sends a signal and waits for the end.
func (b *bench) end(p *process, s syscall.Signal) syscall.WaitStatus {
	b.Helper()
	b.check(p.Process.Signal(s))
	select {
	case <-p.exited:
	case <-time.After(patience):
		b.Fatalf("%s did not end on %v", p.Path, s)
	}
	status, ok := p.ProcessState.Sys().(syscall.WaitStatus)
	if !ok {
		b.Fatalf("%T", p.ProcessState.Sys())
	}
	return status
}
