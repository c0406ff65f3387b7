package promptcmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/cli/ttyprompt"
	"github.com/inkan-project/inkan/client/internal/words"
)

// Exit codes.
const (
	exitOK    = 0
	exitOther = 1
	exitUsage = 2
)

// firstOther is the first descriptor that is none of stdin, stdout and stderr.
const firstOther = 3

// command is what the command line asks for.
type command struct {
	socket          string
	readyFD, lifeFD int
	lang            string
}

// Main runs inkan-prompt and returns its exit code. args and environ are the
// process's own, args with the program's name.
func Main(args, environ []string, stderr io.Writer) int {
	if clean, more := languageOnly(environ); more {
		// What the runtime and the libraries took from the rest is forgotten
		// with this image. The new one has the same group: execve(2) takes it
		// from the file again.
		err := unix.Exec("/proc/self/exe", args, clean)
		complain(stderr, fmt.Errorf("starting again with a clean environment: %w", err))
		return exitOther
	}
	c, err := parse(args[min(1, len(args)):])
	if err != nil {
		complain(stderr, err)
		return exitUsage
	}
	signal.Ignore(unix.SIGPIPE) // the terminal must be put back first
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	if err := c.run(ctx, stderr); err != nil {
		complain(stderr, err)
		return exitOther
	}
	return exitOK
}

func parse(args []string) (command, error) {
	c := command{lang: client.EnvLanguage()}
	flags := flag.NewFlagSet("inkan-prompt", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&c.socket, "socket", "", "")
	flags.IntVar(&c.readyFD, "ready-fd", -1, "")
	flags.IntVar(&c.lifeFD, "life-fd", -1, "")
	flags.StringVar(&c.lang, "lang", c.lang, "")
	err := flags.Parse(args)
	switch {
	case err != nil && !errors.Is(err, flag.ErrHelp):
		return command{}, err
	case err != nil, flags.NArg() > 0, !filepath.IsAbs(c.socket), c.lang != "ja" && c.lang != "en",
		c.readyFD < firstOther, c.lifeFD < firstOther, c.readyFD == c.lifeFD:
		return command{}, errors.New("usage: inkan-prompt --socket /ABSOLUTE/pin.sock --ready-fd N --life-fd N [--lang ja|en]; programs such as inkan start it")
	}
	return c, nil
}

// run serves one parent.
func (c command) run(ctx context.Context, stderr io.Writer) error {
	if err := confine(c.readyFD, c.lifeFD); err != nil {
		return err
	}
	ready, life := os.NewFile(uintptr(c.readyFD), "ready"), os.NewFile(uintptr(c.lifeFD), "life")
	defer ready.Close() // written, or nobody reads it
	conn, err := connect(ctx, c.socket, c.say)
	// Whatever came of it: the group has done what it is for.
	if dropErr := dropGroup(); err == nil {
		err = dropErr
	}
	if err != nil {
		if conn != nil {
			_ = conn.Close() // nothing was sent
		}
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the process, if the parent outlives it
		defer cancel()
		_, _ = io.Copy(io.Discard, life) // to its end: the parent needs no prompt any more
	}()
	return c.serve(ctx, conn, ready, stderr)
}

func (c command) serve(ctx context.Context, conn *net.UnixConn, ready *os.File, stderr io.Writer) error {
	return client.PromptAgent{
		Source: &ttyprompt.Source{Lang: c.lang},
		Welcomed: func(id string) error {
			if _, err := fmt.Fprintln(ready, id); err != nil {
				return fmt.Errorf("telling the agent's id: %w", err)
			}
			return nil
		},
		Failed: func(err error) { complain(stderr, err) },
	}.Serve(ctx, conn)
}

func (c command) say(en, ja string) string { return words.Say(c.lang, en, ja) }

// complain writes a line. When that fails there is nobody to tell.
func complain(stderr io.Writer, err error) {
	_, _ = fmt.Fprintf(stderr, "inkan-prompt: %s\n", words.Clean(err.Error()))
}
