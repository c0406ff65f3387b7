package rpc

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// bundleRecords is how many of the newest records go into a support bundle.
const bundleRecords = 100

// maxPart is the longest part of a support bundle, in bytes.
const maxPart = 1 << 20

// Part is one part of a support bundle.
type Part struct{ Name, Text string }

type adminService struct {
	inkanpb.UnimplementedAdminServiceServer
	s *Server
}

// SupportBundle implements inkanpb.AdminServiceServer.
func (v adminService) SupportBundle(_ *inkanpb.SupportBundleRequest, stream grpc.ServerStreamingServer[inkanpb.SupportBundleResponse]) error {
	ctx := stream.Context()
	var parts []Part
	if v.s.cfg.Support != nil {
		parts = v.s.cfg.Support()
	}
	parts = append(parts, Part{"doctor", v.s.bundleDoctor(ctx)}, Part{"status", v.s.bundleStatus(ctx)}, Part{"records", v.s.bundleRecords(ctx)})
	for _, p := range parts {
		text := strings.ToValidUTF8(p.Text[max(0, len(p.Text)-maxPart):], "") // the newest lines are at the end
		if err := stream.Send(&inkanpb.SupportBundleResponse{Name: p.Name, Text: text}); err != nil {
			return err
		}
	}
	return nil
}

// bundleDoctor is the diagnosis, a step a line.
func (s *Server) bundleDoctor(ctx context.Context) string {
	var b strings.Builder
	for _, step := range s.diagnose(ctx, true) {
		layer := strings.ToLower(strings.TrimPrefix(step.GetLayer().String(), "LAYER_"))
		result := strings.ToLower(strings.TrimPrefix(step.GetResult().String(), "STEP_RESULT_"))
		fmt.Fprintf(&b, "%-12s %-11s %s %s %s\n", layer, result, step.GetCode(), step.GetSubject(), step.GetEn())
	}
	return b.String()
}

// bundleStatus is the status, without the names that stand on cards.
func (s *Server) bundleStatus(ctx context.Context) string {
	status := proto.CloneOf(s.status(ctx, s.cfg.Broker.Status(ctx)))
	for _, c := range status.GetCards() {
		c.Company = leftOut(c.GetCompany())
		for _, cert := range c.GetCertificates() {
			cert.Subject, cert.Company, cert.Holder = leftOut(cert.GetSubject()), leftOut(cert.GetCompany()), leftOut(cert.GetHolder())
			cert.Der = nil
		}
	}
	text, err := protojson.MarshalOptions{Multiline: true}.Marshal(status)
	if err != nil {
		return "status cannot be written: " + err.Error()
	}
	return string(text) + "\n"
}

// leftOut stands for a name, where there is one.
func leftOut(name string) string {
	if name == "" {
		return ""
	}
	return "(left out)"
}

// bundleRecords is the newest records of the log, a line each: what was asked
// and how it ended, not of whom, for what document, by which key.
func (s *Server) bundleRecords(ctx context.Context) string {
	records, _, err := s.cfg.Log.List(ctx, audit.Filter{Limit: bundleRecords, Newest: true})
	if err != nil {
		return "the log cannot be read: " + err.Error() + "\n"
	}
	var b strings.Builder
	for _, r := range records {
		code := ""
		if r.Code != "" {
			code = catalogue.Code(catalogue.Find(r.Code)) + " " + r.Code
		}
		fmt.Fprintf(&b, "%d %s %s %s", r.Sequence, r.Time.UTC().Format(time.RFC3339), r.Kind, r.Operation)
		for name, value := range pairs("outcome", string(r.Outcome), "code", code, "card", string(r.Card), "tries_left", triesText(r), "algorithm", r.Algorithm) {
			fmt.Fprintf(&b, " %s=%q", name, value)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func triesText(r audit.Record) string {
	if n, known := r.Tries.Count(); known {
		return fmt.Sprint(n)
	}
	return ""
}

// pairs yields names and values, those that are not empty.
func pairs(all ...string) func(yield func(name, value string) bool) {
	return func(yield func(string, string) bool) {
		for i := 0; i+1 < len(all); i += 2 {
			if all[i+1] != "" && !yield(all[i], all[i+1]) {
				return
			}
		}
	}
}
