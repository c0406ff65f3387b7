// Command inkan-faults breaks inkand on purpose and checks what must hold
// (package faults). It is a tool of developers and is never installed.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/inkan-project/inkan/daemon/faults"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := faults.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
