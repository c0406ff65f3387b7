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
		Long: a.say(`Checks service, pcscd, reader, card, application, keys, certificates, PIN state,
PIN-try journal and log, one after the other, and says what to do about what is
wrong. No PIN is needed and no try is spent.`,
			`サービス、pcscd、リーダ、カード、アプリケーション、鍵、証明書、暗証番号の状態、
試行記録、記録を順に確認し、問題への対処を表示します。
暗証番号は不要で、残り回数は減りません。`),
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
	if withheld(steps) {
		return &exitError{exitRefused}
	}
	return nil
}

// withheld reports whether steps were not reached though none before them
// failed: inkand does not tell this user of cards, nor sign for him.
func withheld(steps []*inkanpb.DiagnoseStep) bool {
	for _, s := range steps {
		switch s.GetResult() {
		case inkanpb.StepResult_STEP_RESULT_FAILED:
			return false
		case inkanpb.StepResult_STEP_RESULT_NOT_REACHED:
			return true
		default:
		}
	}
	return false
}

func (a *app) diagnose(ctx context.Context) ([]*inkanpb.DiagnoseStep, error) {
	c, err := client.Dial(ctx, a.options())
	if e, ok := errors.AsType[*client.Error](err); ok && errors.Is(err, client.ErrServiceUnreachable) {
		step := &inkanpb.DiagnoseStep{
			Layer: inkanpb.Layer_LAYER_SERVICE, Result: inkanpb.StepResult_STEP_RESULT_FAILED, Code: e.Code,
		}
		en, enNext := e.In("en")
		ja, jaNext := e.In("ja")
		step.En, step.NextEn, step.Ja, step.NextJa = en, enNext, ja, jaNext
		return []*inkanpb.DiagnoseStep{step}, nil
	}
	if err != nil {
		return nil, err
	}
	defer c.Close() // only read from; nothing can be lost
	return c.Diagnose(ctx)
}

// printSteps writes each step with its result and, where something is wrong,
// what to do; then what it comes to.
func (a *app) printSteps(steps []*inkanpb.DiagnoseStep) {
	var rows []field
	one := oneCard(steps)
	last := inkanpb.Layer_LAYER_UNSPECIFIED
	for _, s := range steps {
		name := a.layerWord(s.GetLayer())
		if s.GetLayer() == last {
			name = ""
		}
		last = s.GetLayer()
		says := strings.TrimSpace(s.GetCode() + " " + a.say(s.GetEn(), s.GetJa()))
		subject := s.GetSubject()
		if one && s.GetLayer() > inkanpb.Layer_LAYER_APPLICATION {
			subject = ""
		}
		if subject != "" && says != "" {
			subject += ": "
		}
		rows = append(rows, field{name: name, state: a.resultWord(s.GetResult()), says: subject + says, paint: resultPaint(s.GetResult())})
		if next := a.say(s.GetNextEn(), s.GetNextJa()); next != "" {
			rows = append(rows, field{says: "-> " + next, under: true})
		}
	}
	a.printFields(rows)
	a.outf("\n%s\n", a.comesTo(steps))
}

// oneCard reports whether there is but one card, whose name need not stand in
// each line.
func oneCard(steps []*inkanpb.DiagnoseStep) bool {
	n := 0
	for _, s := range steps {
		if s.GetLayer() == inkanpb.Layer_LAYER_APPLICATION {
			n++
		}
	}
	return n <= 1
}

// comesTo says in one line whether a signature can be made.
func (a *app) comesTo(steps []*inkanpb.DiagnoseStep) string {
	notes := 0
	for _, s := range steps {
		switch s.GetResult() {
		case inkanpb.StepResult_STEP_RESULT_FAILED:
			return a.painted(paintBad, a.say("Not ready: "+a.layerWord(s.GetLayer())+" ("+s.GetCode()+")",
				"署名できません: "+a.layerWord(s.GetLayer())+"("+s.GetCode()+")"))
		case inkanpb.StepResult_STEP_RESULT_WARNING:
			notes++
		default:
		}
	}
	if withheld(steps) {
		return a.painted(paintBad, a.say("Not ready: you may not use this card; members of the group inkan may (ask the administrator of this PC)",
			"署名できません: このユーザにはカードの使用が許可されていません。使用できるのはinkanグループのメンバーです(このPCの管理者に相談してください)"))
	}
	if notes > 0 {
		return a.painted(paintNote, a.say("Ready to sign; see the notes above", "署名できます(上の注意を確認してください)"))
	}
	return a.painted(paintGood, a.say("Ready to sign", "署名できます"))
}

func resultPaint(r inkanpb.StepResult) paint {
	switch r {
	case inkanpb.StepResult_STEP_RESULT_OK:
		return paintGood
	case inkanpb.StepResult_STEP_RESULT_FAILED:
		return paintBad
	case inkanpb.StepResult_STEP_RESULT_WARNING:
		return paintNote
	default:
		return paintNone
	}
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
	case inkanpb.Layer_LAYER_KEYS:
		return a.say("keys", "鍵")
	case inkanpb.Layer_LAYER_CERTIFICATES:
		return a.say("certificates", "証明書")
	case inkanpb.Layer_LAYER_PIN:
		return a.say("PIN", "暗証番号")
	case inkanpb.Layer_LAYER_JOURNAL:
		return a.say("journal", "試行記録")
	case inkanpb.Layer_LAYER_LOG:
		return a.say("log", "記録")
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
	NextEn  string `json:"next_en"`
	NextJa  string `json:"next_ja"`
}

func stepsToJSON(steps []*inkanpb.DiagnoseStep) []stepJSON {
	all := make([]stepJSON, 0, len(steps))
	for _, s := range steps {
		all = append(all, stepJSON{
			Layer: word(s.GetLayer().String(), "LAYER_"), Result: word(s.GetResult().String(), "STEP_RESULT_"),
			Subject: s.GetSubject(), Code: s.GetCode(), En: s.GetEn(), Ja: s.GetJa(), NextEn: s.GetNextEn(), NextJa: s.GetNextJa(),
		})
	}
	return all
}
