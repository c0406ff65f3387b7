package ttyprompt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// terminalPath is the terminal that controls this process, whatever stdin is.
const terminalPath = "/dev/tty"

// HaveTerminal reports whether somebody can be asked.
func HaveTerminal() bool {
	fd, err := openTerminal()
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

func openTerminal() (int, error) {
	fd, err := unix.Open(terminalPath, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("opening the terminal: %w", err)
	}
	return fd, nil
}

// PIN implements [client.PINSource].
func (s *Source) PIN(ctx context.Context, p client.Prompt, buf []byte) (int, error) {
	return s.secret(ctx, p, buf)
}

// Secret implements [client.SecretSource].
func (s *Source) Secret(ctx context.Context, p client.Prompt, buf []byte) (int, error) {
	return s.secret(ctx, p, buf)
}

// secret reads a secret unseen. What was just shown is not shown again: Confirm
// comes before the secret, and a new PIN before the same once more.
func (s *Source) secret(ctx context.Context, p client.Prompt, buf []byte) (n int, err error) {
	text := s.promptText(p)
	if p.Confirmation != "" || p.Secret == inkanpb.SecretKind_SECRET_KIND_NEW_PIN_AGAIN {
		text = ""
	}
	err = silently(ctx, text, s.entryText(p), func(r *Reader) error {
		for {
			n, err = readEntry(r, buf)
			if !errors.Is(err, ErrTooLong) {
				return err
			}
			if err := writeAll(r.fd, "\n"+s.say("Too long. Once more: ", "長すぎます。もう一度: ")); err != nil {
				return err
			}
		}
	})
	return n, err
}

// Confirm implements [client.Confirmer]. It takes what was asked for and
// nothing else; the person may try again until the time is over.
func (s *Source) Confirm(ctx context.Context, p client.Prompt) (string, error) {
	err := silently(ctx, s.promptText(p)+s.whyText(p), s.typeText(p), func(r *Reader) error {
		for {
			same, err := readConfirmation(r, p.Confirmation)
			if err != nil || same {
				return err
			}
			if err := writeAll(r.fd, "\n"+s.say("That is not it.", "入力が一致しません。")+"\n"+s.typeText(p)); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return "", err
	}
	return p.Confirmation, nil
}

// Ask asks a question whose answer is no secret, and returns the line that was
// typed. A line of more than 64 bytes is [ErrTooLong].
func Ask(ctx context.Context, question string) (string, error) {
	fd, err := openTerminal()
	if err != nil {
		return "", err
	}
	defer unix.Close(fd) // nothing was buffered
	r, err := NewReader(ctx, fd)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if err := writeAll(fd, question); err != nil {
		return "", err
	}
	line := make([]byte, client.MaxPINLength)
	n, err := r.Line(line)
	return string(line[:n]), err
}

// Show writes to the terminal.
func Show(text string) error {
	fd, err := openTerminal()
	if err != nil {
		return err
	}
	defer unix.Close(fd) // nothing was buffered
	return writeAll(fd, text)
}

// silently shows a text and then the line on which is typed, and lets read
// read what is typed unseen. The terminal's settings are put back before it
// returns, also when ctx ends, as it does on a signal.
func silently(ctx context.Context, text, line string, read func(*Reader) error) error {
	fd, err := openTerminal()
	if err != nil {
		return err
	}
	defer unix.Close(fd) // nothing was buffered
	restore, err := silence(fd, "\n"+line)
	if err != nil {
		return err
	}
	defer restore()
	r, err := NewReader(ctx, fd)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := writeAll(fd, text+line); err != nil {
		return err
	}
	err = read(r)
	if newline := writeAll(fd, "\n"); err == nil {
		err = newline
	}
	return err
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
