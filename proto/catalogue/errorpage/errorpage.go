// Package errorpage writes the error catalogue as pages for people:
// docs/errors.md and docs/ja/errors.md.
//
// It guarantees that the pages say what errors.proto says, in the order of the
// codes, and that each code has an anchor, ink-1001, which errors name in
// their Help. `make generate` calls it; nobody edits the pages.
package errorpage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Write writes both pages below a folder, as errors.md and ja/errors.md.
func Write(folder string) error {
	for language, name := range map[string]string{"en": "errors.md", "ja": filepath.Join("ja", "errors.md")} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // documentation is for everybody
			return fmt.Errorf("making the folder of a page: %w", err)
		}
		if err := os.WriteFile(path, []byte(Page(language)), 0o644); err != nil { //nolint:gosec // documentation is for everybody
			return fmt.Errorf("writing a page: %w", err)
		}
	}
	return nil
}

// Page returns the page of a language, "ja" or any other for English.
func Page(language string) string {
	say := func(en, ja string) string {
		if language == "ja" {
			return ja
		}
		return en
	}
	var b strings.Builder
	b.WriteString("<!-- " + say("Generated from proto/inkan/v1/errors.proto by make generate. Do not edit.",
		"proto/inkan/v1/errors.proto から make generate で生成。編集しないこと。") + " -->\n")
	fmt.Fprintf(&b, "# %s\n\n%s\n", say("Errors", "エラー一覧"), say(introduction, introductionJa))
	thousand := inkanpb.Reason(0)
	for _, r := range catalogue.Reasons() {
		if r/1000 != thousand {
			thousand = r / 1000
			fmt.Fprintf(&b, "\n## %s\n", chapter(say, int(thousand)))
		}
		t := catalogue.In(language, r, placeholders(r))
		fmt.Fprintf(&b, "\n<a id=\"%s\"></a>\n### %s `%s`\n\n%s\n\n", strings.ToLower(catalogue.Code(r)), catalogue.Code(r), catalogue.Name(r), t.Message)
		for _, line := range [][2]string{
			{say("Why", "原因"), t.Cause},
			{say("What to do", "対処"), t.Next},
			{say("Who can help", "相談先"), t.Who},
			{"gRPC", "`" + catalogue.Status(r).String() + "`"},
		} {
			fmt.Fprintf(&b, "- **%s**: %s\n", line[0], line[1])
		}
	}
	return b.String()
}

const introduction = "What Inkan says when something does not work. Codes and names never change their meaning. `inkan explain CODE` says\n" +
	"the same at the terminal. In programs: `google.rpc.ErrorInfo.reason` is the name, its metadata has the values of the\n" +
	"{placeholders}; in Go, `errors.Is(err, client.ErrPINWrong)`. Whether a try of the PIN was spent stands in the text.\n" +
	"日本語: [ja/errors.md](ja/errors.md)."

const introductionJa = "Inkanが表示するエラーの一覧です。コードと名前の意味は変わりません。端末では `inkan explain コード` で同じ説明を表示します。\n" +
	"プログラムでは `google.rpc.ErrorInfo.reason` が名前、そのmetadataが{値}です。暗証番号の残り回数が減ったかどうかは本文にあります。\n" +
	"English: [../errors.md](../errors.md)."

// chapter is the heading of a thousand of codes.
func chapter(say func(en, ja string) string, thousand int) string {
	switch thousand {
	case 1:
		return say("1xxx PIN and unlock code", "1xxx 暗証番号とロック解除コード")
	case 2:
		return say("2xxx Reader, card and certificate", "2xxx リーダ、カード、証明書")
	case 3:
		return say("3xxx Request", "3xxx 要求")
	case 4:
		return say("4xxx Caller", "4xxx 呼出し元")
	case 5:
		return say("5xxx Service", "5xxx サービス")
	}
	return say("6xxx Warnings", "6xxx 警告")
}

// placeholders shows each placeholder of a reason as itself.
func placeholders(r inkanpb.Reason) map[string]string {
	values := map[string]string{}
	for _, name := range catalogue.Placeholders(r) {
		values[name] = "{" + name + "}"
	}
	return values
}
