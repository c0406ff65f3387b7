package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// noPINFD means that --pin-fd was not given.
const noPINFD = -1

func (a *app) pinCommand() *cobra.Command {
	return a.group("pin", "PIN of a card", "ICカードの暗証番号", a.pinVerifyCommand(), a.pinChangeCommand())
}

func (a *app) pinVerifyCommand() *cobra.Command {
	var card string
	var fd int
	cmd := &cobra.Command{
		Use:   "verify",
		Short: a.say("Prove the PIN to the card; a wrong one spends a try", "暗証番号を照合する(誤ると残り回数が減る)"),
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.started = true
			return a.withPIN(cmd, fd, func(ctx context.Context, c *client.Client) error { return a.pinVerify(ctx, c, card) })
		},
	}
	a.cardFlag(cmd, &card)
	a.pinFlag(cmd, &fd)
	return cmd
}

func (a *app) pinVerify(ctx context.Context, c *client.Client, name string) error {
	card, err := a.chooseCard(ctx, c, name)
	if err != nil {
		return err
	}
	pin, err := c.VerifyPIN(ctx, card.GetId())
	if err != nil {
		return err
	}
	return a.printPIN(card.GetId(), pin, "The PIN is right. Tries left:", "暗証番号は正しく照合されました。残り回数:")
}

func (a *app) pinChangeCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "change",
		Short: a.say("Change the PIN; a wrong old one spends a try", "暗証番号を変更する(古い番号を誤ると残り回数が減る)"),
		Long: a.say("Changes the PIN of a card. The old PIN and the new one, twice, are asked in the\nprompt.",
			"ICカードの暗証番号を変更します。古い番号と新しい番号(2回)は入力画面で尋ねます。"),
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.started = true
			return a.withPIN(cmd, noPINFD, func(ctx context.Context, c *client.Client) error {
				card, err := a.chooseCard(ctx, c, name)
				if err != nil {
					return err
				}
				pin, err := c.ChangePIN(ctx, card.GetId())
				if err != nil {
					return err
				}
				return a.printPIN(card.GetId(), pin, "The PIN was changed. Tries left:", "暗証番号を変更しました。残り回数:")
			})
		},
	}
	a.cardFlag(cmd, &name)
	return cmd
}

// printPIN says a success and the tries after it.
func (a *app) printPIN(card string, pin *inkanpb.PinStatus, en, ja string) error {
	if a.json {
		return a.printJSON(struct {
			Card string  `json:"card"`
			PIN  pinJSON `json:"pin"`
		}{card, pinToJSON(pin)}, false)
	}
	a.outf("%s %s\n", a.say(en, ja), a.pinTries(pin))
	return nil
}

// pinFlag adds --pin-fd.
func (a *app) pinFlag(cmd *cobra.Command, fd *int) {
	cmd.Flags().IntVar(fd, "pin-fd", noPINFD, a.say("read the PIN from descriptor `N`, to its end or a newline (else it is asked on the terminal)",
		"暗証番号を記述子`N`から、終わりか改行まで読む(省略時は端末で尋ねる)"))
	cmd.Flags().Lookup("pin-fd").DefValue = "0" // keeps "(default -1)" out of the help
}
