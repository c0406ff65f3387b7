// Command inkan-manpages writes the manual pages when packages are made.
package main

import (
	"os"

	"github.com/inkan-project/inkan/client/cli/manpage"
)

func main() { os.Exit(manpage.Main(os.Args[1:], os.Stderr)) }
