// Inkan-virtual-card is a virtual card in pcscd's reader; see package cardcmd.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/inkan-project/inkan/pcsc/virtual/cardcmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := cardcmd.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
