// Command inkan-configpages writes configuration.md and ja/configuration.md below
// the folder that it is given, out of the Go files of package daemon.
package main

import (
	"fmt"
	"os"

	"github.com/inkan-project/inkan/daemon/internal/configpage"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: inkan-configpages FOLDER (at the top of the source)")
		os.Exit(2)
	}
	if err := configpage.Write("daemon", os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
