package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: a.say("Find out what is missing for a signature", "署名に必要なものを順に確認する"),
		Long: a.say(`Checks service, pcscd, reader, card and application, one after the other, and
says what to do about what is missing. No PIN is needed and no try is spent.`,
			`サービス、pcscd、リーダ、カード、アプリケーションを順に確認し、足りないものへの
対処を表示します。暗証番号は不要で、残り回数は減りません。`),
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.started = true
			return a.doctor(cmd.Context())
		},
	}
}

// doctor shows the steps. That inkand does not answer is the first finding,
// not a failure of the command.
func (a *app) doctor(ctx context.Context) error {
	steps, err := a.diagnose(ctx)
	if err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(stepsToJSON(steps), false); err != nil {
			return err
		}
	} else {
		a.printSteps(steps)
	}
	for _, s := range steps {
		if s.GetResult() == inkanpb.StepResult_STEP_RESULT_FAILED {
			return &exitError{exitOfReason(reasonOf(s.GetCode()))}
		}
	}
	return nil
}

func (a *app) diagnose(ctx context.Context) ([]*inkanpb.DiagnoseStep, error) {
	c, err := client.Dial(ctx, a.options())
	if e, ok := errors.AsType[*client.Error](err); ok && errors.Is(err, client.ErrServiceUnreachable) {
		step := &inkanpb.DiagnoseStep{
			Layer: inkanpb.Layer_LAYER_SERVICE, Result: inkanpb.StepResult_STEP_RESULT_FAILED, Code: e.Code,
		}
		en, enNext := e.In("en")
		ja, jaNext := e.In("ja")
		step.En, step.Ja = en+"\n"+enNext, ja+"\n"+jaNext
		return []*inkanpb.DiagnoseStep{step}, nil
	}
	if err != nil {
		return nil, err
	}
	defer c.Close() // only read from; nothing can be lost
	return c.Diagnose(ctx)
}

func (a *app) printSteps(steps []*inkanpb.DiagnoseStep) {
	var rows [][]string
	for _, s := range steps {
		found, next, _ := strings.Cut(a.say(s.GetEn(), s.GetJa()), "\n")
		rows = append(rows, []string{a.layerWord(s.GetLayer()), a.resultWord(s.GetResult()), s.GetSubject(), strings.TrimSpace(s.GetCode() + " " + found)})
		if next != "" {
			rows = append(rows, []string{"", "", "", "-> " + next})
		}
	}
	a.printTable([]string{a.say("LAYER", "層"), a.say("RESULT", "結果"), a.say("WHAT", "対象"), a.say("FOUND", "内容")}, rows)
}

func (a *app) layerWord(l inkanpb.Layer) string {
	switch l {
	case inkanpb.Layer_LAYER_SERVICE:
		return a.say("service", "サービス")
	case inkanpb.Layer_LAYER_PCSCD:
		return "pcscd"
	case inkanpb.Layer_LAYER_READER:
		return a.say("reader", "リーダ")
	case inkanpb.Layer_LAYER_CARD:
		return a.say("card", "カード")
	case inkanpb.Layer_LAYER_APPLICATION:
		return a.say("application", "アプリケーション")
	default:
		return word(l.String(), "LAYER_")
	}
}

func (a *app) resultWord(r inkanpb.StepResult) string {
	switch r {
	case inkanpb.StepResult_STEP_RESULT_OK:
		return "OK"
	case inkanpb.StepResult_STEP_RESULT_FAILED:
		return a.say("problem", "要対応")
	case inkanpb.StepResult_STEP_RESULT_WARNING:
		return a.say("note", "注意")
	case inkanpb.StepResult_STEP_RESULT_NOT_REACHED:
		return a.say("not reached", "未確認")
	default:
		return word(r.String(), "STEP_RESULT_")
	}
}

// stepJSON is a step in --json.
type stepJSON struct {
	Layer   string `json:"layer"`
	Result  string `json:"result"`
	Subject string `json:"subject"`
	Code    string `json:"code"`
	En      string `json:"en"`
	Ja      string `json:"ja"`
}

func stepsToJSON(steps []*inkanpb.DiagnoseStep) []stepJSON {
	all := make([]stepJSON, 0, len(steps))
	for _, s := range steps {
		all = append(all, stepJSON{
			Layer: word(s.GetLayer().String(), "LAYER_"), Result: word(s.GetResult().String(), "STEP_RESULT_"),
			Subject: s.GetSubject(), Code: s.GetCode(), En: s.GetEn(), Ja: s.GetJa(),
		})
	}
	return all
}
