// Package clitest runs scripts (testscript) that use inkan as a person does:
// as a process, with a terminal, looking at output and exit codes.
//
// It guarantees each script its own folder, short socket paths, English and
// UTC, whatever the environment. The caller provides the programs, by
// testscript.Main or as a folder of binaries, and something that listens at
// $INKAN_SOCKET: in Setup, or a script starts it, for example
//
//	exec inkand serve --virtual --state $WORK/state --socket $INKAN_SOCKET --pin-socket $INKAN_PIN_SOCKET &inkand&
//	waitsocket $INKAN_SOCKET
//	exec inkan status
//	kill -INT inkand
//	wait inkand
package clitest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Command is a command of scripts.
type Command = func(ts *testscript.TestScript, neg bool, args []string)

// Config says what to run.
type Config struct {
	// Dir holds the scripts, *.txtar.
	Dir string
	// Bin is put in front of PATH; empty if testscript.Main provides inkan.
	Bin string
	// Setup prepares one script, after the environment was made. run is the
	// folder of the sockets. May be nil.
	Setup func(env *testscript.Env, run string) error
	// Commands are added to those of this package.
	Commands map[string]Command
}

// Run runs every script as a subtest. Beside testscript's own there are
//
//	exitcode N program [args...]   run a program that must end with code N
//	waitsocket PATH                wait until somebody listens there
func Run(t *testing.T, c Config) {
	t.Helper()
	commands := map[string]Command{"exitcode": exitCode, "waitsocket": waitSocket}
	for name, command := range c.Commands {
		commands[name] = command
	}
	testscript.Run(t, testscript.Params{
		Dir:  c.Dir,
		Cmds: commands,
		Setup: func(env *testscript.Env) error {
			// A script's own folder may be too long a path for a socket.
			run, err := os.MkdirTemp("", "inkan")
			if err != nil {
				return fmt.Errorf("making a folder for sockets: %w", err)
			}
			env.Defer(func() { _ = os.RemoveAll(run) })
			env.Setenv("RUN", run)
			env.Setenv("INKAN_SOCKET", filepath.Join(run, "inkan.sock"))
			env.Setenv("INKAN_PIN_SOCKET", filepath.Join(run, "pin.sock"))
			env.Setenv("LC_ALL", "C")
			env.Setenv("TZ", "UTC")
			// A program under the race detector otherwise waits a second at its end.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			if c.Bin != "" {
				env.Setenv("PATH", c.Bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			}
			if c.Setup == nil {
				return nil
			}
			return c.Setup(env, run)
		},
	})
}

func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode N program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("running %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%v ended with %d, want %d", args[1:], got, want)
	}
}

func waitSocket(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitsocket PATH")
	}
	late := time.After(20 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		conn, err := net.Dial("unix", args[0])
		if err == nil {
			_ = conn.Close()
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("nobody listens: %v", err)
		}
	}
}
