package cli

import (
	"context"
	"strings"
	"time"

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
		Long: a.say(`Shows whether a signature can be made, the service, the readers and the cards.
Nothing is sent to any card. With --watch the screen shows each change at once;
where the output is no terminal each change is a line with its time. When inkand
is started anew, --watch goes on.`,
			`署名できるかどうか、サービス、リーダ、ICカードの状態を表示します。カードには何も
送りません。--watch では変化がすぐ画面に出ます。出力先が端末でないときは、変化を
1行ずつ時刻とともに出力します。inkandが再起動しても表示を続けます。`),
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

func (a *app) printStatus(s *inkanpb.Status, socket string) {
	for _, line := range a.statusLines(s, socket, a.width()) {
		a.outf("%s\n", line)
	}
}

// statusLines is the page of `inkan status`: what it comes to, then service and
// readers, then each card.
func (a *app) statusLines(s *inkanpb.Status, socket string, width int) []string {
	v := a.verdict(s)
	lines := []string{a.painted(v.paint, v.says), ""}
	fields := append(a.serviceFields(s.GetService(), socket), a.readerFields(s.GetReaders())...)
	for _, c := range s.GetCards() {
		fields = append(append(fields, field{}), a.cardFields(c)...) // an empty line before each
	}
	return append(lines, a.fieldLines(fields, width)...)
}

func (a *app) serviceFields(service *inkanpb.ServiceStatus, socket string) []field {
	fields := []field{{name: "inkand", says: service.GetVersion() + a.say(" at "+socket, " ("+socket+")")}}
	if service.GetVirtual() {
		fields = append(fields, field{says: virtualHint(service)})
	}
	for _, n := range service.GetNotices() {
		fields = append(fields, field{name: a.say("  note", "  注意"), says: n.GetCode() + " " + a.say(n.GetEn(), n.GetJa())})
	}
	return fields
}

func (a *app) readerFields(readers []*inkanpb.ReaderStatus) []field {
	name := a.say("readers", "リーダ")
	if len(readers) == 0 {
		return []field{{name: name, says: a.say("none", "なし")}}
	}
	var fields []field
	for _, r := range readers {
		fields = append(fields, field{name: name, says: r.GetName() + a.virtualMark(r.GetVirtual()) + ": " + a.inReader(r) + a.exclusivity(r)})
		name = ""
	}
	return fields
}

// inReader says what is in a reader.
func (a *app) inReader(r *inkanpb.ReaderStatus) string {
	switch {
	case !r.GetCardPresent():
		return a.say("empty", "カードなし")
	case r.GetProblem() == "":
		return a.say("card inserted", "カードあり")
	}
	said, _ := client.Explain(r.GetProblem(), a.lang)
	return strings.TrimSpace(a.say("card cannot be used: ", "カードを使えません: ")+firstSentence(said.Message)) + " (" + r.GetProblem() + ")"
}

// firstSentence is a text up to its first full stop; nothing of a text with
// values that are not known here.
func firstSentence(s string) string {
	if strings.Contains(s, "…") {
		return ""
	}
	for _, stop := range []string{"。", ". "} {
		if before, _, found := strings.Cut(s, stop); found {
			return before + strings.TrimSpace(stop)
		}
	}
	return s
}

// cardFields is all of one card.
func (a *app) cardFields(c *inkanpb.CardStatus) []field {
	title := c.GetCompany()
	if title == "" {
		title = c.GetId()
	}
	fields := []field{
		{name: a.say("card", "カード"), says: title + a.virtualMark(c.GetVirtual())},
		{name: a.say("  state", "  状態"), state: a.forPeople(cardStateWord(c.GetState())), paint: cardPaint(c)},
		{name: a.say("  PIN", "  暗証番号"), says: a.triesOf(c.GetPin())},
		{name: a.say("  unlock code", "  ロック解除コード"), says: a.triesOf(c.GetUnlockCode())},
	}
	name := a.say("  certificates", "  証明書")
	for _, cert := range c.GetCertificates() {
		fields = append(fields, field{
			name: name, state: a.forPeople(certificateStateWord(cert.GetState())), paint: certificatePaint(cert.GetState()),
			says: a.until(cert) + "  " + cert.GetHolder() + " (" + tail(cert.GetSerial()) + ")",
		})
		name = ""
	}
	fields = append(fields, field{name: a.say("  identity", "  カード識別"), says: c.GetId() + a.say(" in ", "、リーダ ") + c.GetReader()})
	name = a.say("  notes", "  注意")
	for _, note := range a.cardNotes(c) {
		fields = append(fields, field{name: name, says: note})
		name = ""
	}
	return fields
}

// tail is the end of a serial number, by which people tell certificates apart.
func tail(serial string) string {
	const most = 8
	if len(serial) <= most {
		return serial
	}
	return "…" + serial[len(serial)-most:]
}

// soon is how long before its end the days of a certificate are counted.
const soon = 60 * 24 * time.Hour

// until says when a certificate ends, and in how many days if that is soon.
func (a *app) until(c *inkanpb.Certificate) string {
	day := at(c.GetNotAfter(), time.DateOnly)
	says := a.say("until "+day, day+" まで")
	if left := time.Until(c.GetNotAfter().AsTime()); left > 0 && left < soon {
		days := itoa(int(left / (24 * time.Hour)))
		says += a.say(" ("+days+" days left)", "(あと"+days+"日)")
	}
	return says
}

func cardPaint(c *inkanpb.CardStatus) paint {
	switch c.GetState() {
	case inkanpb.CardState_CARD_STATE_READY:
		return paintGood
	case inkanpb.CardState_CARD_STATE_LOW:
		return paintNote
	default:
		return paintBad
	}
}

func certificatePaint(s inkanpb.CertificateState) paint {
	switch s {
	case inkanpb.CertificateState_CERTIFICATE_STATE_GOOD:
		return paintGood
	case inkanpb.CertificateState_CERTIFICATE_STATE_EXPIRING, inkanpb.CertificateState_CERTIFICATE_STATE_UNKNOWN:
		return paintNote
	default:
		return paintBad
	}
}

// virtualHint is the PIN of a card that is only software.
func virtualHint(service *inkanpb.ServiceStatus) string {
	if hint := service.GetVirtualHint(); hint != "" {
		return hint
	}
	return "仮想カード / virtual card: PIN 123456, unlock code 12345678"
}

// printHint says the PIN of a card that is only software, wherever one shows.
func (a *app) printHint(service *inkanpb.ServiceStatus) {
	if !service.GetVirtual() {
		return
	}
	a.outf("%s\n", words.Clean(virtualHint(service)))
}

func (a *app) virtualMark(virtual bool) string { return words.Virtual(a.lang, virtual) }

// triesOf is the tries left and the limit.
func (a *app) triesOf(p *inkanpb.PinStatus) string {
	if p == nil || p.TriesLeft == nil {
		return a.say("tries left: unknown", "残り回数 不明")
	}
	limit := ""
	if n := p.GetLimit(); n > 0 {
		limit = a.say(" of ", " / ") + itoa(int(n))
	}
	return a.say(a.pinTries(p)+limit+" tries left", "残り回数 "+a.pinTries(p)+limit)
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
