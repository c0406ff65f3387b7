package cli

import (
	"context"
	"encoding/pem"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/words"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func (a *app) certCommand() *cobra.Command {
	var key string
	var asPEM bool
	show := &cobra.Command{
		Use:   "show --key ID",
		Short: a.say("Show the certificate of a key", "鍵の証明書を表示する"),
		Args:  noArguments,

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.started = true
			switch {
			case key == "":
				return usage("--key is missing", "--key を指定してください")
			case asPEM && a.json:
				return usage("--pem and --json exclude each other (JSON holds the PEM)", "--pem と --json は同時に使えません(JSONにPEMが含まれます)")
			}
			return a.run(func(ctx context.Context, c *client.Client) error { return a.showCertificate(ctx, c, key, asPEM) })(cmd, args)
		},
	}
	show.Flags().StringVar(&key, "key", "", a.say("`ID` of the key, its slot (9c), or the beginning (4 and more) of the part after the dot", "鍵の`ID`、場所(9c)、または点の後の先頭4文字以上"))
	show.Flags().BoolVar(&asPEM, "pem", false, a.say("print the certificate itself, as PEM", "証明書そのものをPEMで出力する"))
	return a.group("cert", "Certificates", "証明書", show)
}

func (a *app) showCertificate(ctx context.Context, c *client.Client, name string, asPEM bool) error {
	key, err := a.chooseKey(ctx, c, name)
	if err != nil {
		return err
	}
	certificate, err := c.Certificate(ctx, key.GetId())
	if err != nil {
		return err
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.GetDer()}))
	switch {
	case asPEM:
		a.outf("%s", text)
	case a.json:
		return a.printJSON(struct {
			Key         string           `json:"key"`
			Certificate *certificateJSON `json:"certificate"`
			PEM         string           `json:"pem"`
		}{key.GetId(), certificateToJSON(certificate), text}, false)
	default:
		a.printCertificate(key, certificate)
	}
	return nil
}

func (a *app) printCertificate(key *inkanpb.Key, c *inkanpb.Certificate) {
	const layout = "2006-01-02 15:04:05 MST"
	for _, line := range []struct{ en, ja, value string }{
		{"company", "会社", c.GetCompany()},
		{"holder", "名義", c.GetHolder()},
		{"state", "状態", a.forPeople(certificateStateWord(c.GetState()))},
		{"valid from", "有効期間の開始", at(c.GetNotBefore(), layout)},
		{"valid until", "有効期間の終了", at(c.GetNotAfter(), layout)},
		{"serial", "シリアル番号", c.GetSerial()},
		{"subject", "主体者", c.GetSubject()},
		{"issuer", "発行者", c.GetIssuer()},
		{"key", "鍵", key.GetId() + a.virtualMark(key.GetVirtual())},
	} {
		a.outf("%s: %s\n", a.say(line.en, line.ja), words.Clean(line.value))
	}
}
