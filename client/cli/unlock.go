package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
)

func (a *app) unlockCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "unlock",
		Short: a.say("Unlock a card with its unlock code", "ロック解除コードでICカードのロックを解除する"),
		Long: a.say(`Unlocks a card that is locked, with the holder's unlock code, and gives it a new
PIN. The code and the new PIN, twice, are asked in the prompt. A wrong code spends
one of its few tries; when none is left the card must be re-issued.`,
			`ロックされたICカードを本人のロック解除コードで解除し、新しい暗証番号を設定します。
コードと新しい暗証番号(2回)は入力画面で尋ねます。コードを誤ると残り回数が減り、
なくなるとカードの再発行が必要です。`),
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.started = true
			return a.withPIN(cmd, noPINFD, func(ctx context.Context, c *client.Client) error { return a.unlock(ctx, c, name) })
		},
	}
	a.cardFlag(cmd, &name)
	return cmd
}

func (a *app) unlock(ctx context.Context, c *client.Client, name string) error {
	card, err := a.chooseCard(ctx, c, name)
	if err != nil {
		return err
	}
	now, err := c.Unlock(ctx, card.GetId())
	if err != nil {
		return err
	}
	for _, code := range now.Warnings {
		a.warn(code)
	}
	if a.json {
		return a.printJSON(struct {
			Card       string   `json:"card"`
			PIN        pinJSON  `json:"pin"`
			UnlockCode pinJSON  `json:"unlock_code"`
			Warnings   []string `json:"warnings"`
		}{card.GetId(), pinToJSON(now.PIN), pinToJSON(now.UnlockCode), append([]string{}, now.Warnings...)}, false)
	}
	a.outf(a.say("The card is unlocked and has the new PIN. Tries left: %s; of the unlock code: %s\n",
		"ロックを解除し、新しい暗証番号を設定しました。残り回数: %s、ロック解除コード: %s\n"), a.pinTries(now.PIN), a.pinTries(now.UnlockCode))
	return nil
}

func (a *app) acknowledgeCommand() *cobra.Command {
	var name, reason string
	cmd := &cobra.Command{
		Use:   "acknowledge",
		Short: a.say("End the state held, or the wait for a re-insertion", "保留や差し直し待ちを解除する"),
		Long: a.say(`Ends the state held (three tries in a row ended without a verdict, or the state
directory was copied) and the wait for a re-insertion. Find out first what went
wrong. The holder confirms in the prompt; an administrator gives --reason.`,
			`保留(3回続けて照合の結果が得られない、または状態ディレクトリの複製)と、差し直し待ちを
解除します。先に原因を確かめてください。本人は入力画面で確認し、管理者は --reason で
理由を示します。`),
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.started = true
			if !cmd.Flags().Changed("reason") {
				return a.withPIN(cmd, noPINFD, func(ctx context.Context, c *client.Client) error { return a.acknowledge(ctx, c, name, "") })
			}
			if err := checkReason(reason); err != nil {
				return err
			}
			return a.run(func(ctx context.Context, c *client.Client) error { return a.acknowledge(ctx, c, name, reason) })(cmd, args)
		},
	}
	a.cardFlag(cmd, &name)
	cmd.Flags().StringVar(&reason, "reason", "", a.say("why, `TEXT`, as administrator; it is recorded", "管理者として解除する理由`TEXT`(記録されます)"))
	return cmd
}

func (a *app) acknowledge(ctx context.Context, c *client.Client, name, reason string) error {
	card, err := a.chooseRegistered(ctx, c, name)
	if err != nil {
		return err
	}
	now, err := c.Acknowledge(ctx, card.GetId(), reason)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			Card       string  `json:"card"`
			State      string  `json:"state"`
			PIN        pinJSON `json:"pin"`
			UnlockCode pinJSON `json:"unlock_code"`
		}{card.GetId(), cardStateWord(now.State), pinToJSON(now.PIN), pinToJSON(now.UnlockCode)}, false)
	}
	a.outf(a.say("Acknowledged. State of the card: %s. Tries left: %s\n", "確認しました。カードの状態: %s、残り回数: %s\n"),
		a.forPeople(cardStateWord(now.State)), a.pinTries(now.PIN))
	return nil
}

// cardFlag adds --card for commands that find the only card by themselves.
func (a *app) cardFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "card", "", a.say("`ID` or serial of the card (else the only one)", "カードの`ID`またはシリアル番号(省略時は唯一のカード)"))
}
