// Command inkan shows IC cards and signs with them, by asking inkand.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/inkan-project/inkan/client/cli"
)

// version is set when a release is built (-ldflags "-X main.version=…").
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := cli.Main(ctx, version, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
