package clientfake

import (
	"crypto/rand"
	"fmt"

	"google.golang.org/grpc"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// SignBatch implements SigningService. A failure that [Server.FailNext] ordered
// comes when half of the documents are signed.
func (s *Server) SignBatch(q *inkanpb.SignBatchRequest, stream grpc.ServerStreamingServer[inkanpb.SignBatchResponse]) error {
	var failure error
	if answer := s.next("SignBatch"); answer != nil {
		_, failure = answer(stream.Context(), q)
	}
	k, err := s.key(q.GetKeyId())
	if err != nil {
		return err
	}
	var names []string
	for _, d := range q.GetDocuments() {
		names = append(names, d.GetName())
	}
	if k.Proto.GetPinPolicy() != inkanpb.PinPolicy_PIN_POLICY_NEVER {
		if err := s.usePIN(stream.Context(), question{purpose: "sign", label: k.Proto.GetLabel(), documents: names}); err != nil {
			return err
		}
	}
	all := len(q.GetDocuments())
	done := all
	if failure != nil {
		done = all / 2
	}
	for i, d := range q.GetDocuments()[:done] {
		_, opts := options(q.GetAlgorithm())
		signature, err := k.Private.Sign(rand.Reader, d.GetDigest(), opts)
		if err != nil {
			return fmt.Errorf("signing: %w", err)
		}
		record := s.record(&inkanpb.Record{
			Kind: inkanpb.RecordKind_RECORD_KIND_RESULT, Operation: "sign-batch", Outcome: "OK", KeyId: q.GetKeyId(),
			Algorithm: q.GetAlgorithm().String(), Digest: d.GetDigest(), DocumentName: d.GetName(),
		})
		s.mu.Lock()
		warnings := s.warnings
		s.mu.Unlock()
		err = stream.Send(&inkanpb.SignBatchResponse{What: &inkanpb.SignBatchResponse_Signature{Signature: &inkanpb.BatchSignature{
			Index: uint32(i), Signature: signature, Record: record, Warnings: warnings,
		}}})
		if err != nil {
			return err
		}
	}
	end := &inkanpb.BatchEnd{Done: uint32(done), NotDone: uint32(all - done)}
	if err := stream.Send(&inkanpb.SignBatchResponse{What: &inkanpb.SignBatchResponse_End{End: end}}); err != nil {
		return err
	}
	return failure
}
