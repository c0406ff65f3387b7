package client

import (
	"strings"

	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Explanation is what the error catalogue says of one reason.
type Explanation struct {
	Reason inkanpb.Reason
	Code   string // stable, INK-1004
	Name   string // stable, PIN_NO_VERDICT
	// Message says what happened, with "…" for values that only a real case
	// has.
	Message string
	Why     string // why this happens
	Next    string // what to do now
	Who     string // who can help
	Page    string // address of the page that says this
}

// Explain returns what the error catalogue says in a language ("ja" or "en")
// of what a person or a program names: a code such as INK-1004 or 1004, also
// one of [Signature].Warnings, or a name such as PIN_NO_VERDICT, in any case.
// It is false for what this package does not know.
func Explain(codeOrName, language string) (Explanation, bool) {
	r, ok := catalogue.Parse(codeOrName)
	if !ok {
		return Explanation{}, false
	}
	return explain(r, language), true
}

// Explanations returns the whole catalogue in a language, by code.
func Explanations(language string) []Explanation {
	var all []Explanation
	for _, r := range catalogue.Reasons() {
		all = append(all, explain(r, language))
	}
	return all
}

func explain(r inkanpb.Reason, language string) Explanation {
	shown := map[string]string{}
	for _, name := range catalogue.Placeholders(r) {
		shown[name] = "…"
	}
	t := catalogue.In(language, r, shown)
	return Explanation{
		Reason: r, Code: catalogue.Code(r), Name: catalogue.Name(r),
		Message: strings.TrimSpace(t.Message), Why: t.Cause, Next: t.Next, Who: t.Who, Page: catalogue.Page(language, r),
	}
}

// ErrorsPage returns the address of the pages that explain all errors.
func ErrorsPage(language string) string {
	page, _, _ := strings.Cut(catalogue.Page(language, inkanpb.Reason_REASON_UNSPECIFIED), "#")
	return page
}
