package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// errViolations means that an invariant was broken or a class could not run.
var errViolations = errors.New("not everything held")

// Options says what to run.
type Options struct {
	Tier    Tier
	Classes []string // ids; none = all
	Seed    uint64   // 0 = another one each time
	Out     io.Writer
}

// RunAll runs classes one after the other and prints the scoreboard. Its last
// line is "total: faults=N violations=V seconds=S". The error is nil only if V
// is 0 and every class did what it should.
func RunAll(ctx context.Context, o Options) error {
	classes, err := Find(o.Classes)
	if err != nil {
		return err
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	_, _ = fmt.Fprintf(o.Out, "tier %s, seed %d\n", o.Tier, o.Seed)
	dir, err := os.MkdirTemp("", "inkan-faults")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is in the way of nobody
	armed, release, err := build(ctx, dir)
	if err != nil {
		return err
	}
	began, total := time.Now(), Score{}
	for _, c := range classes {
		s := runClass(ctx, c, o, dir, &Run{Tier: o.Tier, Daemon: armed, Release: release, Log: o.Out})
		_, _ = fmt.Fprintln(o.Out, s)
		total.Faults += s.Faults
		total.Violations += s.Violations
		total.Err = errors.Join(total.Err, s.Err)
	}
	_, _ = fmt.Fprintf(o.Out, "total: faults=%d violations=%d seconds=%.0f\n", total.Faults, total.Violations, time.Since(began).Seconds())
	if total.Violations > 0 || total.Err != nil {
		return errors.Join(errViolations, total.Err)
	}
	return nil
}

func runClass(ctx context.Context, c Class, o Options, dir string, r *Run) Score {
	began := time.Now()
	r.Dir = filepath.Join(dir, c.ID)
	// The seed of a class does not depend on which others are run.
	r.Random = rand.New(rand.NewPCG(o.Seed, uint64(len(c.ID))<<8|uint64(c.ID[len(c.ID)-1]))) //nolint:gosec // faults need no secrecy
	err := os.Mkdir(r.Dir, 0o700)
	if err == nil {
		err = c.Run(ctx, r)
	}
	if err == nil && r.faults == 0 {
		err = errors.New("no fault was injected")
	}
	if err == nil { // what a class that failed left may be looked at
		err = os.RemoveAll(r.Dir)
	}
	return Score{ID: c.ID, Name: c.Name, Faults: r.faults, Violations: len(r.violations), Time: time.Since(began), Err: err}
}

// build makes inkand with and without failpoints.
func build(ctx context.Context, dir string) (armed, release string, err error) {
	armed, release = filepath.Join(dir, "inkand-faults"), filepath.Join(dir, "inkand")
	for path, tags := range map[string]string{armed: "faults", release: ""} {
		c := exec.CommandContext(ctx, "go", //nolint:gosec // the path is of our own making
			"build", "-trimpath", "-buildvcs=false", "-tags", tags, "-o", path,
			"github.com/inkan-project/inkan/daemon/cmd/inkand")
		if out, err := c.CombinedOutput(); err != nil {
			return "", "", fmt.Errorf("building inkand: %w\n%s", err, out)
		}
	}
	return armed, release, nil
}
