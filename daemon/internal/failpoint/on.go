//go:build faults

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Enabled reports whether this build has failpoints.
const Enabled = true

// Variables of the environment that say where the process dies.
const (
	// atVariable is a point and the time at which it is hit, "signed" or
	// "signed:3".
	atVariable = "INKAN_FAILPOINT"
	// traceVariable names a file to which each point that is hit is added.
	traceVariable = "INKAN_FAILPOINT_TRACE"
)

var hits atomic.Int64 // of the armed point

// Hit is the moment p: where it is armed the process is killed, as by kill -9.
func Hit(p Point) {
	trace(p)
	if at, nth := armed(); p == at && hits.Add(1) == nth {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal needs a moment
	}
}

// Await waits for ever where somebody else is about to be killed, as [Armed]
// said of their point before both began: so that one half of a barrier is done
// and the other is not.
func Await(armed bool) {
	if armed {
		select {}
	}
}

// Armed reports whether the next Hit of p kills.
func Armed(p Point) bool {
	at, nth := armed()
	return p == at && hits.Load() == nth-1
}

func armed() (at Point, nth int64) {
	name, count, given := strings.Cut(os.Getenv(atVariable), ":")
	if !given {
		return Point(name), 1
	}
	nth, err := strconv.ParseInt(count, 10, 64)
	if err != nil || nth < 1 {
		panic(fmt.Sprintf("%s: %q is no count", atVariable, count))
	}
	return Point(name), nth
}

func trace(p Point) {
	path := os.Getenv(traceVariable)
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600) //nolint:gosec // the test that runs us names it
	if err != nil {
		panic(err)
	}
	_, err = f.WriteString(string(p) + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		panic(err)
	}
}

// All returns every point, in the order of a call.
func All() []Point {
	return []Point{
		Accepted, Identified, Allowed, BeforePrompt, Entered, NewEntered, Queued, BeforeConnect, Connected, Selected, TriesRead,
		BeforeIntent, HalfDebit, DebitWritten, DebitAlone, IntentAlone, BeforeSecret, SecretSent, SecretRight, SecretWrong,
		SignSent, Signed, Checked, HalfVerdict, VerdictAlone, ResultAlone, Recorded, CardReset, HalfAnswer,
		StopSet, EventAlone, MarkAlone, EventDone,
	}
}
