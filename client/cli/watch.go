package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/client/internal/words"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// screen shows states one after the other.
type screen interface {
	show(u client.StatusUpdate) error
	// lost says that inkand does not answer any more; it is asked again.
	lost(err *client.Error) error
}

// watch shows each state until the person ends it, which is no error. When
// inkand goes away it says so once; the client waits for the next.
func (a *app) watch(ctx context.Context, c *client.Client) error {
	view := a.screen(c.Socket())
	for update, err := range c.Watch(ctx) {
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case update.Lost != nil:
			e, _ := errors.AsType[*client.Error](update.Lost)
			err = view.lost(e)
		default:
			err = view.show(update)
		}
		if err := a.written(ctx, err); err != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// written is the error of a screen, or of its output; none when the person has
// ended the command meanwhile.
func (a *app) written(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		a.stdout.err = nil // a write that was waiting ended with it
		return nil         //nolint:nilerr // the person has ended the command
	case err == nil && a.stdout.err != nil:
		return outputError(a.stdout.err)
	}
	return err
}

// screen chooses how to show states: JSON, a page that is drawn again, or lines,
// also for a terminal that cannot draw over what it shows.
func (a *app) screen(socket string) screen {
	if a.json {
		return &jsonScreen{app: a, socket: socket}
	}
	if width, _ := terminalSize(a.stdout.w); width > 0 && os.Getenv("TERM") != "dumb" {
		return &page{app: a, socket: socket}
	}
	return &ledger{app: a, socket: socket}
}

// jsonScreen writes one object a line. A state that looks like the one before
// is not shown again.
type jsonScreen struct {
	*app
	socket string
	last   string
}

func (j *jsonScreen) show(u client.StatusUpdate) error {
	s := statusToJSON(u.Status, j.socket)
	var b bytes.Buffer
	plain := *j.app
	plain.stdout = &stickyWriter{ctx: context.Background(), w: &b}
	_ = plain.printJSON(s, true) // a buffer takes everything
	if b.String() == j.last {
		return nil
	}
	j.last = b.String()
	s.Sequence = &u.Sequence
	return j.printJSON(s, true)
}

func (j *jsonScreen) lost(err *client.Error) error {
	j.last = "" // what comes next is shown in any case: sequences begin anew
	j.errf("inkan: %s\n", words.Clean(j.away(err)))
	return nil
}

// away says that inkand does not answer.
func (a *app) away(e *client.Error) string {
	code := ""
	if e != nil {
		code = " (" + e.Code + ")"
	}
	return a.say("inkand does not answer"+code+"; waiting for it", "inkandが応答しません"+code+"。再開を待っています")
}

// page is a terminal that shows one state, drawn over the one before.
type page struct {
	*app
	socket string
	last   *inkanpb.Status
	drawn  bool
}

// Control sequences (ECMA-48 sections 8.3.21, 8.3.39 and 8.3.41).
const (
	clearScreen = "\x1b[H\x1b[2J"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

func (p *page) show(u client.StatusUpdate) error {
	p.last = u.Status
	p.draw("")
	return nil
}

func (p *page) lost(err *client.Error) error {
	p.draw(p.away(err))
	return nil
}

// draw draws the newest state, under a line of what is to be said first. What
// does not fit the terminal is left out at its end, and says so.
func (p *page) draw(first string) {
	width, height := terminalSize(p.stdout.w)
	var lines []string
	if first != "" {
		lines = append(lines, p.painted(paintBad, first), "")
	}
	if p.last != nil {
		lines = append(lines, p.statusLines(p.last, p.socket, width)...)
	}
	lines = append(lines, "", p.say("Ctrl-C ends. ", "Ctrl-C で終了。")+time.Now().Format("15:04:05"))
	if over := len(lines) - height + 1; height > 0 && over > 0 {
		lines = append(lines[:max(0, len(lines)-over-1)], p.say("… more lines than this terminal has", "…(画面に入りきりません)"))
	}
	start := home
	if !p.drawn {
		start = clearScreen
	}
	p.drawn = true
	p.outf("%s%s%s\n%s", start, strings.Join(lines, clearLine+"\n"), clearLine, clearBelow)
}

// ledger writes a line with its time for everything that is new.
type ledger struct {
	*app
	socket string
	order  []string
	facts  map[string]string
}

// fact is one thing of a state: what it is about, and what is so.
type fact struct{ about, is string }

func (l *ledger) show(u client.StatusUpdate) error {
	now := map[string]string{}
	var order []string
	for _, f := range l.factsOf(u.Status) {
		if _, twice := now[f.about]; !twice {
			order = append(order, f.about)
		}
		now[f.about] = f.is
		if l.facts[f.about] != f.is {
			l.line(f.about, f.is)
		}
	}
	for _, about := range l.order {
		if _, still := now[about]; !still {
			l.line(about, l.say("gone", "なくなりました"))
		}
	}
	l.facts, l.order = now, order
	return nil
}

func (l *ledger) lost(err *client.Error) error {
	l.line("inkand", l.away(err))
	delete(l.facts, "inkand") // that it is back is new
	l.order = slices.DeleteFunc(l.order, func(about string) bool { return about == "inkand" })
	return nil
}

func (l *ledger) line(about, is string) {
	l.outf("%s  %s: %s\n", time.Now().Format(time.DateTime), words.Clean(about), words.Clean(is))
}

// factsOf takes a state apart.
func (l *ledger) factsOf(s *inkanpb.Status) []fact {
	service := s.GetService()
	facts := []fact{{"inkand", service.GetVersion() + " (" + l.socket + ")"}, {l.say("status", "状態"), l.verdict(s).says}}
	for _, n := range service.GetNotices() {
		facts = append(facts, fact{n.GetCode(), l.say(n.GetEn(), n.GetJa())})
	}
	for _, r := range s.GetReaders() {
		facts = append(facts, fact{l.say("reader ", "リーダ ") + r.GetName(), l.inReader(r)})
	}
	for _, c := range s.GetCards() {
		card := l.say("card ", "カード ") + c.GetId()
		facts = append(facts, fact{card, strings.Join([]string{
			l.forPeople(cardStateWord(c.GetState())), l.say("PIN ", "暗証番号 ") + l.triesOf(c.GetPin()),
			l.say("unlock code ", "ロック解除コード ") + l.triesOf(c.GetUnlockCode()),
		}, l.say(", ", "、"))})
		for i, cert := range c.GetCertificates() {
			facts = append(facts, fact{
				card + l.say(" certificate ", " 証明書 ") + itoa(i+1),
				l.forPeople(certificateStateWord(cert.GetState())) + " " + l.until(cert) + " " + cert.GetHolder(),
			})
		}
		if notes := l.cardNotes(c); len(notes) > 0 {
			facts = append(facts, fact{card + l.say(" notes", " 注意"), strings.Join(notes, " / ")})
		}
	}
	return facts
}
