package cardreport

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/pcsc/apdu"
)

// application is a card application that can be asked for by its name.
type application struct {
	name string
	aid  []byte
}

// known returns the applications that are looked for.
func known() []application {
	return []application{
		// SP 800-73-5 part 1 section 2.2, without the version
		{"PIV", []byte{0xA0, 0x00, 0x00, 0x03, 0x08}},
		// PKCS #15 v1.1; ISO/IEC 7816-15
		{"PKCS#15", []byte{0xA0, 0x00, 0x00, 0x00, 0x63, 0x50, 0x4B, 0x43, 0x53, 0x2D, 0x31, 0x35}},
		// OpenSC src/libopensc/card-gids.c
		{"GIDS", []byte{0xA0, 0x00, 0x00, 0x03, 0x97, 0x42, 0x54, 0x46, 0x59, 0x02, 0x01}},
		// OpenSC src/libopensc/jpki.h
		{"JPKI", []byte{0xD3, 0x92, 0xF0, 0x00, 0x26, 0x01, 0x00, 0x00, 0x00, 0x01}},
		// OpenPGP card 3.4 section 4.2.1, without version and serial number
		{"OpenPGP", []byte{0xD2, 0x76, 0x00, 0x01, 0x24, 0x01}},
	}
}

// object is a data object of PIV that anybody may read (SP 800-73-5 part 1
// table 3, "Always"). Those for which a PIN is needed are not asked for.
type object struct {
	tag         []byte
	name        string
	certificate bool
}

func objects() []object {
	return []object{
		{[]byte{0x7E}, "discovery object", false},
		{[]byte{0x5F, 0xC1, 0x02}, "CHUID", false},
		{[]byte{0x5F, 0xC1, 0x07}, "card capability container", false},
		{[]byte{0x5F, 0xC1, 0x06}, "security object", false},
		{[]byte{0x5F, 0xC1, 0x0C}, "key history", false},
		{[]byte{0x5F, 0xC1, 0x05}, "certificate 9A", true},
		{[]byte{0x5F, 0xC1, 0x0A}, "certificate 9C", true},
		{[]byte{0x5F, 0xC1, 0x0B}, "certificate 9D", true},
		{[]byte{0x5F, 0xC1, 0x01}, "certificate 9E", true},
	}
}

// readers reports all readers.
func (r *report) readers(ctx context.Context) {
	r.line(0, "readers")
	waiting, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	states, err := r.Config.Readers.Wait(waiting, nil)
	if err == nil && r.Health != nil && len(states) == 0 {
		err = r.Health()
	}
	if err != nil {
		r.line(1, "cannot be listed: %v", err)
		return
	}
	if len(states) == 0 {
		r.line(1, "none")
	}
	for _, s := range states {
		if !strings.Contains(s.Name, r.Reader) {
			continue
		}
		r.line(1, "reader %q", s.Name)
		if !s.Present {
			r.line(2, "no card")
		} else if err := r.card(ctx, s.Name); err != nil {
			r.line(2, "problem: %v", err)
		}
	}
}

// card reports the card in a reader and leaves it reset.
func (r *report) card(ctx context.Context, reader string) (err error) {
	connecting, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	card, err := r.Config.Readers.Connect(connecting, reader)
	if errors.Is(err, pcsc.ErrSharing) {
		return fmt.Errorf("another program has the card: close it and run this again: %w", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, card.Disconnect(pcsc.Reset)) }()
	r.line(2, "ATR % X", card.ATR())
	for _, app := range known() {
		answer, err := r.send(ctx, card, apdu.Command{INS: 0xA4, P1: 0x04, Data: app.aid, Ne: 256}) // SELECT by name (ISO/IEC 7816-4 section 11.2.2)
		if err != nil {
			return fmt.Errorf("selecting %s: %w", app.name, err)
		}
		r.line(2, "%s (%X): %v, %s", app.name, app.aid, answer.SW, shape(answer.Data))
		if app.name == "PIV" && answer.SW == apdu.SWOK {
			if err := r.piv(ctx, card); err != nil {
				return err
			}
		}
	}
	return nil
}

// piv reports the data objects of PIV that anybody may read.
func (r *report) piv(ctx context.Context, card pcsc.Card) error {
	for _, o := range objects() {
		// GET DATA (SP 800-73-5 part 2 section 3.1.2): the tag in a tag list, 5C.
		answer, err := r.send(ctx, card, apdu.Command{
			INS: 0xCB, P1: 0x3F, P2: 0xFF, Data: apdu.AppendTLV(nil, 0x5C, o.tag), Ne: 256,
		})
		if err != nil {
			return fmt.Errorf("reading %s: %w", o.name, err)
		}
		r.line(3, "%s (%X): %v, %s", o.name, o.tag, answer.SW, shape(answer.Data))
		if !o.certificate || answer.SW != apdu.SWOK {
			continue
		}
		// 53, and in it 70, the certificate (SP 800-73-5 part 1 table 11).
		if der, err := apdu.Find(answer.Data, 0x53, 0x70); err == nil {
			r.certificate(4, der)
		}
	}
	return nil
}

// send sends a command without a secret and collects the answer.
func (r *report) send(ctx context.Context, card pcsc.Card, c apdu.Command) (apdu.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	return apdu.Exchange(ctx, card, c, apdu.Options{})
}

// shape says how an answer is made up, not what is in it: a serial number may be
// anywhere.
func shape(data []byte) string {
	if len(data) == 0 {
		return "no data"
	}
	return fmt.Sprintf("%d bytes beginning with %02X", len(data), data[0])
}
