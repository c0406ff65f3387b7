package rpc

import (
	"context"
	"fmt"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// Diagnose implements inkanpb.StatusServiceServer. Card identities and what
// stands on cards are for those who may see them in a status.
func (v statusService) Diagnose(ctx context.Context, _ *inkanpb.DiagnoseRequest) (*inkanpb.DiagnoseResponse, error) {
	who, _ := peer.FromContext(ctx)
	trusted := v.s.trusted(who)
	resp := &inkanpb.DiagnoseResponse{}
	for _, step := range v.s.cfg.Broker.Diagnose(ctx) {
		out := protoStep(step)
		if !trusted && step.Layer == broker.LayerApplication && step.Problem == nil {
			out.Subject, out.En, out.Ja = "", "", ""
		}
		resp.Steps = append(resp.Steps, out)
	}
	return resp, nil
}

// protoStep converts a step, with the catalogue's words for what is wrong.
func protoStep(step broker.Step) *inkanpb.DiagnoseStep {
	out := &inkanpb.DiagnoseStep{
		Layer: inkanpb.Layer(step.Layer), Result: inkanpb.StepResult(step.Result), Subject: step.Subject,
	}
	if step.Application != "" {
		out.En = fmt.Sprintf("%s, %d keys", step.Application, step.Keys)
		out.Ja = fmt.Sprintf("%s、鍵 %d 個", step.Application, step.Keys)
	}
	if step.Problem != nil {
		reason := catalogue.Find(string(step.Problem.Kind))
		text := func(lang string) string {
			t := catalogue.In(lang, reason, step.Problem.Meta)
			return t.Message + "\n" + t.Next
		}
		out.Code, out.En, out.Ja = catalogue.Code(reason), text("en"), text("ja")
	}
	return out
}
