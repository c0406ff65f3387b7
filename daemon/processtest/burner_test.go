package processtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/inkan-project/inkan/client"
)

// burned is what a burner reports.
type burned struct {
	Given   int            // PINs that inkand asked for and got
	Answers map[string]int // by reason
	Shut    int            // connections that were not let in
}

// burner gives wrong PINs, never the same twice.
type burner struct {
	wanted int64 // so many
	next   atomic.Int64
	given  atomic.Int64

	mu      sync.Mutex // guards answers and shut
	answers map[string]int
	shut    int
}

// burnerMain gives so many wrong PINs on so many connections: arguments are
// socket, card, connections, PINs.
func burnerMain(ctx context.Context, args []string) int {
	connections, err := strconv.Atoi(args[2])
	if err != nil {
		return exitWrong
	}
	wanted, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return exitWrong
	}
	b := &burner{wanted: wanted, answers: map[string]int{}}
	var all sync.WaitGroup
	for range connections {
		all.Go(func() { b.connection(ctx, args[0], args[1]) })
	}
	all.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(burned{int(b.given.Load()), b.answers, b.shut}); err != nil {
		return exitWrong
	}
	return 0
}

// connection asks again and again, until enough PINs were given or it has no
// way to give any.
func (b *burner) connection(ctx context.Context, socket, card string) {
	c, err := client.Dial(ctx, client.Options{Socket: socket, PIN: b, Language: "en"})
	if err != nil {
		b.note("DIAL", true)
		return
	}
	defer c.Close()
	for served := false; b.given.Load() < b.wanted; {
		_, err := c.VerifyPIN(ctx, card)
		reason := fmt.Sprint(err)
		if e, ok := errors.AsType[*client.Error](err); ok {
			reason = strings.TrimPrefix(e.Reason.String(), "REASON_")
		}
		tooMany := errors.Is(err, client.ErrTooManyCalls) // connections; or, once it was served, calls in a second
		shut := errors.Is(err, client.ErrNoPINAgent) || errors.Is(err, client.ErrServiceUnreachable) || tooMany && !served
		served = served || !tooMany
		b.note(reason, shut)
		if shut {
			return
		}
	}
}

func (b *burner) note(reason string, shut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers[reason]++
	if shut {
		b.shut++
	}
}

// PIN implements client.PINSource.
func (b *burner) PIN(_ context.Context, _ client.Prompt, buf []byte) (int, error) {
	b.given.Add(1)
	return copy(buf, fmt.Sprintf("7%07d", os.Getuid()%10*1_000_000+int(b.next.Add(1)))), nil
}
