package clientfake

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// StatusError builds the status that inkand sends for a reason. Pairs are
// names and values of its metadata.
func StatusError(reason inkanpb.Reason, pairs ...string) error {
	metadata := map[string]string{"code": catalogue.Code(reason)}
	for i := 0; i+1 < len(pairs); i += 2 {
		metadata[pairs[i]] = pairs[i+1]
	}
	text := func(language string) *errdetails.LocalizedMessage {
		t := catalogue.In(language, reason, metadata)
		return &errdetails.LocalizedMessage{Locale: language, Message: t.Message + "\n" + t.Next}
	}
	st, err := status.New(catalogue.Status(reason), text("en").GetMessage()).WithDetails(
		&errdetails.ErrorInfo{Reason: catalogue.Name(reason), Domain: catalogue.Domain, Metadata: metadata},
		text("ja"), text("en"),
		&errdetails.Help{Links: []*errdetails.Help_Link{{Description: catalogue.Code(reason), Url: catalogue.Page("en", reason)}}},
	)
	if err != nil {
		return err
	}
	return st.Err()
}
