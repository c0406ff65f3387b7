package cli

import (
	"bytes"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/words"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func (a *app) statusCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: a.say("Show the service, the readers and the cards", "サービス、リーダ、ICカードの状態を表示する"),
		Long: a.say("Shows the service, the readers and the cards. Nothing is sent to any card.",
			"サービス、リーダ、ICカードの状態を表示します。カードには何も送りません。"),
		Args: noArguments,
		RunE: a.run(func(ctx context.Context, c *client.Client) error {
			if watch {
				return a.watch(ctx, c)
			}
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(statusToJSON(s, c.Socket()), false)
			}
			a.printStatus(s, c.Socket())
			return nil
		}),
	}
	cmd.Flags().BoolVar(&watch, "watch", false, a.say("show each change until Ctrl-C; with --json one object a line",
		"Ctrl-C まで変化のたびに表示する(--json では1行に1つ)"))
	return cmd
}

// watch shows each state until the person ends it, which is no error. A state
// that looks like the one before is not shown again.
func (a *app) watch(ctx context.Context, c *client.Client) error {
	last := ""
	for update, err := range c.Watch(ctx) {
		if err != nil {
			if errors.Is(err, client.ErrCallEnded) && ctx.Err() != nil {
				return nil
			}
			return err
		}
		looks := a.looks(update.Status, c.Socket())
		if looks == last {
			continue
		}
		switch {
		case a.json:
			s := statusToJSON(update.Status, c.Socket())
			s.Sequence = &update.Sequence
			err = a.printJSON(s, true)
		case last == "":
			a.outf("%s", looks)
		default:
			a.outf("\n----\n\n%s", looks)
		}
		last = looks
		if ctx.Err() != nil {
			a.stdout.err = nil // a write that was waiting ended with it
			return nil
		}
		if err != nil {
			return err
		}
		if a.stdout.err != nil {
			return outputError(a.stdout.err)
		}
	}
	return nil
}

// looks returns what a state looks like, without its sequence number.
func (a *app) looks(s *inkanpb.Status, socket string) string {
	var b bytes.Buffer
	page := *a
	page.stdout = &stickyWriter{ctx: context.Background(), w: &b}
	if a.json {
		_ = page.printJSON(statusToJSON(s, socket), true) // a buffer takes everything
	} else {
		page.printStatus(s, socket)
	}
	return b.String()
}

func (a *app) printStatus(s *inkanpb.Status, socket string) {
	service := s.GetService()
	a.outf(a.say("inkand %s at %s\n", "inkand %s (%s)\n"), words.Clean(service.GetVersion()), words.Clean(socket))
	a.printHint(service)
	if m := service.GetMissing(); m != inkanpb.Layer_LAYER_UNSPECIFIED {
		a.outf(a.say("missing: %s (inkan doctor says more)\n", "不足: %s(詳しくは inkan doctor)\n"), a.layerWord(m))
	}
	for _, n := range service.GetNotices() {
		a.outf("%s %s\n", words.Clean(n.GetCode()), words.Clean(a.say(n.GetEn(), n.GetJa())))
	}
	a.outf("\n")
	a.printReaders(s.GetReaders())
	if len(s.GetCards()) == 0 {
		return
	}
	a.outf("\n")
	a.printCards(s.GetCards())
	a.outf("\n")
	a.printCertificates(s.GetCards())
}

// printHint says the PIN of a card that is only software, wherever one shows.
func (a *app) printHint(service *inkanpb.ServiceStatus) {
	if !service.GetVirtual() {
		return
	}
	hint := service.GetVirtualHint()
	if hint == "" {
		hint = "仮想カード / virtual card: PIN 123456, unlock code 12345678"
	}
	a.outf("%s\n", words.Clean(hint))
}

func (a *app) printReaders(readers []*inkanpb.ReaderStatus) {
	if len(readers) == 0 {
		a.outf("%s\n", a.say("no reader", "リーダがありません"))
		return
	}
	var rows [][]string
	for _, r := range readers {
		card := a.say("none", "なし")
		if r.GetCardPresent() {
			card = a.say("inserted", "あり")
		}
		rows = append(rows, []string{r.GetName() + a.virtualMark(r.GetVirtual()), card, r.GetProblem()})
	}
	a.printTable([]string{a.say("READER", "リーダ"), a.say("CARD", "カード"), ""}, rows)
}

func (a *app) virtualMark(virtual bool) string { return words.Virtual(a.lang, virtual) }

func (a *app) printCards(cards []*inkanpb.CardStatus) {
	var rows [][]string
	var notes []string
	for _, c := range cards {
		rows = append(rows, []string{
			c.GetId() + a.virtualMark(c.GetVirtual()), c.GetCompany(), a.forPeople(cardStateWord(c.GetState())),
			a.triesOf(c.GetPin()), a.triesOf(c.GetUnlockCode()),
		})
		for _, note := range a.cardNotes(c) {
			notes = append(notes, c.GetId()+": "+note)
		}
	}
	a.printTable([]string{
		a.say("CARD", "カード"), a.say("COMPANY", "会社"), a.say("STATE", "状態"),
		a.say("TRIES LEFT", "残り回数"), a.say("UNLOCK TRIES", "ロック解除コード残り"),
	}, rows)
	a.printNotes(notes)
}

// triesOf is the tries left and the limit.
func (a *app) triesOf(p *inkanpb.PinStatus) string {
	limit := ""
	if n := p.GetLimit(); n > 0 {
		limit = a.say(" of ", " / ") + itoa(int(n))
	}
	return a.pinTries(p) + limit
}

// printNotes writes what stands under a table.
func (a *app) printNotes(notes []string) {
	if len(notes) > 0 {
		a.outf("\n")
	}
	for _, note := range notes {
		a.outf("%s\n", words.Clean(note))
	}
}

func (a *app) printCertificates(cards []*inkanpb.CardStatus) {
	var rows [][]string
	for _, card := range cards {
		for _, c := range card.GetCertificates() {
			rows = append(rows, []string{c.GetHolder(), c.GetSerial(), a.forPeople(certificateStateWord(c.GetState())), at(c.GetNotAfter(), "2006-01-02 15:04")})
		}
	}
	if len(rows) == 0 {
		return
	}
	a.printTable([]string{a.say("CERTIFICATE", "証明書"), a.say("SERIAL", "シリアル番号"), a.say("STATE", "状態"), a.say("VALID UNTIL", "有効期限")}, rows)
}
