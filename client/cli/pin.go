package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
)

// noPINFD means that --pin-fd was not given.
const noPINFD = -1

func (a *app) pinCommand() *cobra.Command {
	return a.group("pin", "PIN of a card", "ICカードの暗証番号", a.pinVerifyCommand())
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
	cmd.Flags().StringVar(&card, "card", "", a.say("`ID` or serial of the card (else the only one)", "カードの`ID`またはシリアル番号(省略時は唯一のカード)"))
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
	if a.json {
		return a.printJSON(struct {
			Card string  `json:"card"`
			PIN  pinJSON `json:"pin"`
		}{card.GetId(), pinToJSON(pin)}, false)
	}
	a.outf("%s %s\n", a.say("The PIN is right. Tries left:", "暗証番号は正しく照合されました。残り回数:"), a.pinTries(pin))
	return nil
}

// pinFlag adds --pin-fd.
func (a *app) pinFlag(cmd *cobra.Command, fd *int) {
	cmd.Flags().IntVar(fd, "pin-fd", noPINFD, a.say("read the PIN from descriptor `N`, to its end or a newline (else it is asked on the terminal)",
		"暗証番号を記述子`N`から、終わりか改行まで読む(省略時は端末で尋ねる)"))
	cmd.Flags().Lookup("pin-fd").DefValue = "0" // keeps "(default -1)" out of the help
}
