package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/words"
)

func (a *app) supportBundleCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "support-bundle FILE",
		Short: a.say("Write a file for those who help from afar", "サポート用の情報をファイルに書き出す"),
		Long: a.say(`Writes a text file with versions, the findings of doctor, status, configuration,
the newest commands to cards, the newest lines of inkand's log and the newest
records. No PIN or code is in it, no name of a holder or document, and nothing
that was signed; read it before you send it. A file that exists is not
overwritten. Only the administrator (root) may do this.`,
			`バージョン、doctor の結果、状態、設定、カードへの最近のコマンド、inkandのログの末尾、
最近の記録を1つのテキストファイルに書き出します。暗証番号やコード、名義人や文書の名前、
署名した内容は含みません。送る前に内容を確認できます。既存のファイルは上書きしません。
管理者(root)だけが実行できます。`),
		Example: "  sudo inkan support-bundle inkan-support.txt",
		RunE: func(cmd *cobra.Command, args []string) error {
			a.started = true
			if len(args) != 1 || args[0] == "" {
				return usage("inkan support-bundle takes one file to write", "inkan support-bundle には書き出すファイルを1つ指定してください")
			}
			return a.supportBundle(cmd.Context(), args[0])
		},
	}
}

// supportBundle writes the bundle. When inkand does not answer, what inkan
// knows by itself is written: that is when people need help.
func (a *app) supportBundle(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return bundleError(path, err)
	}
	failure, err := a.writeBundle(ctx, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(bundleError(path, err), os.Remove(path))
	}
	if failure != nil && !errors.Is(failure, client.ErrServiceUnreachable) {
		return errors.Join(failure, os.Remove(path))
	}
	if failure != nil {
		a.errf("inkan: %s\n", a.say("inkand did not answer: the file has only what inkan knows by itself", "inkandが応答しないため、inkanだけで分かる内容を書き出しました"))
		return errors.Join(failure, a.bundleDone(path))
	}
	return a.bundleDone(path)
}

func (a *app) bundleDone(path string) error {
	if a.json {
		return a.printJSON(struct {
			File string `json:"file"`
		}{path}, false)
	}
	a.outf(a.say("%s: written. Read it before you send it.\n", "%s に書き出しました。送る前に内容を確認してください。\n"), words.Clean(path))
	return nil
}

// writeBundle writes all parts. failure is why inkand did not give its own.
func (a *app) writeBundle(ctx context.Context, f *os.File) (failure, err error) {
	if err := writePart(f, "inkan support bundle", a.bundleHead()); err != nil {
		return nil, err
	}
	c, failure := client.Dial(ctx, a.options())
	if failure != nil {
		_, err := fmt.Fprintf(f, "\ninkand did not answer: %s\n", words.Clean(failure.Error()))
		return failure, err
	}
	defer c.Close() // only read from; nothing can be lost
	for part, failure := range c.SupportBundle(ctx) {
		if failure != nil {
			return failure, nil
		}
		if err := writePart(f, part.Name, part.Text); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// bundleHead is what inkan knows by itself.
func (a *app) bundleHead() string {
	var b strings.Builder
	b.WriteString("No PIN or code is in this file, no name of a holder or document, and nothing that was signed.\n" +
		"暗証番号やコード、名義人や文書の名前、署名した内容は含まれていません。\n\n")
	fmt.Fprintf(&b, "inkan %s, %s %s/%s\n", a.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(&b, "written %s, uid %d, language %s\n", time.Now().UTC().Format(time.RFC3339), os.Getuid(), a.lang)
	for _, name := range []string{"LANG", "LC_ALL", "LC_MESSAGES", "TERM", "INKAN_SOCKET", "INKAN_PIN_SOCKET"} {
		if value, set := os.LookupEnv(name); set {
			fmt.Fprintf(&b, "%s=%s\n", name, value)
		}
	}
	return b.String()
}

// writePart writes one part under its name, safe to show on a terminal.
func writePart(f *os.File, name, text string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "==== %s ====\n", words.Clean(name))
	for line := range strings.Lines(text) {
		b.WriteString(words.Clean(strings.TrimRight(line, "\n")) + "\n")
	}
	b.WriteString("\n")
	_, err := f.WriteString(b.String())
	return err
}

// bundleError is that the file of a bundle cannot be written.
func bundleError(path string, err error) *mistake {
	if errors.Is(err, fs.ErrExist) {
		return &mistake{
			exit: exitOther, en: path + " exists and is not overwritten", nextEN: "Give the name of a new file.",
			ja: path + " はすでにあります。上書きしません", nextJA: "新しいファイル名を指定してください。", cause: err,
		}
	}
	en, ja := causeText(err)
	return &mistake{
		exit: exitOther, en: path + " cannot be written: " + en, nextEN: "Check that the folder exists, that you may write there, and that there is room.",
		ja: path + " に書き込めません(" + ja + ")", nextJA: "フォルダの有無、書込み権限、空き容量を確認してください。", cause: err,
	}
}
