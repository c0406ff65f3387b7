package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// maxValue is the longest value of an error's text, in bytes. Some hold what a
// caller sent. An answer must fit what small clients take as trailers: Python's
// takes 8 KiB of them, and the values stand in it five times.
const maxValue = 300

// toStatus makes the answer for an error: code, ErrorInfo, the text in both
// languages and Help. What is not a [*token.Error] becomes INTERNAL with the
// catalogue's words alone: the cause stays in the service's own log.
func toStatus(err error, lang string) error {
	e, ok := errors.AsType[*token.Error](err)
	if !ok {
		e = token.NewError(token.KindInternal)
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			e = token.NewError(token.KindCallEnded)
		}
	}
	reason := catalogue.Find(string(e.Kind))
	if reason == inkanpb.Reason_REASON_UNSPECIFIED {
		reason = inkanpb.Reason_REASON_INTERNAL
	}
	meta := map[string]string{}
	for name, value := range e.Meta {
		meta[name] = short(value)
	}
	meta["code"] = catalogue.Code(reason)
	text := func(lang string) string {
		t := catalogue.In(lang, reason, meta)
		return t.Message + "\n" + t.Next
	}
	st := status.New(catalogue.Status(reason), fmt.Sprintf("%s %s", catalogue.Code(reason), catalogue.In(lang, reason, meta).Message))
	full, detailErr := st.WithDetails(
		&errdetails.ErrorInfo{Reason: catalogue.Name(reason), Domain: catalogue.Domain, Metadata: meta},
		&errdetails.LocalizedMessage{Locale: "ja", Message: text("ja")},
		&errdetails.LocalizedMessage{Locale: "en", Message: text("en")},
		&errdetails.Help{Links: []*errdetails.Help_Link{
			{Description: catalogue.Code(reason) + " 原因・対処・相談先", Url: catalogue.Page("ja", reason)},
			{Description: catalogue.Code(reason) + ": why, what to do, who can help", Url: catalogue.Page("en", reason)},
		}},
	)
	if detailErr != nil {
		return status.Error(codes.Internal, st.Message())
	}
	return full.Err()
}

// short cuts a value that is too long for an error.
func short(value string) string {
	if len(value) <= maxValue {
		return value
	}
	return strings.ToValidUTF8(value[:maxValue], "") + "…"
}
