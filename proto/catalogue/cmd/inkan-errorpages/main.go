// Command inkan-errorpages writes docs/errors.md and docs/ja/errors.md below
// the folder that it is given, out of errors.proto.
package main

import (
	"fmt"
	"os"

	"github.com/inkan-project/inkan/proto/catalogue/errorpage"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: inkan-errorpages FOLDER")
		os.Exit(2)
	}
	if err := errorpage.Write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
