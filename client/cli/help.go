package cli

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// defaultValue is how cobra's flags say their default.
var defaultValue = regexp.MustCompile(`\(default ([^)]*)\)`)

// helpCommand is `inkan help`, which unlike cobra's fails for what is unknown.
func (a *app) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: a.say("Explain a command", "コマンドの説明を表示する"),
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return unknownCommand(about, rest[0])
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// group makes a command that only holds others.
func (a *app) group(use, en, ja string, subcommands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: a.say(en, ja),
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(subcommands...)
	return cmd
}

// exitCodesTopic is `inkan help exit-codes`.
func (a *app) exitCodesTopic() *cobra.Command {
	var b strings.Builder
	for _, e := range exitCodes() {
		fmt.Fprintf(&b, "  %2d  %s\n", e.code, a.say(e.en, e.ja))
	}
	return &cobra.Command{
		Use:   "exit-codes",
		Short: a.say("What the exit codes mean", "終了コードの意味"),
		Long:  a.say("Exit codes of inkan; they never change:\n\n", "inkan の終了コード(変わることはありません):\n\n") + strings.TrimRight(b.String(), "\n"),
	}
}

// help writes what a command is, and how it is used.
func (a *app) help(cmd *cobra.Command, _ []string) {
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	a.outf("%s\n", strings.TrimSpace(about))
	if cmd.Runnable() || cmd.HasSubCommands() {
		a.outf("\n%s", a.usageText(cmd))
	}
}

// usageText says how a command is used: in the caller's language, which
// cobra's own templates cannot.
func (a *app) usageText(cmd *cobra.Command) string {
	var b strings.Builder
	heading := func(en, ja string) { fmt.Fprintf(&b, "\n%s\n", a.say(en, ja)) }
	fmt.Fprintf(&b, "%s\n", a.say("Usage:", "使い方:"))
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "  %s %s\n", cmd.CommandPath(), a.say("[command]", "[コマンド]"))
	} else {
		line := strings.NewReplacer("[flags]", a.say("[flags]", "[オプション]"), "[command]", a.say("[command]", "[コマンド]")).Replace(cmd.UseLine())
		fmt.Fprintf(&b, "  %s\n", line)
	}
	if cmd.HasExample() {
		heading("Examples:", "例:")
		fmt.Fprintf(&b, "%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		heading("Available Commands:", "コマンド:")
		listCommands(&b, cmd, func(c *cobra.Command) bool { return c.IsAvailableCommand() || c.Name() == "help" })
	}
	if cmd.HasAvailableLocalFlags() {
		heading("Flags:", "オプション:")
		b.WriteString(a.flagUsages(cmd.LocalFlags().FlagUsages()))
	}
	if cmd.HasAvailableInheritedFlags() {
		heading("Global Flags:", "共通のオプション:")
		b.WriteString(a.flagUsages(cmd.InheritedFlags().FlagUsages()))
	}
	if cmd.HasHelpSubCommands() {
		heading("Additional help topics:", "そのほかの説明:")
		listCommands(&b, cmd, (*cobra.Command).IsAdditionalHelpTopicCommand)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, a.say("\nUse \"%s [command] --help\" for more information about a command.\n",
			"\nコマンドの説明は \"%s [コマンド] --help\" で表示します。\n"), cmd.CommandPath())
	}
	return b.String()
}

func (a *app) flagUsages(text string) string {
	return defaultValue.ReplaceAllString(text, a.say("(default $1)", "(省略時は $1)"))
}

// listCommands lists the subcommands that fit, all lists of a help in the same
// columns.
func listCommands(b *strings.Builder, cmd *cobra.Command, fits func(*cobra.Command) bool) {
	for _, c := range cmd.Commands() {
		if fits(c) {
			fmt.Fprintf(b, "  %-14s  %s\n", c.Name(), c.Short)
		}
	}
}
