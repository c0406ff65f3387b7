package cli

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/inkan-project/inkan/client/internal/words"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// word is an enum's name as JSON and English show it: "stopped_here".
func word(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }

func cardStateWord(s inkanpb.CardState) string { return word(s.String(), "CARD_STATE_") }

func certificateStateWord(s inkanpb.CertificateState) string {
	return word(s.String(), "CERTIFICATE_STATE_")
}

func pinPolicyWord(p inkanpb.PinPolicy) string { return word(p.String(), "PIN_POLICY_") }

// missingWord is the missing layer's name, "" if nothing is missing.
func missingWord(l inkanpb.Layer) string {
	if l == inkanpb.Layer_LAYER_UNSPECIFIED {
		return ""
	}
	return word(l.String(), "LAYER_")
}

func recordKindWord(k inkanpb.RecordKind) string { return word(k.String(), "RECORD_KIND_") }

// forPeople turns a word into the caller's language.
func (a *app) forPeople(w string) string { return words.In(a.lang, w) }

func (a *app) pinTries(p *inkanpb.PinStatus) string {
	return words.Tries(a.lang, int(p.GetTriesLeft()), p != nil && p.TriesLeft != nil, p.GetTriesKnown())
}

// at shows a time as the caller's clock does; empty if there is none.
func at(t *timestamppb.Timestamp, layout string) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Local().Format(layout)
}

// rfc3339 is a time in JSON: UTC, or null.
func rfc3339(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	u := t.AsTime().UTC()
	return &u
}
