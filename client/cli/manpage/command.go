package manpage

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// Main writes the pages of all programs and returns the exit code:
//
//	inkan-manpages --out DIR --version V --date D [inkand.8=HELP ...]
//
// HELP is a file with the usage text of that program.
func Main(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("inkan-manpages", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "", "folder to write man1, man8 and ja into")
	version := flags.String("version", "", "version")
	date := flags.String("date", "", "date of the source")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *out == "" || *version == "" || *date == "" {
		flags.Usage()
		return 2
	}
	if err := all(*out, Edition{*version, *date}, flags.Args()); err != nil {
		_, _ = fmt.Fprintln(stderr, "inkan-manpages:", err)
		return 1
	}
	return 0
}

func all(out string, e Edition, usages []string) error {
	if err := Inkan(out, e); err != nil {
		return err
	}
	for _, u := range usages {
		page, file, ok := strings.Cut(u, "=")
		if !ok {
			return errors.New("what is " + u + "? NAME.SECTION=FILE is wanted")
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading a usage text: %w", err)
		}
		if err := Usage(out, page, string(text), e); err != nil {
			return err
		}
	}
	return nil
}
