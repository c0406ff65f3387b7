package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// terminalSize returns how many cells and lines the terminal has that w is; 0
// if it is none. One that does not tell has 80 and 24.
func terminalSize(w io.Writer) (width, height int) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	switch {
	case err != nil:
		return 0, 0
	case size.Col == 0 || size.Row == 0:
		return 80, 24
	}
	return int(size.Col), int(size.Row)
}
