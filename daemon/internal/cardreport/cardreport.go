// Package cardreport writes down what can be learned of cards and PKCS#11
// modules without any secret, for a person who has a card that nobody has tried
// with Inkan yet.
//
// It guarantees that it sends no command that could spend a try (no VERIFY, not
// even an empty one, no CHANGE REFERENCE DATA) and calls no C_Login, that modules
// run in processes of their own, and that serial numbers are shortened and
// certificates left out unless asked for. What a module sends to its card by
// itself it does not see: OpenSC's asks for the tries left. A caller must see that
// no inkand runs, and has the readers for itself.
package cardreport

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token/p11"
)

// Config says what to look at. All but Out and Readers may be zero.
type Config struct {
	Out     io.Writer
	Version string      // of this inkand
	System  string      // this computer, in one line
	Readers pcsc.System // of this computer
	// Health says why there are no readers, or nil; nil = nobody knows.
	Health  func() error
	Reader  string        // look only at readers whose name contains it
	Modules []*p11.Module // to be started and asked
	// Serials shows whole serial numbers; Certificates shows certificates, which
	// carry names.
	Serials, Certificates bool
	Timeout               time.Duration // of one command; 0 = ten seconds
}

// defaultTimeout bounds a command; RSA keys are not used, so cards are quick.
const defaultTimeout = 10 * time.Second

// Write writes the report. What cannot be read stands in the report; an error
// means that it could not be written.
func Write(ctx context.Context, cfg Config) error {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	r := &report{Config: cfg}
	r.line(0, "Inkan card report 1, inkand %s, %s", cfg.Version, cfg.System)
	r.line(0, "No PIN was asked for, sent or tried. Read this file before you send it: labels may carry a name.")
	if !cfg.Serials || !cfg.Certificates {
		r.line(0, "Left out: %s.", strings.Join(r.leftOut(), ", "))
	}
	r.line(0, "")
	r.readers(ctx)
	for _, m := range cfg.Modules {
		r.line(0, "")
		r.module(ctx, m)
	}
	r.line(0, "")
	r.line(0, "end of report")
	return r.err
}

// report is a report that is being written.
type report struct {
	Config
	err error // the first one
}

// line writes one line, indented by a number of steps.
func (r *report) line(depth int, format string, args ...any) {
	if r.err == nil {
		_, r.err = fmt.Fprintf(r.Out, strings.Repeat("  ", depth)+format+"\n", args...)
	}
}

func (r *report) leftOut() (all []string) {
	if !r.Serials {
		all = append(all, "serial numbers but for their end (--serials shows them)")
	}
	if !r.Certificates {
		all = append(all, "certificates (--certificates shows them, with the names in them)")
	}
	return all
}

// serial shortens a serial number to what tells two cards on one desk apart.
func (r *report) serial(s string) string {
	const shown = 3
	runes := []rune(s)
	switch {
	case r.Serials || s == "":
		return fmt.Sprintf("%q", s)
	case len(runes) <= 2*shown:
		return fmt.Sprintf("of %d characters", len(runes))
	}
	return fmt.Sprintf("…%s of %d characters", string(runes[len(runes)-shown:]), len(runes))
}
