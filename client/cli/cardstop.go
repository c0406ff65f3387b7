package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/cli/ttyprompt"
	"github.com/inkan-project/inkan/client/internal/words"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// stopWord is what the person types first. It is the same in every language.
const stopWord = "stop"

// maxTail is the longest StopHereRequest.confirm_serial_tail.
const maxTail = 8

// stopFlags are what `inkan card stop` is told.
type stopFlags struct {
	card, reason, confirm string
	yes                   bool
}

func (a *app) cardStopCommand() *cobra.Command {
	var f stopFlags
	cmd := &cobra.Command{
		Use: "stop --card ID",

		DisableFlagsInUseLine: true,

		Short: a.say("Stop every use of a lost card on this PC, at once", "紛失したカードの使用をこのPCで直ちに停止する"),
		Long: a.say(`Stops every use of a card on this PC, at once, also of a card that is gone (see:
inkan card list). Only an administrator can lift it. The registry is not told, and
other PCs do not know. It asks twice: for the word stop, and for the last four
characters of the card's serial.`,
			`このPCでのICカードの使用を直ちに停止します。手元にないカードも停止できます
(一覧は inkan card list)。解除できるのは管理者だけです。登記所への届出は行わず、
他のPCでの使用も止まりません。確認は2回です: stop の入力と、カードのシリアル番号の
末尾4文字。`),
		Example: `  inkan card stop --card 00112233445566778899aabbccddeeff --reason 紛失
  inkan card stop --card piv-0011 --confirm eeff --yes`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.started = true
			if err := f.check(); err != nil {
				return err
			}
			return a.run(func(ctx context.Context, c *client.Client) error { return a.cardStop(ctx, c, f) })(cmd, args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.card, "card", "", a.say("`ID` or serial of the card", "カードの`ID`またはシリアル番号"))
	flags.StringVar(&f.reason, "reason", "", a.say("why, `TEXT`; it is recorded", "理由`TEXT`(記録されます)"))
	flags.StringVar(&f.confirm, "confirm", "", a.say("`LAST4`, the last four characters of the serial, with --yes instead of asking", "シリアル番号の末尾4文字`LAST4`(--yes とともに、尋ねる代わりに指定)"))
	flags.BoolVar(&f.yes, "yes", false, a.say("do not ask; with --confirm", "尋ねない(--confirm とともに指定)"))
	return cmd
}

func (f *stopFlags) check() error {
	if f.card == "" {
		return usage("--card is missing", "--card を指定してください")
	}
	if f.reason != "" {
		if err := checkReason(f.reason); err != nil {
			return err
		}
	}
	switch {
	case f.yes != (f.confirm != ""):
		return usage("--confirm and --yes go together", "--confirm と --yes は一緒に指定してください")
	case !f.yes && !ttyprompt.HaveTerminal():
		return usage("there is no terminal to ask on: give --confirm LAST4 and --yes", "確認する端末がありません。--confirm LAST4 と --yes を指定してください")
	case len(f.confirm) > maxTail:
		return usage("--confirm takes the last four characters of the serial", "--confirm にはシリアル番号の末尾4文字を指定してください")
	}
	return nil
}

func (a *app) cardStop(ctx context.Context, c *client.Client, f stopFlags) error {
	card, err := a.chooseRegistered(ctx, c, f.card)
	if err != nil {
		return err
	}
	tail := f.confirm
	if !f.yes {
		if tail, err = a.confirmStop(ctx, card); err != nil {
			return err
		}
	}
	record, err := c.StopHere(ctx, card.GetId(), tail, f.reason)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(changedJSON{card.GetId(), record}, false)
	}
	a.outf(a.say("The card %s is stopped on this PC (record %d).\n", "ICカード %s をこのPCで使用停止にしました(記録 %d)。\n"), words.Clean(card.GetId()), record)
	a.outf("%s\n", a.stoppedNext())
	return nil
}

// confirmStop asks twice on the terminal and returns the tail of the serial as
// it was typed. inkand compares it.
func (a *app) confirmStop(ctx context.Context, card *inkanpb.RegisteredCard) (string, error) {
	word, err := ttyprompt.Ask(ctx, a.stopText(card)+a.say("To stop the card type stop: ", "停止するには stop と入力してください: "))
	if err == nil && strings.TrimSpace(word) != stopWord {
		err = errNotConfirmed
	}
	tail := ""
	if err == nil {
		tail, err = ttyprompt.Ask(ctx, a.say("And the last four characters of its serial: ", "続いて、シリアル番号の末尾4文字を入力してください: "))
		tail = strings.TrimSpace(tail)
	}
	if err == nil && (tail == "" || len(tail) > maxTail) {
		err = errNotConfirmed
	}
	if err != nil {
		return "", notStopped(err)
	}
	return tail, nil
}

// errNotConfirmed means that something else was typed.
var errNotConfirmed = errors.New("not what was asked for")

// notStopped is that the person did not confirm.
func notStopped(err error) *mistake {
	en, ja := "not confirmed", "確認の入力が一致しません"
	if interrupted(err) {
		en, ja = causeText(err)
	}
	return &mistake{
		exit: exitNoPIN, cause: err, en: "the card was not stopped: " + en, ja: "使用停止は行っていません(" + ja + ")",
		nextEN: "To stop it, run the command again and type what it asks for.", nextJA: "停止する場合は、もう一度実行し、示されたとおりに入力してください。",
	}
}

// stopText is what the person reads before confirming.
func (a *app) stopText(card *inkanpb.RegisteredCard) string {
	var b strings.Builder
	line := func(en, ja, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %s: %s\n", a.say(en, ja), words.Clean(value))
		}
	}
	fmt.Fprintf(&b, "%s\n", a.say("Stopping a card on this PC", "このPCでのICカードの使用停止"))
	line("card", "カード", card.GetId()+a.virtualMark(card.GetVirtual()))
	line("company", "会社", card.GetCompany())
	for _, c := range card.GetCertificates() {
		line("certificate", "証明書", c.GetHolder()+a.say(", serial ", "、シリアル番号 ")+c.GetSerial()+a.say(", valid until ", "、有効期限 ")+at(c.GetNotAfter(), "2006-01-02"))
	}
	line("last seen", "最後の使用", at(card.GetLastSeen(), "2006-01-02"))
	if s := card.GetStop(); s != nil {
		line("already", "すでに", a.stopWords(s))
	}
	fmt.Fprintf(&b, "%s\n", a.say(`Nothing is signed with this card on this PC any more, at once, also nothing that is
under way. Only an administrator of this PC can lift it. Nothing is told to the
registry yet, and other PCs go on using the card.`,
		`このPCでは直ちにこのカードで署名できなくなります(処理中の署名も渡しません)。
解除できるのはこのPCの管理者だけです。登記所にはまだ何も届け出ません。
また、他のPCでの使用は止まりません。`))
	return b.String()
}

// stoppedNext says what is to be done after a card was stopped.
func (a *app) stoppedNext() string {
	return a.say(`Next:
  - If it is lost or stolen, give notice to the registry (or the card's issuer) now,
    with the suspension code of its holder. Inkan has told nobody.
  - Stop it on the other PCs where it was used.
  - If it is found and no notice was given, an administrator may lift the stop:
    inkan card lift`,
		`次に行うこと:
  - 紛失・盗難の場合は、登記所(またはカードの発行元)に直ちに休止などを届け出てください
    (休止届出用暗証コードが必要です)。Inkanからの届出は行っていません。
  - このカードを使った他のPCでも使用停止にしてください。
  - 見つかり、届出をしていない場合は、管理者が inkan card lift で解除できます。`)
}
