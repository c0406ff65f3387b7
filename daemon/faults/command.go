package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
)

// Main is the program behind `make faults`; it returns the exit code: 0 if
// everything held, 1 if not, 2 for a wrong command line.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	set := flag.NewFlagSet("inkan-faults", flag.ContinueOnError)
	set.SetOutput(stderr)
	tier := set.String("tier", string(Commit), "how much: c, n or r")
	seed := set.Uint64("seed", 0, "seed of what is random; 0 = another one each time")
	if err := set.Parse(args); err != nil {
		return 2
	}
	if !Tier(*tier).Known() {
		_, _ = fmt.Fprintf(stderr, "inkan-faults: there is no tier %q\n", *tier)
		return 2
	}
	err := RunAll(ctx, Options{Tier: Tier(*tier), Classes: set.Args(), Seed: *seed, Out: stdout})
	if err == nil {
		return 0
	}
	if !errors.Is(err, errViolations) {
		_, _ = fmt.Fprintln(stderr, "inkan-faults:", err)
	}
	return 1
}
