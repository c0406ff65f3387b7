package cli

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/status"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/words"
)

// report writes an error to stderr: what happened, then the next step; with
// --verbose also in the other language and with the cause.
//
// A mistake comes first, wherever in the chain it is: the PIN that could not
// be read explains the call that was cancelled for it.
func (a *app) report(err error) exitCode {
	if m, ok := errors.AsType[*mistake](err); ok {
		a.reportLines(m.text)
		if m.cause != nil && a.verbose {
			a.errf("  (%s)\n", words.Clean(m.cause.Error()))
		}
	} else if e, ok := errors.AsType[*client.Error](err); ok {
		a.reportLines(func(lang string) (string, string) {
			message, next := e.In(lang)
			return e.Code + " " + message, next
		})
		a.reportCause(e)
		if x, ok := errors.AsType[*explained](err); ok {
			for _, why := range x.why {
				a.errf("  (%s)\n", words.Clean(why))
			}
		}
	} else if _, ok := errors.AsType[*exitError](err); !ok {
		a.errf("inkan: %s\n", words.Clean(err.Error()))
	}
	return exitOf(err)
}

// reportCause adds what was wrong on our side when no PIN came; with --verbose
// every cause there is.
func (a *app) reportCause(e *client.Error) {
	for _, cause := range causes(e.Unwrap()) {
		_, fromGRPC := status.FromError(cause)
		if a.verbose || noPINCame(e) && !fromGRPC {
			a.errf("  (%s)\n", words.Clean(cause.Error()))
		}
	}
}

// causes takes joined errors apart.
func causes(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error }) // only this level is taken apart
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, causes(e)...)
	}
	return all
}

// reportLines writes message and next step in the caller's language, then, if
// asked, in the other.
func (a *app) reportLines(text func(lang string) (message, next string)) {
	langs := []string{a.lang}
	if a.verbose {
		other := map[string]string{"ja": "en", "en": "ja"}[a.lang]
		langs = append(langs, other)
	}
	for _, lang := range langs {
		message, next := text(lang)
		a.errf("inkan: %s\n", words.Clean(message))
		if next != "" {
			a.errf("  -> %s\n", words.Clean(next))
		}
	}
}

// warn writes what to know although the command succeeded.
func (a *app) warn(code string) {
	said, ok := client.Explain(code, a.lang)
	if !ok {
		said.Message = a.say("a warning that this version does not know", "この版では説明できない警告です")
	}
	a.errf("inkan: %s %s %s\n", a.say("warning", "警告"), words.Clean(code), said.Message)
	if said.Next != "" {
		a.errf("  -> %s\n", said.Next)
	}
}

// errf writes to stderr. When that fails there is nobody to tell.
func (a *app) errf(format string, args ...any) { _, _ = fmt.Fprintf(a.stderr, format, args...) }
