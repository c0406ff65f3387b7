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
	raw, err := f.SyscallConn() // Fd would make its writes block for good
	if err != nil {
		return 0, 0
	}
	var size *unix.Winsize
	if controlErr := raw.Control(func(fd uintptr) { size, err = unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ) }); controlErr != nil || err != nil {
		return 0, 0
	}
	width, height = int(size.Col), int(size.Row)
	if width == 0 {
		width = 80
	}
	if height == 0 {
		height = 24
	}
	return width, height
}
