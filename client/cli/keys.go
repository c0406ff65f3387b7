package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// shownTail is how much of a key identity's hash a table shows.
const shownTail = 12

func (a *app) keysCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keys",
		Short: a.say("List the keys of the cards that are inserted", "差し込まれているICカードの鍵を一覧する"),
		Args:  noArguments,
		RunE: a.run(func(ctx context.Context, c *client.Client) error {
			keys, err := c.Keys(ctx)
			if err != nil {
				return err
			}
			if a.json {
				out := make([]keyJSON, 0, len(keys))
				for _, k := range keys {
					out = append(out, keyToJSON(k))
				}
				return a.printJSON(out, false)
			}
			return a.printKeys(ctx, c, keys)
		}),
	}
}

func (a *app) printKeys(ctx context.Context, c *client.Client, keys []*inkanpb.Key) error {
	if len(keys) == 0 {
		a.outf("%s\n", a.say("no keys", "鍵がありません"))
		return nil
	}
	var rows [][]string
	virtual := false
	for _, k := range keys {
		virtual = virtual || k.GetVirtual()
		certificate := k.GetCertificate()
		rows = append(rows, []string{
			k.GetSlot(), shortID(k.GetId()), k.GetType(), a.forPeople(pinPolicyWord(k.GetPinPolicy())), certificate.GetCompany(), certificate.GetHolder(),
			a.forPeople(certificateStateWord(certificate.GetState())), at(certificate.GetNotAfter(), "2006-01-02"), k.GetLabel() + a.virtualMark(k.GetVirtual()),
		})
	}
	if virtual {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		a.printHint(s.GetService())
		a.outf("\n")
	}
	a.printTable([]string{
		a.say("SLOT", "場所"), a.say("ID", "鍵識別"), a.say("TYPE", "種類"), a.say("PIN", "暗証番号"), a.say("COMPANY", "会社"), a.say("HOLDER", "名義"),
		a.say("CERTIFICATE", "証明書"), a.say("VALID UNTIL", "有効期限"), a.say("LABEL", "名前"),
	}, rows)
	return nil
}

// shortID is the beginning of the part after the last dot, which --key takes.
func shortID(id string) string {
	tail := id[strings.LastIndexByte(id, '.')+1:]
	return tail[:min(len(tail), shownTail)]
}
