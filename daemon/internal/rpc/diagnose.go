package rpc

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/peer"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// Diagnose implements inkanpb.StatusServiceServer. Card identities and what
// stands on cards are for those who may see them in a status.
func (v statusService) Diagnose(ctx context.Context, _ *inkanpb.DiagnoseRequest) (*inkanpb.DiagnoseResponse, error) {
	who, _ := peer.FromContext(ctx)
	return &inkanpb.DiagnoseResponse{Steps: v.s.diagnose(ctx, v.s.trusted(who))}, nil
}

func (s *Server) diagnose(ctx context.Context, trusted bool) []*inkanpb.DiagnoseStep {
	var steps []*inkanpb.DiagnoseStep
	hidden := map[broker.Layer]bool{}
	for _, step := range s.cfg.Broker.Diagnose(ctx) {
		if !trusted {
			if step.Layer.AboutCards() && hidden[step.Layer] {
				continue
			}
			hidden[step.Layer] = true
		}
		out := protoStep(step)
		if !trusted {
			out = protoStepForAnyone(step)
		}
		if step.Layer == broker.LayerService && s.cfg.Service != nil {
			out.En = "inkand " + s.cfg.Service().GetVersion()
			out.Ja = out.En
		}
		steps = append(steps, out)
	}
	return steps
}

// forAnyone is a step without what stands on cards or says which they are.
func forAnyone(step broker.Step) broker.Step {
	if step.Layer.AboutCards() {
		return broker.Step{Layer: step.Layer, Result: broker.StepNotReached}
	}
	out := broker.Step{Layer: step.Layer, Result: step.Result, Subject: step.Subject, Problem: step.Problem}
	if step.Layer == broker.LayerApplication && step.Problem == nil {
		out.Subject = ""
	}
	if step.Problem != nil && step.Problem.Meta["card"] != "" {
		meta := maps.Clone(step.Problem.Meta)
		meta["card"] = "?"
		out.Problem = &token.Error{Kind: step.Problem.Kind, Meta: meta}
	}
	return out
}

// protoStepForAnyone converts what anyone may see of a step.
func protoStepForAnyone(step broker.Step) *inkanpb.DiagnoseStep {
	out := protoStep(forAnyone(step))
	switch {
	case step.Layer.AboutCards():
		out.En, out.Ja = "shown to signers, helpdesk, administrator and auditor", "署名者、ヘルプデスク、管理者、監査人だけに表示します"
	case step.Layer == broker.LayerLog && step.Problem == nil:
		out.En, out.Ja = "", "" // the number of records is hidden, not 0
	}
	return out
}

// protoStep converts a step, with the catalogue's words for what is wrong.
func protoStep(step broker.Step) *inkanpb.DiagnoseStep {
	en, ja := found(step)
	out := &inkanpb.DiagnoseStep{
		Layer: inkanpb.Layer(step.Layer), Result: inkanpb.StepResult(step.Result), Subject: step.Subject, En: en, Ja: ja,
	}
	if step.Problem == nil {
		return out
	}
	reason := catalogue.Find(string(step.Problem.Kind))
	english, japanese := catalogue.In("en", reason, step.Problem.Meta), catalogue.In("ja", reason, step.Problem.Meta)
	out.Code = catalogue.Code(reason)
	out.En, out.NextEn = strings.TrimSpace(english.Message+" "+en), english.Next
	out.Ja, out.NextJa = japanese.Message+ja, japanese.Next
	return out
}

// found says what a step found, beside what is wrong.
func found(step broker.Step) (en, ja string) {
	switch {
	case step.Application != "":
		return step.Application, step.Application
	case step.Layer == broker.LayerKeys && step.Count > 0:
		return fmt.Sprintf("%s, signing: %s", plural(step.Count, "key"), strings.Join(step.Keys, ", ")),
			fmt.Sprintf("鍵 %d 個(署名用: %s)", step.Count, strings.Join(step.Keys, "、"))
	case step.Layer == broker.LayerCertificates && !step.Until.IsZero():
		until := step.Until.Local().Format(time.DateOnly)
		return fmt.Sprintf("(%s, valid until %s)", strings.Join(step.Keys, ", "), until),
			fmt.Sprintf("(%s、有効期限 %s)", strings.Join(step.Keys, "、"), until)
	case step.Layer == broker.LayerCertificates && len(step.Keys) > 0:
		return "(" + strings.Join(step.Keys, ", ") + ")", "(" + strings.Join(step.Keys, "、") + ")"
	case step.PIN != nil && step.Problem == nil:
		return triesFound(*step.PIN)
	case step.Layer == broker.LayerLog && step.Result == broker.StepOK:
		return plural(step.Count, "record"), "記録 " + strconv.FormatUint(step.Count, 10) + " 件"
	}
	return "", ""
}

func triesFound(b pinguard.Belief) (en, ja string) {
	most, mostJa := "at most ", "最大 "
	if b.Confirmed {
		most, mostJa = "", ""
	}
	return fmt.Sprintf("%s%d of %d tries left", most, b.Left, b.Limit), fmt.Sprintf("残り回数 %s%d / %d", mostJa, b.Left, b.Limit)
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
