package processtest_test

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/inkan-project/inkan/pcsc/virtual/cardcmd"
)

// asWhat tells the test binary to be another program.
const asWhat = "INKAN_TEST_PROCESS"

// What it can be.
const (
	asCard    = "card"   // the virtual card
	asPrompt  = "prompt" // a program that asks for signatures and gives secrets
	asBurner  = "burner" // a program that gives wrong PINs, on many connections
	exitWrong = 1
)

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	var code int
	switch os.Getenv(asWhat) {
	case asCard:
		code = cardcmd.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	case asPrompt:
		code = promptMain(ctx, os.Args[1:])
	case asBurner:
		code = burnerMain(ctx, os.Args[1:])
	default:
		code = m.Run()
	}
	stop()
	os.Exit(code)
}

// nightly reports whether there is time for everything (docs/testing.md).
func nightly() bool { return os.Getenv("TIER") == "n" }
