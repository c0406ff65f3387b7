package cli_test

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/inkan-project/inkan/client/cli"
	"github.com/inkan-project/inkan/client/cli/promptcmd"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"inkan": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		code := cli.Main(ctx, "v0.0.0-test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}, "inkan-prompt": func() {
		// What the test needs of the environment must not make it start anew.
		environ := slices.DeleteFunc(os.Environ(), func(entry string) bool { return !strings.HasPrefix(entry, "LC_ALL=") })
		code := promptcmd.Main(os.Args, environ, os.Stderr)
		// Under the race detector exit(3) waits a second, and GORACE, which says
		// not to, does not reach this process.
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT_GROUP, uintptr(code), 0, 0)
	}})
}
