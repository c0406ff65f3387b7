package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client"
)

// terminalPath is the terminal that controls this process, whatever stdin is.
const terminalPath = "/dev/tty"

// haveTerminal reports whether somebody can be asked.
func haveTerminal() bool {
	fd, err := unix.Open(terminalPath, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// terminalSource asks the person on the terminal.
type terminalSource struct{ app *app }

// PIN implements [client.PINSource]. The terminal's settings are put back
// before it returns, also when ctx ends, as it does on a signal.
func (s *terminalSource) PIN(ctx context.Context, p client.Prompt, buf []byte) (int, error) {
	fd, err := unix.Open(terminalPath, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("opening the terminal: %w", err)
	}
	defer unix.Close(fd) // nothing was buffered
	restore, err := silence(fd, "\n"+s.app.entryText(p))
	if err != nil {
		return 0, err
	}
	defer restore()
	r, err := newInterruptible(ctx, fd)
	if err != nil {
		return 0, err
	}
	defer r.close()
	if err := writeAll(fd, s.app.promptText(p)); err != nil {
		return 0, err
	}
	for {
		n, err := readEntry(r, buf)
		if errors.Is(err, errTooLong) {
			err = writeAll(fd, "\n"+s.app.say("Too long. Once more: ", "長すぎます。もう一度: "))
			if err == nil {
				continue
			}
		}
		if newline := writeAll(fd, "\n"); err == nil {
			err = newline
		}
		return n, err
	}
}

// silence stops the terminal from showing or interpreting what is typed
// (termios(3)): no echo, bytes as they come, and Ctrl-C as a byte, so that the
// settings can be put back. Output is left as it is.
//
// A shell puts its own settings back while this process is stopped, so they
// are changed again when it goes on; again is then written, to say so.
func silence(fd int, again string) (restore func(), err error) {
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("reading terminal settings: %w", err)
	}
	quiet := *before
	quiet.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	quiet.Cc[unix.VMIN], quiet.Cc[unix.VTIME] = 1, 0
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		signal.Stop(continued)
		return nil, fmt.Errorf("changing terminal settings: %w", err)
	}
	quit := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-continued:
				// Where this fails the terminal is gone, and reading says so.
				_ = unix.IoctlSetTermios(fd, unix.TCSETS, &quiet)
				_ = writeAll(fd, again)
			case <-quit:
				return
			}
		}
	})
	return func() {
		signal.Stop(continued)
		close(quit)
		work.Wait()
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, before)
	}, nil
}

// writeAll writes to a descriptor that os.File does not own.
func writeAll(fd int, s string) error {
	for b := []byte(s); len(b) > 0; {
		n, err := unix.Write(fd, b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("writing to the terminal: %w", err)
		}
		b = b[max(n, 0):]
	}
	return nil
}
