package cli

import (
	"context"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// maxReason is the limit of reasons in the API, in characters.
const maxReason = 256

func (a *app) cardCommand() *cobra.Command {
	return a.group("card", "Register of cards; stop a lost card", "カード台帳、紛失したカードの使用停止",
		a.cardListCommand(), a.cardStopCommand(), a.cardLiftCommand())
}

func (a *app) cardListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: a.say("List all cards that were ever seen on this PC", "このPCで使われたことのあるICカードを一覧する"),
		Args:  noArguments,
		RunE: a.run(func(ctx context.Context, c *client.Client) error {
			cards, err := c.Cards(ctx)
			if err != nil {
				return err
			}
			if a.json {
				out := make([]registeredJSON, 0, len(cards))
				for _, card := range cards {
					out = append(out, registeredToJSON(card))
				}
				return a.printJSON(out, false)
			}
			a.printRegister(cards)
			return nil
		}),
	}
}

func (a *app) printRegister(cards []*inkanpb.RegisteredCard) {
	if len(cards) == 0 {
		a.outf("%s\n", a.say("no cards", "ICカードがありません"))
		return
	}
	var rows [][]string
	var stops []string
	for _, card := range cards {
		place := ""
		if card.GetPresent() {
			place = a.say("inserted", "あり")
		}
		state := card.GetState()
		if s := card.GetStop(); s != nil {
			state = inkanpb.CardState_CARD_STATE_STOPPED_HERE
			stops = append(stops, card.GetId()+": "+a.stopWords(s))
		}
		stateText := a.forPeople(cardStateWord(state))
		if state == inkanpb.CardState_CARD_STATE_UNSPECIFIED {
			stateText = a.say("not known", "不明") // it is not here
		}
		rows = append(rows, []string{
			card.GetId() + a.virtualMark(card.GetVirtual()), card.GetCompany(), place, stateText,
			at(card.GetFirstSeen(), "2006-01-02"), at(card.GetLastSeen(), "2006-01-02"), latestEnd(card),
		})
	}
	a.printTable([]string{
		a.say("CARD", "カード"), a.say("COMPANY", "会社"), a.say("READER", "リーダ"), a.say("STATE", "状態"),
		a.say("FIRST SEEN", "初回"), a.say("LAST SEEN", "最終"), a.say("VALID UNTIL", "有効期限"),
	}, rows)
	a.printNotes(stops)
}

// stopWords says since when and why a card is stopped here.
func (a *app) stopWords(s *inkanpb.Stop) string {
	text := a.say("stopped here ", "使用停止 ") + at(s.GetTime(), "2006-01-02 15:04") +
		a.say(" by user ", " ユーザ ") + itoa(int(s.GetUid())) + a.say(", record ", "、記録 ") + itoa(int(s.GetRecord()))
	if s.GetReason() != "" {
		text += ": " + s.GetReason()
	}
	return text
}

// latestEnd is the day on which the last certificate of a card ends.
func latestEnd(card *inkanpb.RegisteredCard) string {
	day := ""
	for _, c := range card.GetCertificates() {
		day = max(day, at(c.GetNotAfter(), "2006-01-02"))
	}
	return day
}

func (a *app) cardLiftCommand() *cobra.Command {
	var name, reason string
	cmd := &cobra.Command{
		Use: "lift --card ID --reason TEXT",

		DisableFlagsInUseLine: true,

		Short: a.say("Let a card that was stopped be used again (administrator)", "使用停止を解除する(管理者)"),
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.started = true
			if name == "" {
				return usage("--card is missing", "--card を指定してください")
			}
			if err := checkReason(reason); err != nil {
				return err
			}
			return a.run(func(ctx context.Context, c *client.Client) error {
				card, err := a.chooseRegistered(ctx, c, name)
				if err != nil {
					return err
				}
				record, err := c.Lift(ctx, card.GetId(), reason)
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(changedJSON{card.GetId(), record}, false)
				}
				a.outf(a.say("The card %s can be used again (record %d).\n", "ICカード %s の使用停止を解除しました(記録 %d)。\n"), card.GetId(), record)
				return nil
			})(cmd, args)
		},
	}
	cmd.Flags().StringVar(&name, "card", "", a.say("`ID` or serial of the card", "カードの`ID`またはシリアル番号"))
	cmd.Flags().StringVar(&reason, "reason", "", a.say("why, `TEXT`; it is recorded", "理由`TEXT`(記録されます)"))
	return cmd
}

// checkReason refuses a reason that says nothing, or more than is recorded.
func checkReason(reason string) error {
	switch {
	case reason == "":
		return usage("--reason is missing", "--reason で理由を指定してください")
	case !utf8.ValidString(reason) || utf8.RuneCountInString(reason) > maxReason:
		return usage("--reason is UTF-8 of at most 256 characters", "--reason は256文字以内のUTF-8で指定してください")
	}
	return nil
}
