package cli

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// mistake is what inkan finds by itself, in both languages.
type mistake struct {
	exit           exitCode
	en, ja         string
	nextEN, nextJA string
	cause          error // for --verbose; may be nil
}

// Error implements error, in English.
func (m *mistake) Error() string { return m.en }

// Unwrap returns the cause.
func (m *mistake) Unwrap() error { return m.cause }

func (m *mistake) text(lang string) (message, next string) {
	if lang == "ja" {
		return m.ja, m.nextJA
	}
	return m.en, m.nextEN
}

// usage is a mistake in the command line.
func usage(en, ja string) *mistake {
	return &mistake{exit: exitUsage, en: en, ja: ja, nextEN: "Run: inkan help", nextJA: "使い方は inkan help で確認してください。"}
}

// ofReason says what the catalogue says; details holds {detail} by language.
func ofReason(reason inkanpb.Reason, details map[string]string) *mistake {
	m := &mistake{exit: exitOfReason(reason)}
	for lang, text := range map[string]struct{ message, next *string }{"en": {&m.en, &m.nextEN}, "ja": {&m.ja, &m.nextJA}} {
		e := client.NewError(reason, lang, map[string]string{"detail": details[lang]})
		*text.message, *text.next = e.Code+" "+e.Message, e.Next
	}
	return m
}

// documentError is that the document cannot be read.
func documentError(path string, err error) *mistake {
	if path == "-" {
		path = "stdin"
	}
	en, ja := causeText(err)
	m := &mistake{
		exit: exitOther, en: "the document " + path + " cannot be read: " + en, nextEN: "Check --in and who may read the file. Nothing was signed.",
		ja: "文書 " + path + " を読めません(" + ja + ")", nextJA: "--in の指定とファイルの権限を確認してください。署名は行われていません。", cause: err,
	}
	if interrupted(err) {
		m.exit = exitNoPIN
	}
	return m
}

// targetError is that the file of --out cannot be made, before it was signed.
func targetError(path string, err error) *mistake {
	en, ja := causeText(err)
	m := &mistake{
		exit: exitOther, en: "the signature cannot be written to " + path + ": " + en, nextEN: "Check --out: the folder must exist, and you must be allowed to write there. Nothing was signed.",
		ja: "署名を " + path + " に書き込めません(" + ja + ")", nextJA: "--out の指定を確認してください(フォルダの有無と書込み権限)。署名は行われていません。", cause: err,
	}
	if interrupted(err) {
		m.exit = exitNoPIN
	}
	return m
}

// signatureLost is that a signature was made and could not be written.
func signatureLost(path string, record uint64, err error) *mistake {
	en, ja := causeText(err)
	number := strconv.FormatUint(record, 10)
	return &mistake{
		exit: exitOther, cause: err,
		en:     "the signature was made (record " + number + ") but could not be written to " + path + ": " + en,
		nextEN: "Make room or choose another --out, then sign again.",
		ja:     "署名は行われましたが(記録 " + number + ")、" + path + " に書き込めませんでした(" + ja + ")",
		nextJA: "空き容量を確保するか --out を変えて、もう一度署名してください。",
	}
}

// outputError is that stdout cannot be written.
func outputError(err error) *mistake {
	en, ja := causeText(err)
	m := &mistake{
		exit: exitOther, en: "the output cannot be written: " + en, nextEN: "Check where the output goes: is the disk full, or the reading program gone?",
		ja: "出力を書き込めません(" + ja + ")", nextJA: "出力先を確認してください(空き容量、読む側のプログラム)。", cause: err,
	}
	if interrupted(err) {
		m.exit = exitNoPIN
	}
	return m
}

func interrupted(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// causeText says a system error in both languages; one that people rarely
// meet stays as the system says it.
func causeText(err error) (en, ja string) {
	switch {
	case interrupted(err):
		return "interrupted", "中断されました"
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file or folder", "ファイルまたはフォルダがありません"
	case errors.Is(err, fs.ErrPermission):
		return "this user may not do that", "このユーザには権限がありません"
	case errors.Is(err, syscall.EISDIR):
		return "it is a folder", "フォルダです"
	case errors.Is(err, syscall.ENOTDIR):
		return "a part of the path is no folder", "パスの途中がフォルダではありません"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "the disk is full", "空き容量がありません"
	case errors.Is(err, syscall.EROFS):
		return "the disk is read-only", "読取り専用のディスクです"
	case errors.Is(err, syscall.EPIPE):
		return "nobody reads it any more", "読む側のプログラムが終了しています"
	case errors.Is(err, syscall.ELOOP):
		return "its links go round in a circle", "リンクが循環しています"
	}
	return err.Error(), err.Error()
}

// unknownCommand is that a command has no subcommand of this name.
func unknownCommand(parent *cobra.Command, name string) *mistake {
	m := usage("unknown command: "+parent.CommandPath()+" "+name, "コマンド "+parent.CommandPath()+" "+name+" はありません")
	// As cobra does by itself for the root only, and over several lines.
	parent.SuggestionsMinimumDistance = 2
	near := parent.SuggestionsFor(name)
	if alike := slices.DeleteFunc(slices.Clone(near), func(s string) bool { return s[:1] != name[:min(1, len(name))] }); len(alike) > 0 {
		near = alike // people hit the first key right
	}
	if len(near) > 0 {
		m.nextEN = "Did you mean: " + strings.Join(near, ", ") + "?"
		m.nextJA = "もしかして: " + strings.Join(near, "、")
	}
	return m
}

// noArguments refuses what stands behind a command that takes flags only.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage(cmd.CommandPath()+" takes no argument: "+args[0], cmd.CommandPath()+" に引数 "+args[0]+" は指定できません")
}

// flagMistake translates what cobra says of flags. Its errors have names for
// their parts, but those are of a module that is not ours to name.
func flagMistake(cmd *cobra.Command, err error) error {
	if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
		return unknownCommand(cmd, words[0]) // its flags are unknown, of course
	}
	var m *mistake
	message := err.Error()
	switch e := err.(type) { //nolint:errorlint // cobra hands them over bare
	case interface{ GetValue() string }: // invalid argument "x" for "--limit" flag: …
		_, rest, _ := strings.Cut(message, `" for "`)
		name, _, _ := strings.Cut(rest, `" flag`)
		m = usage(name+" cannot be "+strconv.Quote(e.GetValue()), name+" に "+strconv.Quote(e.GetValue())+" は指定できません")
		if strings.HasSuffix(name, "--limit") || strings.HasSuffix(name, "--pin-fd") {
			m.en, m.ja = m.en+": it is a number", m.ja+"(数を指定してください)"
		}
	case interface {
		GetSpecifiedName() string
		GetSpecifiedShortnames() string
	}:
		dashed := "--" + e.GetSpecifiedName()
		if e.GetSpecifiedShortnames() != "" {
			dashed = "-" + e.GetSpecifiedName()
		}
		if strings.HasPrefix(message, "flag needs") {
			m = usage(dashed+" needs a value", dashed+" に値を指定してください")
		} else {
			m = usage("unknown flag: "+dashed, "オプション "+dashed+" はありません")
		}
	default:
		m = usage(message, "コマンドの書き方が正しくありません("+message+")")
	}
	m.nextEN, m.nextJA = "Run: "+cmd.CommandPath()+" --help", "使い方は "+cmd.CommandPath()+" --help で確認してください。"
	return m
}

// cobrasMistake translates what cobra found by itself before a command's own
// code began: a command that the root does not have.
func (a *app) cobrasMistake(root *cobra.Command, err error) *mistake {
	if rest, ok := strings.CutPrefix(err.Error(), "unknown command "); ok {
		if quoted, quoteErr := strconv.QuotedPrefix(rest); quoteErr == nil {
			if name, quoteErr := strconv.Unquote(quoted); quoteErr == nil {
				return unknownCommand(root, name)
			}
		}
	}
	return usage(err.Error(), "コマンドの書き方が正しくありません("+err.Error()+")")
}
