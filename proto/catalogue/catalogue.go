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
	Next    string // the next step
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
		return Text{fill(t.GetJa(), values), fill(t.GetNextJa(), values)}
	}
	return Text{fill(t.GetEn(), values), fill(t.GetNextEn(), values)}
}

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
