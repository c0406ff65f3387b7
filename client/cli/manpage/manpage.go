// Package manpage writes the manual pages of our programs from what the
// programs say of themselves: the commands of inkan, and the usage texts of the
// others. They are made when packages are made; no program carries them.
//
// It guarantees that the same commands make the same bytes, and that what a text
// holds is shown and never taken for a request of roff. The caller says of which
// edition the pages are.
package manpage

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/inkan-project/inkan/client/cli"
)

// Edition is what pages say of themselves.
type Edition struct {
	Version string
	Date    string // of the source, as 2026-11-20
}

// Inkan writes the pages of inkan and all its commands into DIR/man1 and, in
// Japanese, DIR/ja/man1.
func Inkan(dir string, e Edition) error {
	for lang, folder := range map[string]string{"en": "man1", "ja": "ja/man1"} {
		root := cli.Commands(lang)
		w := &writer{dir: filepath.Join(dir, folder), edition: e, words: english}
		if lang == "ja" {
			w.words = japanese
		}
		if err := w.tree(root); err != nil {
			return err
		}
	}
	return nil
}

// Usage writes the page NAME.SECTION, as in "inkand.8", of a program that
// explains itself by this text: a sentence "NAME is ..." or "NAME owns ...",
// then how it is called and, in a paragraph of its own, its exit codes.
func Usage(dir, page, text string, e Edition) error {
	name, ending, _ := strings.Cut(page, ".")
	if len(ending) != 1 || ending < "1" || ending > "8" {
		return fmt.Errorf("%q is not NAME.SECTION", page)
	}
	about, rest, _ := strings.Cut(strings.TrimSpace(text), "\n\n")
	about = strings.Join(strings.Fields(about), " ")
	what, ok := strings.CutPrefix(about, name+" ")
	if !ok {
		return fmt.Errorf("the usage of %s does not begin with its name", name)
	}
	var d document
	d.title(name, int(ending[0]-'0'), e)
	d.heading("NAME")
	fmt.Fprintf(&d, "%s \\- %s\n", escaped(name), escaped(strings.TrimSuffix(what, ".")))
	usage, codes, found := strings.Cut(rest, "Exit codes:")
	d.heading("SYNOPSIS")
	d.text(usage)
	if found {
		d.heading("EXIT STATUS")
		d.text(strings.TrimSpace(codes))
	}
	return write(filepath.Join(dir, "man"+ending), page, d.String())
}

// words are the headings of a language.
type words struct {
	name, synopsis, description, commands, options, common, examples, also string
}

var (
	english  = words{"NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "COMMON OPTIONS", "EXAMPLES", "SEE ALSO"}
	japanese = words{"名前", "書式", "説明", "コマンド", "オプション", "共通のオプション", "例", "関連項目"}
)

type writer struct {
	dir     string
	edition Edition
	words   words
}

// tree writes the page of a command and of those below it.
func (w *writer) tree(cmd *cobra.Command) error {
	if err := write(w.dir, pageName(cmd)+".1", w.page(cmd)); err != nil {
		return err
	}
	for _, below := range cmd.Commands() {
		if below.IsAvailableCommand() && below.Name() != "help" {
			if err := w.tree(below); err != nil {
				return err
			}
		}
	}
	return nil
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func (w *writer) page(cmd *cobra.Command) string {
	var d document
	name := pageName(cmd)
	d.title(name, 1, w.edition)
	d.heading(w.words.name)
	fmt.Fprintf(&d, "%s \\- %s\n", escaped(name), escaped(cmd.Short))
	d.heading(w.words.synopsis)
	fmt.Fprintln(&d, bold(cmd.CommandPath())+escaped(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())))
	d.heading(w.words.description)
	if cmd.Long != "" {
		d.text(cmd.Long)
	} else {
		d.text(cmd.Short)
	}
	var below, also []string
	for _, c := range cmd.Commands() {
		switch {
		case c.IsAdditionalHelpTopicCommand():
			d.heading(strings.ToUpper(c.Short))
			d.text(c.Long)
		case c.IsAvailableCommand() && c.Name() != "help":
			below = append(below, ".TP\n"+bold(c.CommandPath())+"\n"+line(c.Short)+"\n")
			also = append(also, c.CommandPath())
		}
	}
	if len(below) > 0 {
		d.heading(w.words.commands)
		d.WriteString(strings.Join(below, ""))
	}
	flags(&d, w.words.options, cmd.LocalNonPersistentFlags(), cmd.PersistentFlags())
	flags(&d, w.words.common, cmd.InheritedFlags())
	if cmd.HasExample() {
		d.heading(w.words.examples)
		d.verbatim(cmd.Example)
	}
	if cmd.HasParent() {
		also = append([]string{cmd.Parent().CommandPath()}, also...)
	} else {
		also = append(also, "inkand")
	}
	d.heading(w.words.also)
	references(&d, also)
	return d.String()
}

// references names other pages.
func references(d *document, commands []string) {
	for i, c := range commands {
		section, comma := "1", ","
		if c == "inkand" {
			section = "8"
		}
		if i == len(commands)-1 {
			comma = ""
		}
		fmt.Fprintf(d, "%s(%s)%s\n", bold(strings.ReplaceAll(c, " ", "-")), section, comma)
	}
}

// flags lists the options of a command under a heading, if there are any.
func flags(d *document, heading string, sets ...*pflag.FlagSet) {
	var items document
	for _, set := range sets {
		set.VisitAll(func(f *pflag.Flag) {
			if f.Hidden {
				return
			}
			value, meaning := pflag.UnquoteUsage(f)
			word := bold("--" + f.Name)
			if f.Shorthand != "" {
				word = bold("-"+f.Shorthand) + ", " + word
			}
			if value != "" {
				word += " " + italic(value)
			}
			items.item(word, meaning)
		})
	}
	if items.Len() > 0 {
		d.heading(heading)
		d.WriteString(items.String())
	}
}

// write makes a file that everybody may read.
func write(dir, name, text string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a manual is for everybody
		return fmt.Errorf("making a folder of manual pages: %w", err)
	}
	const everybody fs.FileMode = 0o644
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), everybody); err != nil {
		return fmt.Errorf("writing a manual page: %w", err)
	}
	return nil
}
