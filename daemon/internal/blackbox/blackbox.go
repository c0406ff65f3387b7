// Package blackbox keeps what support needs of the last minutes: the newest
// lines of the log of inkand, and the newest commands to cards and their
// answers.
//
// It guarantees that both stay small, in memory alone, and that of a command
// or answer nothing is kept that [apdu.Redact] and [apdu.RedactAnswer] leave
// out: it is left out before it is kept, and no slice of a command is held
// after the command was sent. A caller logs no secrets: lines are kept as they
// are.
package blackbox

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/apdu"
)

// Sizes of what is kept.
const (
	maxLines     = 300
	maxExchanges = 400
	maxLine      = 2000 // bytes
)

// Recorder keeps both. Its methods may be used by many goroutines.
type Recorder struct {
	now func() time.Time

	lines, exchanges ring
}

// New returns an empty Recorder; now is the clock of the PC.
func New(now func() time.Time) *Recorder {
	return &Recorder{now: now, lines: ring{most: maxLines}, exchanges: ring{most: maxExchanges}}
}

// Write implements io.Writer for a [slog.TextHandler], which writes each line
// of the log at once. It never fails.
func (r *Recorder) Write(line []byte) (int, error) {
	kept := line[:min(len(line), maxLine)]
	r.lines.add(strings.ToValidUTF8(strings.TrimRight(string(kept), "\n"), "?"))
	return len(line), nil
}

// Log returns the newest lines of the log, oldest first.
func (r *Recorder) Log() []string { return r.lines.all() }

// Exchanges returns the newest commands and their answers, oldest first.
func (r *Recorder) Exchanges() []string { return r.exchanges.all() }

// Card returns a card of which the exchanges are kept, and notes that somebody
// connected to it.
func (r *Recorder) Card(card pcsc.Card, application string) pcsc.Card {
	r.exchange("%s: ATR %s", application, hex.EncodeToString(card.ATR()))
	return &traced{card, r}
}

func (r *Recorder) exchange(format string, args ...any) {
	r.exchanges.add(r.now().UTC().Format("2006-01-02T15:04:05.000Z ") + fmt.Sprintf(format, args...))
}

// traced is a card of which the exchanges are kept.
type traced struct {
	pcsc.Card
	r *Recorder
}

// Transmit implements [pcsc.Card].
func (t *traced) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	// Before it is sent: afterwards the page of a PIN may be gone.
	kept := apdu.Redact(command)
	began := time.Now()
	answer, err := t.Card.Transmit(ctx, command)
	took := time.Since(began).Round(time.Microsecond)
	if err != nil {
		t.r.exchange("> %s < %s (%v)", kept, failure(err), took)
		return answer, err
	}
	t.r.exchange("> %s < %s (%v)", kept, apdu.RedactAnswer(answer), took)
	return answer, nil
}

// Reset implements [pcsc.Card].
func (t *traced) Reset(ctx context.Context) error {
	err := t.Card.Reset(ctx)
	if err != nil {
		t.r.exchange("reset < %s", failure(err))
		return err
	}
	t.r.exchange("reset")
	return nil
}

// failure names an error of a reader. Its text is not kept: it is not ours.
func failure(err error) string {
	for _, known := range []error{
		pcsc.ErrNoService, pcsc.ErrNoReader, pcsc.ErrRemoved, pcsc.ErrReset, pcsc.ErrSharing, pcsc.ErrNoAnswer,
		pcsc.ErrTimeout, pcsc.ErrDenied, pcsc.ErrUnresponsive, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "another error"
}

// ring keeps the newest of what it is given.
type ring struct {
	most int

	mu    sync.Mutex // guards the fields that follow
	kept  []string
	begin int // of the oldest, once kept is full
}

func (r *ring) add(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) < r.most {
		r.kept = append(r.kept, s)
		return
	}
	r.kept[r.begin] = s
	r.begin = (r.begin + 1) % r.most
}

func (r *ring) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(append([]string{}, r.kept[r.begin:]...), r.kept[:r.begin]...)
}
