// Package cardcmd is the program inkan-virtual-card: the virtual card as a
// process of its own, inserted into pcscd's virtual reader (vsmartcard's vpcd).
//
// It guarantees that the card stays inserted while the program runs, also when
// pcscd comes later or starts again, and that a signal ends it in order. A
// caller must keep vpcd away from networks: it listens on every interface, so
// it belongs into a network namespace of its own.
package cardcmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/pcsc/virtual/vpcd"
)

// Exit codes (sysexits.h).
const (
	exitOK       = 0
	exitUsage    = 64 // wrong command line
	exitDamaged  = 65 // the card's files contradict each other
	exitInternal = 70 // anything else
	exitNoState  = 73 // the directory cannot be used
	exitInUse    = 75 // another process runs this card
)

// defaultKeys fills all places of a new card.
const defaultKeys = "9a=P-256,9c=RSA-2048,9d=P-256,9e=P-256"

const usage = `inkan-virtual-card is a virtual card in the virtual reader of pcscd.

  inkan-virtual-card --state DIR --vpcd HOST:PORT [--keys SLOT=TYPE,...]
                     [--profile NAME|FILE]

--state    the card's directory; made when absent. The card lives in it: keys,
           secrets, tries, and the truth log of what it saw (truth.jsonl).
--vpcd     where vsmartcard's vpcd waits for cards, for example 127.0.0.1:35963.
           It listens on every network interface: give it a network namespace
           of its own.
--keys     what a new card is made with; slots 9a 9c 9d 9e, types RSA-2048
           P-256 P-384. Default: ` + defaultKeys + `
--profile  how a new card behaves: a name (%s)
           or a file (JSON, as under "behaviour" in card.json).

PIN ` + pivcard.DemoPIN + `, unlock code ` + pivcard.DemoUnlockCode + `; the management key is 01 to 08, three times (3DES).

Exit codes: 0 stopped by a signal, 64 command line, 65 card damaged, 70 other,
73 directory not usable, 75 card in use by another process.
`

// errUsage means that the command line is wrong.
var errUsage = errors.New("wrong command line")

// settings are the command line.
type settings struct {
	state, address, keys, profile string
}

// Main is the whole program; it returns the exit code.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stdout, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	if err = run(ctx, s, stdout, stderr); err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintln(stderr, "inkan-virtual-card:", err)
	_, path := errors.AsType[*fs.PathError](err)
	switch {
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, pivcard.ErrInUse):
		return exitInUse
	case errors.Is(err, pivcard.ErrDamaged):
		return exitDamaged
	case path:
		return exitNoState
	}
	return exitInternal
}

func explained(w io.Writer) {
	_, _ = fmt.Fprintf(w, usage, strings.Join(pivcard.Variants(), ", "))
}

func parse(args []string, stdout, stderr io.Writer) (settings, error) {
	var s settings
	set := flag.NewFlagSet("inkan-virtual-card", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	set.StringVar(&s.state, "state", "", "directory")
	set.StringVar(&s.address, "vpcd", "", "HOST:PORT")
	set.StringVar(&s.keys, "keys", defaultKeys, "keys")
	set.StringVar(&s.profile, "profile", "", "behaviour")
	err := set.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		explained(stdout)
		return s, err
	case err != nil:
	case set.NArg() > 0:
		err = fmt.Errorf("what is %q?", set.Arg(0))
	case s.state == "" || s.address == "":
		err = errors.New("--state and --vpcd are needed")
	default:
		err = checkAddress(s.address)
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "inkan-virtual-card: %v\n\n", err)
		explained(stderr)
		return s, errUsage
	}
	return s, nil
}

// run opens the card and keeps it in the reader until ctx ends.
func run(ctx context.Context, s settings, stdout, stderr io.Writer) (err error) {
	card, err := open(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, card.Close()) }()
	_, _ = fmt.Fprintf(stdout, "仮想カード / virtual card: PIN %s, unlock code %s\ncard %x for vpcd at %s\n",
		pivcard.DemoPIN, pivcard.DemoUnlockCode, card.GUID(), s.address)
	dial := announcer{dial: vpcd.Dialer(s.address), address: s.address, stderr: stderr}
	if err := vpcd.Run(ctx, dial.connect, card); err != nil {
		return fmt.Errorf("serving the card: %w", err)
	}
	return nil
}

// open opens the card. A profile is for a new card; one that contradicts the
// card which is there is refused, because nothing would come of it.
func open(s settings) (*pivcard.Card, error) {
	keys, err := pivcard.ParseKeys(s.keys)
	if err != nil {
		return nil, fmt.Errorf("%w: --keys: %w", errUsage, err)
	}
	behaviour, err := behaviourOf(s.profile)
	if err != nil {
		return nil, fmt.Errorf("%w: --profile: %w", errUsage, err)
	}
	card, err := pivcard.Open(pivcard.Options{Dir: s.state, Keys: keys, Behaviour: behaviour})
	if err != nil {
		return nil, err
	}
	if s.profile != "" && card.Behaviour() != behaviour {
		return nil, errors.Join(fmt.Errorf("%w: --profile: the card in %s was made to behave in another way", errUsage, s.state), card.Close())
	}
	return card, nil
}

// maxProfile is the largest file that is read, in bytes.
const maxProfile = 64 << 10

func behaviourOf(nameOrFile string) (pivcard.Behaviour, error) {
	if nameOrFile == "" {
		return pivcard.Behaviour{}, nil
	}
	if b, ok := pivcard.Variant(nameOrFile); ok {
		return b, nil
	}
	f, err := os.Open(nameOrFile)
	if err != nil {
		return pivcard.Behaviour{}, fmt.Errorf("there is no such name, and: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxProfile))
	if err != nil {
		return pivcard.Behaviour{}, fmt.Errorf("reading %s: %w", nameOrFile, err)
	}
	return pivcard.ParseBehaviour(text)
}
