package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client/internal/words"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Where `inkan setup exclusive` writes, and what tells that pcscd asks polkit.
const (
	exclusiveRule   = "/etc/polkit-1/rules.d/49-inkan-exclusive.rules" // before 50-inkan.rules, which lets inkand in
	exclusiveConfig = "/etc/inkan/inkand.d/49-exclusive.toml"
	pcscdPolicy     = "/usr/share/polkit-1/actions/org.debian.pcsc-lite.policy"
)

// maxReaderName is the longest name of a reader (ReaderStatus.name).
const maxReaderName = 256

func (a *app) setupCommand() *cobra.Command {
	return a.group("setup", "Set up this PC; for its administrator", "このPCの設定(管理者用)", a.setupExclusiveCommand())
}

func (a *app) setupExclusiveCommand() *cobra.Command {
	var off bool
	var root string
	cmd := &cobra.Command{
		Use:   "exclusive [READER]",
		Short: a.say("Let no other program use a reader", "リーダを他のプログラムに使わせない"),
		Long: a.say(`Writes a polkit rule by which pcscd gives the cards of a reader to inkand and to
root alone: nobody else can spend a card's tries. READER is a name that inkan
status shows; without its last two numbers it means all readers of that name.
--off takes it back. Without READER it lists the readers. inkan status shows them
once inkand was started anew.

It needs root, and a pcscd that asks polkit (Debian 13, Fedora; Debian 12's does not).`,
			`リーダのカードを inkand と root だけに使わせるpolkitの規則を書きます。ほかの
プログラムはそのカードの残り回数を減らせなくなります。READER は inkan status に
表示される名前です。末尾の2つの番号を省くと、その名前のリーダすべてを指します。
--off で元に戻します。READER を省くと一覧を表示します。inkand の再起動後は
inkan status にも表示されます。

root権限と、polkitを使う pcscd が必要です(Debian 13、Fedora。Debian 12 は不可)。`),
		Example: `  inkan setup exclusive "ACS ACR39U ICC Reader 00 00"
  inkan setup exclusive --off "ACS ACR39U ICC Reader 00 00"`,
		RunE: func(_ *cobra.Command, args []string) error {
			a.started = true
			set, err := readExclusive(cmp.Or(root, "/"))
			if err != nil {
				return a.setupError(err)
			}
			switch {
			case len(args) > 1:
				return usage("one READER, in quotation marks", "READER は引用符で囲んで1つだけ指定してください")
			case len(args) == 0:
				for _, name := range set.readers {
					a.outf("%s\n", name)
				}
				return nil
			case !readerName(args[0]):
				return usage("that cannot be the name of a reader", "リーダの名前ではありません")
			}
			return a.setExclusive(set, args[0], off)
		},
	}
	cmd.Flags().BoolVar(&off, "off", false, a.say("let other programs use it again", "他のプログラムの使用を再び認める"))
	cmd.Flags().StringVar(&root, "root", "", a.say("`folder` that holds the system, for images", "システムのある`folder`(イメージ作成用)"))
	return cmd
}

// readerName tells what can be the name of a reader.
func readerName(name string) bool {
	return strings.TrimSpace(name) == name && name != "" && len(name) <= maxReaderName && !strings.ContainsFunc(name, unicode.IsControl)
}

func (a *app) setExclusive(set exclusiveReaders, reader string, off bool) error {
	known := slices.Contains(set.readers, reader)
	switch _, err := os.Stat(filepath.Join(set.root, pcscdPolicy)); {
	case off && !known:
		return usage("other programs may use that reader already", "そのリーダは他のプログラムも使用できます")
	case off:
		set.readers = slices.DeleteFunc(set.readers, func(r string) bool { return r == reader })
	case errors.Is(err, fs.ErrNotExist):
		return &mistake{
			exit: exitOther, en: "pcscd on this PC does not ask polkit who may use a reader", nextEN: "Nothing was changed. A pcscd with polkit is needed, as in Debian 13.",
			ja: "このPCの pcscd は、リーダの使用可否をpolkitに問い合わせません", nextJA: "何も変更していません。Debian 13 などの、polkitを使う pcscd が必要です。",
		}
	case err != nil:
		return a.setupError(err)
	case !known:
		set.readers = append(set.readers, reader)
		slices.Sort(set.readers)
	}
	if err := set.write(); err != nil {
		return a.setupError(err)
	}
	name := words.Clean(reader)
	if off {
		a.outf("%s\n", a.say("Other programs may use "+name+" again.", name+" は他のプログラムも使用できます。"))
	} else {
		a.outf("%s\n", a.say("From now on only inkand and root may use "+name+".", "今後 "+name+" を使用できるのは inkand と root だけです。"))
	}
	a.outf("%s\n", a.say("For inkan status to show it: systemctl try-restart inkand", "inkan status への反映: systemctl try-restart inkand"))
	return nil
}

func (a *app) setupError(err error) error {
	en, ja := causeText(err)
	return &mistake{
		exit: exitOther, en: "the setting cannot be read or written: " + en, nextEN: "Run it as root.",
		ja: "設定を読み書きできません(" + ja + ")", nextJA: "rootで実行してください。", cause: err,
	}
}

// exclusiveReaders are the readers of the rule.
type exclusiveReaders struct {
	root    string
	readers []string
}

// listLine is the line of the rule that holds the readers, as JSON.
const listLine = "    var readers = "

// readExclusive reads the readers back from the rule.
func readExclusive(root string) (exclusiveReaders, error) {
	set := exclusiveReaders{root: root}
	text, err := os.ReadFile(filepath.Join(root, exclusiveRule))
	if errors.Is(err, fs.ErrNotExist) {
		return set, nil
	}
	if err != nil {
		return set, err
	}
	for line := range bytes.Lines(text) {
		if list, ok := bytes.CutPrefix(bytes.TrimRight(line, ";\n"), []byte(listLine)); ok {
			if err := json.Unmarshal(list, &set.readers); err != nil {
				return set, fmt.Errorf("%s: %w", exclusiveRule, err)
			}
			return set, nil
		}
	}
	return set, fmt.Errorf("%s was not written by inkan", exclusiveRule)
}

// write writes the rule, then the setting that has status say so; or removes
// both.
func (s exclusiveReaders) write() error {
	list, err := json.Marshal(s.readers) // also a list in TOML: it escapes alike
	if err != nil {
		return err
	}
	rule := `// Written by: inkan setup exclusive. Readers whose cards pcscd gives to inkand
// alone, and to root, whom polkit never refuses.
polkit.addRule(function(action, subject) {
` + listLine + string(list) + `;
    if (action.id != "org.debian.pcsc-lite.access_card" || subject.user == "inkan") {
        return polkit.Result.NOT_HANDLED;
    }
    var reader = String(action.lookup("reader"));
    for (var i = 0; i < readers.length; i++) {
        if (reader == readers[i] || reader.indexOf(readers[i] + " ") == 0) {
            return polkit.Result.NO;
        }
    }
    return polkit.Result.NOT_HANDLED;
});
`
	config := "# Written by: inkan setup exclusive. The rule itself is in " + exclusiveRule + ".\n[card]\nexclusive = " + string(list) + "\n"
	for _, f := range []struct{ path, text string }{{exclusiveRule, rule}, {exclusiveConfig, config}} {
		if err := replace(filepath.Join(s.root, f.path), f.text, len(s.readers) == 0); err != nil {
			return err
		}
	}
	return nil
}

// replace puts a file that everybody may read in its place, or removes it.
func replace(path, text string, remove bool) error {
	if remove {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	const everybody fs.FileMode = 0o644
	temp := path + ".new" // polkit and inkand read no file of that ending
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, everybody)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Chmod(everybody), f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // it says nothing of its own
	}
	return err
}

// exclusivity says whether inkand has a reader alone.
func (a *app) exclusivity(r *inkanpb.ReaderStatus) string {
	switch r.GetExclusivity() {
	case inkanpb.Exclusivity_EXCLUSIVITY_ALONE:
		return a.say(" (for inkand alone)", "(inkand専用)")
	case inkanpb.Exclusivity_EXCLUSIVITY_NOT_ENFORCED:
		return a.say(" (should be for inkand alone, but pcscd does not ask polkit)", "(inkand専用の設定は無効: pcscdがpolkitを使わない)")
	case inkanpb.Exclusivity_EXCLUSIVITY_UNSPECIFIED:
	}
	return ""
}

func exclusivityWord(e inkanpb.Exclusivity) string {
	switch e {
	case inkanpb.Exclusivity_EXCLUSIVITY_ALONE:
		return "alone"
	case inkanpb.Exclusivity_EXCLUSIVITY_NOT_ENFORCED:
		return "not enforced"
	case inkanpb.Exclusivity_EXCLUSIVITY_UNSPECIFIED:
	}
	return ""
}
