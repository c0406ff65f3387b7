// Package catalogue reads the error catalogue out of errors.proto, the one
// source of codes, reasons and texts, for both ends of the wire.
//
// It guarantees that both ends say the same words. A caller hands in the
// values for the placeholders of a text, as they stand in
// google.rpc.ErrorInfo.metadata.
package catalogue

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Domain is google.rpc.ErrorInfo.domain of inkand's errors.
const Domain = "inkan"

// Text is one error in one language.
type Text struct {
	Message string // what happened and what it means for the card
	Cause   string // why this happens
	Next    string // the next step
	Who     string // who can help, whoever can do most first
}

// Code returns the stable code that people see, INK-1001.
func Code(r inkanpb.Reason) string { return fmt.Sprintf("INK-%04d", int32(r)) }

// Name returns google.rpc.ErrorInfo.reason, PIN_WRONG.
func Name(r inkanpb.Reason) string { return strings.TrimPrefix(r.String(), "REASON_") }

// Find returns the reason of this name, REASON_UNSPECIFIED for a name that
// this version does not know.
func Find(name string) inkanpb.Reason {
	return inkanpb.Reason(inkanpb.Reason_value["REASON_"+name])
}

// Status returns the canonical gRPC code of a reason.
func Status(r inkanpb.Reason) codes.Code {
	return codes.Code(entry(r).GetGrpcCode())
}

// In returns the text of a reason in a language, "ja" or any other for
// English, with its placeholders filled.
func In(language string, r inkanpb.Reason, values map[string]string) Text {
	t := entry(r)
	if language == "ja" {
		values = japanese(values)
		return Text{
			Message: fill(t.GetJa(), values), Cause: t.GetCauseJa(), Next: fill(t.GetNextJa(), values), Who: who(language, t.GetWho()),
		}
	}
	return Text{
		Message: fill(t.GetEn(), values), Cause: t.GetCauseEn(), Next: fill(t.GetNextEn(), values), Who: who(language, t.GetWho()),
	}
}

// who says in words who can help.
func who(language string, helpers []inkanpb.Helper) string {
	var all []string
	for _, h := range helpers {
		t, _ := proto.GetExtension(h.Descriptor().Values().ByNumber(h.Number()).Options(), inkanpb.E_HelperText).(*inkanpb.HelperText)
		if language == "ja" {
			all = append(all, t.GetJa())
		} else {
			all = append(all, t.GetEn())
		}
	}
	if language == "ja" {
		return strings.Join(all, "、")
	}
	return strings.Join(all, "; ")
}

// Reasons returns all reasons that this version knows, by number.
func Reasons() []inkanpb.Reason {
	values := inkanpb.Reason(0).Descriptor().Values()
	all := make([]inkanpb.Reason, 0, values.Len())
	for i := range values.Len() {
		if n := values.Get(i).Number(); n != 0 {
			all = append(all, inkanpb.Reason(n))
		}
	}
	slices.Sort(all)
	return all
}

// Parse finds the reason that a person writes: INK-1004, 1004, PIN_NO_VERDICT,
// in any case. It is false for what this version does not know.
func Parse(text string) (inkanpb.Reason, bool) {
	upper := strings.ToUpper(strings.TrimSpace(text))
	number, err := strconv.ParseInt(strings.TrimPrefix(upper, "INK-"), 10, 32)
	r := inkanpb.Reason(number)
	if err != nil {
		r = Find(strings.ReplaceAll(strings.TrimPrefix(upper, "REASON_"), "-", "_"))
	}
	if r == inkanpb.Reason_REASON_UNSPECIFIED || entry(r) == nil {
		return inkanpb.Reason_REASON_UNSPECIFIED, false
	}
	return r, true
}

// Page returns the address of the page that explains a reason in a language.
func Page(language string, r inkanpb.Reason) string {
	page := "docs/errors.md"
	if language == "ja" {
		page = "docs/ja/errors.md"
	}
	return "https://github.com/inkan-project/inkan/blob/main/" + page + "#" + anchor(r)
}

// anchor is what a page calls the part about a reason.
func anchor(r inkanpb.Reason) string { return strings.ToLower(Code(r)) }

// japanese returns values for a Japanese text: where there are two of a kind,
// "detail" and "detail_ja", it takes the second.
func japanese(values map[string]string) map[string]string {
	own := maps.Clone(values)
	for name, v := range values {
		if of, ok := strings.CutSuffix(name, "_ja"); ok {
			own[of] = v
		}
	}
	return own
}

// Placeholders returns the names of the placeholders in the texts of a reason.
func Placeholders(r inkanpb.Reason) []string {
	t := entry(r)
	var names []string
	for rest := t.GetEn() + t.GetNextEn(); ; {
		_, after, open := strings.Cut(rest, "{")
		name, end, closed := strings.Cut(after, "}")
		if !open || !closed {
			slices.Sort(names)
			return slices.Compact(names)
		}
		names, rest = append(names, name), end
	}
}

// entry returns what errors.proto says of a reason, nil if nothing.
func entry(r inkanpb.Reason) *inkanpb.ErrorText {
	d := r.Descriptor().Values().ByNumber(protoreflect.EnumNumber(r))
	if d == nil {
		return nil
	}
	t, _ := proto.GetExtension(d.Options(), inkanpb.E_ErrorText).(*inkanpb.ErrorText)
	return t
}

// fill puts values into {placeholders}. One that has no value becomes "?": a
// gap in a text must not look like a fact. A part in [[brackets]] is left out
// when any of its placeholders has no value. Values are never filled again.
func fill(template string, values map[string]string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(template, "[[")
		part, after, closed := strings.Cut(rest, "]]")
		if !found || !closed {
			text, _ := fillAll(template, values)
			return b.String() + text
		}
		text, _ := fillAll(before, values)
		b.WriteString(text)
		if text, whole := fillAll(part, values); whole {
			b.WriteString(text)
		}
		template = after
	}
}

// fillAll is fill without brackets; whole reports that each placeholder had a
// value.
func fillAll(template string, values map[string]string) (text string, whole bool) {
	whole = true
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(template, "{")
		b.WriteString(before)
		if !found {
			return b.String(), whole
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return b.String() + "{" + rest, whole
		}
		v, ok := values[name]
		if !ok {
			v, whole = "?", false
		}
		b.WriteString(v)
		template = after
	}
}
