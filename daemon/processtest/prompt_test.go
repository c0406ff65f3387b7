package processtest_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/inkan-project/inkan/client"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// order is what the test asks the other program to do. Secrets go to it by a
// pipe, never by arguments or environment.
type order struct {
	Do   string // "sign", "verify", "change", "unlock", "stop"
	Card string
	Slot string

	// What the person types.
	PIN, Code, New string
	// Wait says "asked" once the person is asked, and waits for another line
	// before the first secret is given.
	Wait bool
}

// report is how it ended.
type report struct {
	Asked    bool   // the person is asked now; the report is not the last
	Reason   string // of the catalogue, "" = done
	Error    string
	Warnings []string
}

// promptMain does orders until its input ends.
func promptMain(ctx context.Context, args []string) int {
	p := &person{in: bufio.NewScanner(os.Stdin), out: json.NewEncoder(os.Stdout)}
	c, err := client.Dial(ctx, client.Options{Socket: args[0], PIN: p, Language: "en"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitWrong
	}
	defer c.Close()
	for p.in.Scan() {
		o, err := p.hear(p.in.Bytes())
		if err != nil {
			return exitWrong
		}
		var r report
		r.Warnings, err = o.do(ctx, c)
		if err != nil {
			r.Error = err.Error()
			r.Reason = "?"
			if e, ok := errors.AsType[*client.Error](err); ok {
				r.Reason = strings.TrimPrefix(e.Reason.String(), "REASON_")
			}
		}
		if err := p.out.Encode(r); err != nil {
			return exitWrong
		}
	}
	return 0
}

// person types what the order says.
type person struct {
	in  *bufio.Scanner
	out *json.Encoder

	mu    sync.Mutex // guards order
	order order
}

// hear takes an order.
func (p *person) hear(text []byte) (o order, err error) {
	err = json.Unmarshal(text, &o)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.order = o
	return o, err
}

// knows returns what is to be typed.
func (p *person) knows() order {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.order
}

// do does what the order says.
func (o order) do(ctx context.Context, c *client.Client) (warnings []string, err error) {
	switch o.Do {
	case "sign":
		return nil, o.sign(ctx, c)
	case "verify":
		_, err = c.VerifyPIN(ctx, o.Card)
	case "change":
		_, err = c.ChangePIN(ctx, o.Card)
	case "unlock":
		u, err := c.Unlock(ctx, o.Card)
		return u.Warnings, err
	case "stop":
		st, err := c.Status(ctx)
		if err != nil || len(st.GetCards()) != 1 {
			return nil, fmt.Errorf("looking for the card: %d, %w", len(st.GetCards()), err)
		}
		card := st.GetCards()[0]
		_, err = c.StopHere(ctx, card.GetId(), card.GetSerial()[len(card.GetSerial())-4:], "lost")
		return nil, err
	}
	return nil, err
}

func (o order) sign(ctx context.Context, c *client.Client) error {
	keys, err := c.Keys(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.GetCardId() != o.Card || k.GetSlot() != o.Slot {
			continue
		}
		digest := sha256.Sum256([]byte("document"))
		_, err := c.Sign(ctx, client.SignRequest{
			KeyID: k.GetId(), Algorithm: inkanpb.Algorithm_ALGORITHM_ECDSA_SHA256, Digest: digest[:], DocumentName: "入札書.pdf",
		})
		return err
	}
	return fmt.Errorf("no key in %s", o.Slot)
}

// PIN implements client.PINSource.
func (p *person) PIN(_ context.Context, _ client.Prompt, buf []byte) (int, error) {
	o := p.knows()
	if o.Wait {
		if err := p.out.Encode(report{Asked: true}); err != nil {
			return 0, err
		}
		if !p.in.Scan() {
			return 0, io.ErrUnexpectedEOF
		}
	}
	return copy(buf, o.PIN), nil
}

// Secret implements client.SecretSource.
func (p *person) Secret(_ context.Context, q client.Prompt, buf []byte) (int, error) {
	o := p.knows()
	if q.Secret == inkanpb.SecretKind_SECRET_KIND_UNLOCK_CODE {
		return copy(buf, o.Code), nil
	}
	return copy(buf, o.New), nil
}

// Confirm implements client.Confirmer: nobody says that a PIN was changed
// elsewhere.
func (p *person) Confirm(context.Context, client.Prompt) (string, error) { return "", client.ErrCancel }

// asker is the program at the other end.
type asker struct {
	*bench
	in  io.Writer
	out *json.Decoder
}

// asker starts a program of root whose PINs count as a person's, or, from
// another path, as a program's.
func (b *bench) asker(path string) *asker {
	b.Helper()
	cmd := b.pcscd.Command(context.WithoutCancel(b.Context()), path, b.path("inkan.sock"))
	cmd.Env, cmd.Stderr, cmd.SysProcAttr = append(os.Environ(), asWhat+"="+asPrompt), b.Output(), b.signer(0)
	in, err := cmd.StdinPipe()
	b.check(err)
	_, out := b.startSaying(cmd)
	return &asker{b, in, out}
}

// tell gives an order and returns without waiting for its end.
func (a *asker) tell(o order) {
	a.Helper()
	text, err := json.Marshal(o)
	a.check(err)
	_, err = a.in.Write(append(text, '\n'))
	a.check(err)
}

// hear waits for a report.
func (a *asker) hear() report {
	a.Helper()
	var r report
	a.check(a.out.Decode(&r))
	return r
}

// do gives an order and wants it to end with a reason, "" = done.
func (a *asker) do(o order, reason string) report {
	a.Helper()
	a.tell(o)
	r := a.hear()
	if r.Reason != reason {
		a.Fatalf("%s: %s (%s), want %q\n%s", o.Do, r.Reason, r.Error, reason, a.log())
	}
	return r
}
