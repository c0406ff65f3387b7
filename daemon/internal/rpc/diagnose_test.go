package rpc

import (
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// aStep is a step of a layer with all that there is to say of a card.
func aStep(layer broker.Layer, result broker.StepResult) broker.Step {
	s := broker.Step{
		Layer: layer, Result: result, Subject: "piv-1", Application: "PIV", Count: 3, Keys: []string{"9c"},
		Until: time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC), PIN: &pinguard.Belief{Left: 4, Limit: 10},
	}
	if result != broker.StepOK {
		s.Problem = token.NewError(token.KindCardStoppedHere, "card", "piv-1")
	}
	return s
}

func TestADiagnosisTellsStrangersNothingOfACard(t *testing.T) {
	for layer := broker.LayerCard; layer <= broker.LayerPIN; layer++ {
		for _, result := range []broker.StepResult{broker.StepOK, broker.StepFailed, broker.StepWarning} {
			step := aStep(layer, result)
			if layer == broker.LayerCard || result != broker.StepOK {
				step.Subject = "a reader" // as the broker says it below the application
			}
			out := forAnyone(step)
			said := protoStep(out).String()
			if strings.Contains(said, "piv-1") || strings.Contains(said, "9c") || strings.Contains(said, "PIV") || strings.Contains(said, "tries") {
				t.Errorf("layer %d, result %d: %s", layer, result, said)
			}
			if layer.AboutCards() && out.Result != broker.StepNotReached {
				t.Errorf("layer %d tells its result %d", layer, out.Result)
			}
		}
	}
}

func TestADiagnosisForStrangersDoesNotSayThatTheLogIsEmpty(t *testing.T) {
	out := protoStepForAnyone(broker.Step{Layer: broker.LayerLog, Result: broker.StepOK, Count: 3})
	if out.GetEn() != "" || out.GetJa() != "" || out.GetResult() != inkanpb.StepResult_STEP_RESULT_OK {
		t.Errorf("says %v", out)
	}
	hidden := protoStepForAnyone(aStep(broker.LayerKeys, broker.StepOK))
	if !strings.HasPrefix(hidden.GetEn(), "shown to signers") || hidden.GetResult() != inkanpb.StepResult_STEP_RESULT_NOT_REACHED {
		t.Errorf("says %v", hidden)
	}
}

func TestEachStepSaysInBothLanguagesWhatWasFoundAndWhatToDo(t *testing.T) {
	for layer, want := range map[broker.Layer][2]string{
		broker.LayerCertificates: {"(9c, valid until ", "(9c、有効期限 "},
		broker.LayerPIN:          {"at most 4 of 10 tries left", "残り回数 最大 4 / 10"},
		broker.LayerLog:          {"3 records", "記録 3 件"},
		broker.LayerKeys:         {"3 keys, signing: 9c", "鍵 3 個(署名用: 9c)"},
	} {
		step := aStep(layer, broker.StepOK)
		step.Application = ""
		if layer != broker.LayerPIN {
			step.PIN = nil
		}
		out := protoStep(step)
		if !strings.HasPrefix(out.GetEn(), want[0]) || !strings.HasPrefix(out.GetJa(), want[1]) || out.GetNextEn() != "" {
			t.Errorf("layer %d says %q, %q, want %q", layer, out.GetEn(), out.GetJa(), want)
		}
	}
	out := protoStep(aStep(broker.LayerPIN, broker.StepFailed))
	if out.GetCode() != "INK-2019" || out.GetNextEn() == "" || out.GetNextJa() == "" || !strings.Contains(out.GetJa(), "使用停止") {
		t.Errorf("a failed step says %v", out)
	}
}
