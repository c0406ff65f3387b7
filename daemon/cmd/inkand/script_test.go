package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/inkan-project/inkan/client/cli"
	"github.com/inkan-project/inkan/client/cli/clitest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"inkand": main,
		"inkan": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			code := cli.Main(ctx, "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
			stop()
			os.Exit(code)
		},
	})
}

// TestScripts runs inkand and inkan as processes.
func TestScripts(t *testing.T) {
	clitest.Run(t, clitest.Config{
		Dir:      filepath.Join("testdata", "script"),
		Commands: map[string]clitest.Command{"truth": truth, "flip": flip, "nobody": nobody(forNobody(t))},
	})
}

// forNobody returns the path of an inkan that every user can run: the folder
// of the test binary is for its owner. It is made before the scripts begin,
// for a file that is open for writing in some child cannot be run.
func forNobody(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "inkan-nobody")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(dir, "inkan")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(program, self, 0o755)); err != nil {
		t.Fatal(err)
	}
	return program
}

// truth checks what the virtual card of a state directory saw:
//
//	truth STATE verifies=N left=N signatures=N
func truth(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: truth STATE verifies=N left=N signatures=N")
	}
	saw, err := pivcard.ReadTruth(filepath.Join(ts.MkAbs(args[0]), "virtual-card"))
	ts.Check(err)
	got := []string{
		"verifies=" + strconv.Itoa(saw.Verifies), "left=" + strconv.Itoa(saw.PINLeft),
		"signatures=" + strconv.Itoa(len(saw.Signatures)),
	}
	for i, want := range args[1:] {
		if got[i] != want {
			ts.Fatalf("the card says %v, want %v", got, args[1:])
		}
	}
}

// nobody runs inkan as a user who is in no group of ours, and wants this exit
// code: nobody N [args...]. Only root can do that; others go on without.
func nobody(program string) clitest.Command {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < 2 {
			ts.Fatalf("usage: nobody N args...")
		}
		if os.Getuid() != 0 {
			ts.Logf("not root: %v is not tried as another user", args)
			return
		}
		run := ts.Getenv("RUN")
		ts.Check(os.Chmod(run, 0o755)) // the sockets lie there
		cmd := exec.Command(program, args[1:]...)
		cmd.Env = []string{"INKAN_SOCKET=" + ts.Getenv("INKAN_SOCKET"), "INKAN_PIN_SOCKET=" + ts.Getenv("INKAN_PIN_SOCKET"), "LC_ALL=C"}
		cmd.Dir = run
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{}}}
		out, err := cmd.CombinedOutput()
		if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != args[0] {
			ts.Fatalf("as nobody, %v ended with %s (%v), want %s:\n%s", args[1:], got, err, args[0], out)
		}
		ts.Check(os.WriteFile(ts.MkAbs("nobody.out"), out, 0o600))
	}
}

// flip changes one byte of a file: flip FILE OFFSET.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip FILE OFFSET")
	}
	at, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer func() { ts.Check(f.Close()) }()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	ts.Check(err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b, at)
	ts.Check(err)
}
