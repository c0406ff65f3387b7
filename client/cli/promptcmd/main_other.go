//go:build !linux

package promptcmd

import (
	"fmt"
	"io"
)

// Main runs inkan-prompt, which needs Linux.
func Main(_, _ []string, stderr io.Writer) int {
	_, _ = fmt.Fprintln(stderr, "inkan-prompt: works on Linux only")
	return 1
}
