//go:build !linux

package cli

import "io"

// terminalSize returns 0, as for what is no terminal.
func terminalSize(io.Writer) (width, height int) { return 0, 0 }
