// Inkand is the service that owns a PC's card readers; see package daemon.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/inkan-project/inkan/daemon"
)

// version is set by the build.
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := daemon.Main(ctx, version, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
