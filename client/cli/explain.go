package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/words"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain CODE",
		Short: a.say("Explain an error by its code", "エラーコードの意味を表示する"),
		Long: a.say(`Says what an error means, why it happens, what to do and who can help: by its
code (INK-1004 or 1004) or its name (PIN_NO_VERDICT). inkand is not asked.`,
			`エラーの意味、原因、対処、相談先を表示します。コード(INK-1004 または 1004)か
名前(PIN_NO_VERDICT)で指定します。inkandには接続しません。`),
		Example: `  inkan explain INK-1004
  inkan explain pin_wrong --json`,
		ValidArgsFunction: a.completeCodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.started = true
			if len(args) != 1 {
				return usage("inkan explain takes one code, such as INK-1004", "inkan explain にはコードを1つ指定してください(例: INK-1004)")
			}
			return a.explain(args[0])
		},
	}
}

// completeCodes offers codes, or names where one was begun, with what they
// say.
func (a *app) completeCodes(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []cobra.Completion
	for _, e := range client.Explanations(a.lang) {
		for _, word := range []string{e.Code, e.Name} {
			begins := len(begun) > 0 || word == e.Code
			if begins && strings.HasPrefix(strings.ToLower(word), strings.ToLower(begun)) {
				found = append(found, cobra.CompletionWithDesc(word, e.Message))
			}
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) explain(code string) error {
	e, ok := client.Explain(code, a.lang)
	if !ok {
		code = words.Clean(code)
		m := usage(code+" is no error code of Inkan", code+" というInkanのエラーコードはありません")
		m.nextEN = "Codes look like INK-1004, names like PIN_NO_VERDICT. A code of a newer inkand: look at " + client.ErrorsPage("en")
		m.nextJA = "コードは INK-1004、名前は PIN_NO_VERDICT の形です。新しいinkandのコードは " + client.ErrorsPage("ja") + " を参照してください。"
		return m
	}
	if a.json {
		return a.printJSON(explanationToJSON(e.Code), false)
	}
	a.outf("%s %s\n\n", e.Code, e.Name)
	a.printFields([]field{
		{name: a.say("What", "内容"), says: e.Message},
		{name: a.say("Why", "原因"), says: e.Why},
		{name: a.say("What to do", "対処"), says: e.Next},
		{name: a.say("Who can help", "相談先"), says: e.Who},
		{name: a.say("More", "詳細"), says: e.Page},
	})
	return nil
}

// explanationJSON is an entry of the catalogue in --json.
type explanationJSON struct {
	Code    string `json:"code"`
	Reason  string `json:"reason"`
	En      string `json:"en"`
	Ja      string `json:"ja"`
	CauseEn string `json:"cause_en"`
	CauseJa string `json:"cause_ja"`
	NextEn  string `json:"next_en"`
	NextJa  string `json:"next_ja"`
	WhoEn   string `json:"who_en"`
	WhoJa   string `json:"who_ja"`
}

func explanationToJSON(code string) explanationJSON {
	en, _ := client.Explain(code, "en")
	ja, _ := client.Explain(code, "ja")
	return explanationJSON{
		Code: en.Code, Reason: en.Name, En: en.Message, Ja: ja.Message, CauseEn: en.Why, CauseJa: ja.Why,
		NextEn: en.Next, NextJa: ja.Next, WhoEn: en.Who, WhoJa: ja.Who,
	}
}
