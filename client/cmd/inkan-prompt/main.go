// Command inkan-prompt asks the person at the terminal for inkand: the trusted
// prompt. Programs such as inkan start it.
package main

import (
	"os"

	"github.com/inkan-project/inkan/client/cli/promptcmd"
)

func main() {
	os.Exit(promptcmd.Main(os.Args, os.Environ(), os.Stderr))
}
