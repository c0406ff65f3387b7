package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/words"
)

// app is one run of the command.
type app struct {
	version string
	stdin   io.Reader
	stdout  *stickyWriter
	stderr  io.Writer

	lang      string // "ja" or "en"
	json      bool
	verbose   bool
	socket    string
	pinSocket string

	colours bool // the output is a terminal that shows them
	started bool // a command's own code has begun: errors are no longer cobra's
}

// Main runs inkan with these arguments (without the program's name) and
// returns the exit code. ctx ends a command in order; version is shown by
// `inkan version`.
func Main(ctx context.Context, version string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{
		version: version, stdin: stdin, stdout: &stickyWriter{ctx: ctx, w: stdout}, stderr: stderr,
		lang: languageOf(args), colours: wantsColours(stdout),
	}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(a.stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil && a.stdout.err != nil {
		err = outputError(a.stdout.err)
	}
	if err == nil {
		return int(exitOK)
	}
	if _, ours := errors.AsType[*mistake](err); !ours && !a.started { // cobra's own
		err = a.cobrasMistake(root, err)
	}
	return int(a.report(err))
}

// Commands returns the commands with their help in this language, "ja" or "en",
// for those who write it down elsewhere: manual pages.
func Commands(lang string) *cobra.Command { return (&app{lang: lang}).root() }

// root makes the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "inkan",
		Short: a.say("Sign with a company's IC card", "会社のICカードで署名する"),
		Long: a.say(`Inkan signs with a company's IC card. This command asks inkand, the service that
owns the card; nothing else touches the card.`,
			`Inkan(印鑑)は会社のICカードで署名します。このコマンドは、カードを管理する
サービス inkand に要求を送ります。カードに直接触れるのは inkand だけです。`),
		Example: `  inkan status
  inkan keys
  inkan sign --key 9c --in bid.xml --out bid.sig
  inkan log`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if lang, _ := cmd.Flags().GetString("lang"); lang != "" && lang != "ja" && lang != "en" {
				return usage("--lang is ja or en", "--lang には ja か en を指定してください")
			}
			return nil
		},
	}
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", false, a.say("print JSON", "JSONで出力する"))
	flags.BoolVar(&a.verbose, "verbose", false, a.say("explain errors in both languages, with their cause", "エラーを両方の言語で、原因とともに表示する"))
	flags.StringVar(&a.socket, "socket", "", a.say("`path` of inkand's socket (else INKAN_SOCKET, else "+client.DefaultSocket+")",
		"inkandのソケットの`path`(省略時は INKAN_SOCKET、次に "+client.DefaultSocket+")"))
	flags.StringVar(&a.pinSocket, "pin-socket", "", a.say("`path` of inkand's PIN socket (else INKAN_PIN_SOCKET, else pin.sock beside --socket)",
		"暗証番号用ソケットの`path`(省略時は INKAN_PIN_SOCKET、次に --socket と同じ場所の pin.sock)"))
	flags.String("lang", "", a.say("`language`, ja or en (else from LC_ALL, LC_MESSAGES, LANG)", "言語`language`: ja か en(省略時は LC_ALL、LC_MESSAGES、LANG による)"))
	root.AddCommand(a.statusCommand(), a.keysCommand(), a.signCommand(), a.pinCommand(), a.unlockCommand(), a.acknowledgeCommand(),
		a.cardCommand(), a.certCommand(), a.logCommand(), a.doctorCommand(), a.explainCommand(), a.supportBundleCommand(), a.setupCommand(),
		a.versionCommand(), a.exitCodesTopic())
	flags.BoolP("help", "h", false, a.say("explain the command", "コマンドの説明を表示する"))
	root.SetHelpCommand(a.helpCommand())
	root.SetHelpFunc(a.help)
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		a.outf("%s", a.usageText(cmd))
		return nil
	})
	root.SetFlagErrorFunc(flagMistake)
	root.DisableSuggestions = true // ours have one line
	return root
}

// say chooses the text of the caller's language.
func (a *app) say(en, ja string) string { return words.Say(a.lang, en, ja) }

// outf writes to stdout; Main reports a failure at the end.
func (a *app) outf(format string, args ...any) { _, _ = fmt.Fprintf(a.stdout, format, args...) }

// options say how to reach inkand.
func (a *app) options() client.Options {
	return client.Options{Socket: a.socket, PINSocket: a.pinSocket, Language: a.lang}
}

// run makes the body of a command that talks to inkand without a PIN.
func (a *app) run(body func(ctx context.Context, c *client.Client) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		a.started = true
		c, err := client.Dial(cmd.Context(), a.options())
		if err != nil {
			return err
		}
		defer c.Close() // only read from; nothing can be lost
		return body(cmd.Context(), c)
	}
}

// languageOf finds --lang before the commands are made, since their help is
// in that language too.
func languageOf(args []string) string {
	for i, arg := range args {
		value, joined := strings.CutPrefix(arg, "--lang=")
		if arg == "--lang" && i+1 < len(args) {
			value, joined = args[i+1], true
		}
		if joined && (value == "ja" || value == "en") {
			return value
		}
	}
	return client.EnvLanguage()
}
