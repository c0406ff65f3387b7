package rpc

import (
	"context"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/daemon/internal/policy"
	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

type auditService struct {
	inkanpb.UnimplementedAuditServiceServer
	s *Server
}

// List implements inkanpb.AuditServiceServer. Who is no auditor sees the
// records of the own uid.
func (v auditService) List(ctx context.Context, req *inkanpb.ListRequest) (*inkanpb.ListResponse, error) {
	after, err := pageStart(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	filter := audit.Filter{After: after, Limit: int(req.GetPageSize()), Newest: req.GetNewest() && req.GetPageToken() == ""}
	who, _ := peer.FromContext(ctx)
	if !v.s.cfg.Policy.Roles(subject(who)).Has(policy.RoleAuditor) {
		filter.UID = &who.UID
	}
	records, more, err := v.s.cfg.Log.List(ctx, filter)
	if err != nil {
		return nil, err
	}
	resp := &inkanpb.ListResponse{}
	for _, r := range records {
		resp.Records = append(resp.Records, protoRecord(r))
	}
	whole := len(resp.Records)
	if filter.Newest {
		slices.Reverse(resp.Records)
	}
	resp.Records = fitting(resp.Records)
	if filter.Newest {
		slices.Reverse(resp.Records)
	} else if more || len(resp.Records) < whole {
		resp.NextPageToken = strconv.FormatUint(resp.Records[len(resp.Records)-1].GetSequence(), 10)
	}
	return resp, nil
}

// maxPage is the size of a page of records, in bytes: well below the 4 MiB that
// gRPC clients take, although one record may have 8 KiB.
const maxPage = 2 << 20

// fitting returns the records from the first on that fit a page, at least one.
func fitting(records []*inkanpb.Record) []*inkanpb.Record {
	size := 0
	for i, r := range records {
		if size += proto.Size(r); size > maxPage && i > 0 {
			return records[:i]
		}
	}
	return records
}

// protoRecord converts a record of the log.
func protoRecord(r audit.Record) *inkanpb.Record {
	kinds := map[audit.Kind]inkanpb.RecordKind{
		audit.KindStart: inkanpb.RecordKind_RECORD_KIND_START, audit.KindStop: inkanpb.RecordKind_RECORD_KIND_STOP,
		audit.KindIntent: inkanpb.RecordKind_RECORD_KIND_INTENT, audit.KindResult: inkanpb.RecordKind_RECORD_KIND_RESULT,
		audit.KindRefused: inkanpb.RecordKind_RECORD_KIND_REFUSED, audit.KindEvent: inkanpb.RecordKind_RECORD_KIND_EVENT,
	}
	out := &inkanpb.Record{
		Sequence: r.Sequence, Time: timestamppb.New(r.Time), Kind: kinds[r.Kind], Operation: r.Operation,
		Intent: r.Intent, Outcome: string(r.Outcome), Pid: r.PID, Program: r.Program,
		CardId: string(r.Card), KeyId: string(r.Key), Algorithm: r.Algorithm, Digest: r.Digest,
		DocumentName: r.DocumentName, Virtual: r.Virtual, Detail: r.Detail, Hash: r.Hash[:],
	}
	if r.Code != "" {
		out.Code = catalogue.Code(catalogue.Find(r.Code))
	}
	if r.Request != nil {
		out.RequestId = r.Request.ID
	}
	if r.HasUID {
		out.Uid = &r.UID
	}
	if n, known := r.Tries.Count(); known {
		left := clamp32(n)
		out.TriesLeft = &left
	}
	return out
}
