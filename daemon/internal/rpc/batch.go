package rpc

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

type batchStream = grpc.ServerStreamingServer[inkanpb.SignBatchResponse]

// SignBatch implements inkanpb.SigningServiceServer.
func (v signingService) SignBatch(req *inkanpb.SignBatchRequest, stream batchStream) error {
	alg, err := algorithm(req.GetAlgorithm())
	if err != nil {
		return err
	}
	manifest := broker.BatchRequest{Key: token.KeyID(req.GetKeyId()), Algorithm: alg}
	for _, d := range req.GetDocuments() {
		manifest.Documents = append(manifest.Documents, broker.Document{Digest: d.GetDigest(), Name: d.GetName()})
	}
	ctx := stream.Context()
	end, failure, err := v.s.batch(ctx, stream, func(send func(broker.Signed)) (broker.BatchEnd, error) {
		return v.s.cfg.Broker.SignBatch(ctx, asks(ctx, req), manifest, send)
	}, len(manifest.Documents))
	if err == nil {
		err = stream.Send(&inkanpb.SignBatchResponse{What: &inkanpb.SignBatchResponse_End{End: protoEnd(end)}})
	}
	if failure != nil {
		return failure
	}
	return err
}

// batch runs a batch and sends its signatures, so that neither waits for the
// other: a card is not held for a caller that reads slowly.
func (s *Server) batch(ctx context.Context, stream batchStream, run func(send func(broker.Signed)) (broker.BatchEnd, error), documents int) (end broker.BatchEnd, failure, err error) {
	queue, sent := make(chan broker.Signed, documents), make(chan error, 1)
	go func() { sent <- sendSigned(ctx, stream, queue) }()
	defer func() { // also when the batch panics
		close(queue)
		err = <-sent
	}()
	end, failure = run(func(signed broker.Signed) { queue <- signed })
	return end, failure, nil
}

// messageHeader is what gRPC puts before each message of a stream: whether it
// is compressed, and its length.
const messageHeader = 5

// sendSigned sends signatures as they come, and tells when each has left. After
// an error nothing leaves any more.
func sendSigned(ctx context.Context, stream batchStream, queue <-chan broker.Signed) (err error) {
	bytes, number, c := 0, streamOf(ctx), wireOf(ctx)
	for signed := range queue {
		resp := &inkanpb.SignBatchResponse{What: &inkanpb.SignBatchResponse_Signature{Signature: &inkanpb.BatchSignature{
			Index: clamp32(signed.Index), Signature: signed.Signature.Bytes, Record: signed.Signature.Record,
			Warnings: warnings(signed.Signature),
		}}}
		bytes += messageHeader + proto.Size(resp)
		if err == nil && c != nil {
			c.waitPart(&answer{stream: number, bytes: bytes, at: time.Now(), calls: []func(){signed.Left}})
		}
		if err == nil {
			err = stream.Send(resp)
		}
		if err != nil || c == nil {
			signed.Left()
		}
	}
	return err
}

func protoEnd(end broker.BatchEnd) *inkanpb.BatchEnd {
	return &inkanpb.BatchEnd{Done: clamp32(end.Done), Unknown: clamp32(end.Unknown), NotDone: clamp32(end.NotDone)}
}
