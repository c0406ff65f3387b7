package rpc

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

func TestABrokenFieldIsExplainedInBothLanguagesWithoutPatterns(t *testing.T) {
	s := newServer(t, signers(), nil, time.Now())
	for _, tt := range []struct {
		name   string
		req    proto.Message
		en, ja string
	}{
		{"pattern", &inkanpb.ListRequest{PageToken: "x"}, "page_token contains characters that are not allowed here", "page_token に使えない文字があります"},
		{"limit", &inkanpb.ListRequest{PageSize: 1001}, "page_size is out of range", "page_size が範囲外です"},
		{"empty", &inkanpb.VerifyPinRequest{}, "card_id is too short or empty", "card_id が空か、短すぎます"},
		{"long", &inkanpb.VerifyPinRequest{CardId: "c", RequestId: strings.Repeat("x", 65)}, "request_id is too long", "request_id が長すぎます"},
		{"enum", &inkanpb.SignRequest{KeyId: "k", Algorithm: 99, Digest: []byte{1}}, "algorithm is not one of the allowed values", "algorithm が許可された値ではありません"},
		{"two", &inkanpb.ListRequest{PageSize: 1001, PageToken: "x"}, "; page_token contains", "、page_token に"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, ok := errors.AsType[*token.Error](s.validate(tt.req))
			if !ok || e.Kind != token.KindRequestInvalid {
				t.Fatalf("got %v", e)
			}
			en, ja := e.Meta["detail"], e.Meta["detail_ja"]
			if !strings.Contains(en, tt.en) || !strings.Contains(ja, tt.ja) || strings.ContainsAny(en+ja, "^[$`") {
				t.Errorf("says %q, %q", en, ja)
			}
			for _, phrase := range []string{"breaks its rule", "value must"} {
				if strings.Contains(en, phrase) {
					t.Errorf("says %q", en)
				}
			}
		})
	}
}
