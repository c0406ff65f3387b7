package clientfake

import (
	"google.golang.org/grpc"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// SupportBundle implements AdminService: two parts, the second with what a
// terminal would obey.
func (s *Server) SupportBundle(_ *inkanpb.SupportBundleRequest, stream grpc.ServerStreamingServer[inkanpb.SupportBundleResponse]) error {
	if answer := s.next("SupportBundle"); answer != nil {
		_, err := answer(stream.Context(), nil)
		return err
	}
	for _, p := range []*inkanpb.SupportBundleResponse{{Name: "versions", Text: "inkand v0.0.0-fake\n"}, {Name: "log of inkand", Text: "one\n\x1b[31mtwo"}} {
		if err := stream.Send(p); err != nil {
			return err
		}
	}
	return nil
}
