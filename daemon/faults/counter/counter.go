// Package counter is one inkand with a virtual card, and one person who uses
// it, one call after the other, for the faults of disks.
//
// It guarantees that the process it starts, and what that runs under (strace),
// end with the context. It never asks inkand what happened: a caller compares
// what the person was told ([Counter.Told]) with the card's truth log
// ([Counter.Truth]).
package counter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// patience is how long a start or a stop may take; under strace all is slower.
const patience = 20 * time.Second

// Counter is a running inkand.
type Counter struct {
	State string // directory, as this process reaches it
	Told  Told

	dir    string
	cmd    *exec.Cmd
	output *os.File
	client *client.Client
	person *person
	card   *inkanpb.RegisteredCard
	key    *inkanpb.Key
}

// Told is what the person was told.
type Told struct {
	Signatures map[string]uint64 // SHA-256 of a signature: its record
	Newest     uint64            // highest number of a record that was told
	Stopped    bool              // the card is stopped here
}

// Place says where the files of an inkand are.
type Place struct {
	Dir string // sockets and output
	// State is the state directory; "" = in Dir. Seen is the same directory as
	// this process reaches it, "" = the same path.
	State, Seen string
}

// Start runs inkand, under a program if there is a prefix.
func Start(ctx context.Context, binary string, at Place, prefix ...string) (*Counter, error) {
	dir := at.Dir
	state := cmp.Or(at.State, filepath.Join(dir, "state"))
	c := &Counter{State: cmp.Or(at.Seen, state), dir: dir, person: &person{pin: pivcard.DemoPIN}, Told: Told{Signatures: map[string]uint64{}}}
	for _, socket := range []string{"s", "p"} { // of one that was killed: Open waits for a new one
		if err := os.Remove(filepath.Join(dir, socket)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	c.output = output
	argv := append(slices.Clone(prefix), binary, "serve", "--virtual", "--state", state,
		"--socket", filepath.Join(dir, "s"), "--pin-socket", filepath.Join(dir, "p"))
	c.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // of our own making
	c.cmd.Stdout, c.cmd.Stderr = output, output
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.cmd.Cancel = func() error { return syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) }
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(err, output.Close())
	}
	return c, nil
}

// Open waits until inkand answers and knows its card. An error may mean that
// it ended: see [Counter.Wait].
func (c *Counter) Open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dir := c.dir
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(filepath.Join(dir, "p")); err == nil {
			break
		}
		// Someone who was told to end and is not waited for is a zombie.
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid)); err != nil || strings.Contains(string(stat), ") Z ") {
			return errors.New("inkand ended")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var err error
	c.client, err = client.Dial(ctx, client.Options{
		Socket: filepath.Join(dir, "s"), PINSocket: filepath.Join(dir, "p"), PIN: c.person, Language: "en", Comeback: -1,
	})
	if err != nil {
		return err
	}
	keys, err := c.client.Keys(ctx)
	if err != nil {
		return err
	}
	cards, err := c.client.Cards(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.GetSlot() == "9a" {
			c.key = k
		}
	}
	if c.key == nil || len(cards) != 1 {
		return fmt.Errorf("%d keys and %d cards are there", len(keys), len(cards))
	}
	c.card = cards[0]
	return nil
}

// Verify gives the right PIN, or a wrong one.
func (c *Counter) Verify(ctx context.Context, right bool) error {
	c.person.wrong = !right
	_, err := c.client.VerifyPIN(ctx, c.card.GetId())
	if !right && errors.Is(err, client.ErrPINWrong) {
		err = nil
	}
	return c.told(ctx, err)
}

// Sign signs a document.
func (c *Counter) Sign(ctx context.Context, document string) error {
	c.person.wrong = false
	digest := sha256.Sum256([]byte(document))
	s, err := c.client.Sign(ctx, client.SignRequest{
		KeyID: c.key.GetId(), Algorithm: c.key.GetAlgorithms()[0], Digest: digest[:], DocumentName: document,
	})
	if err == nil {
		sum := sha256.Sum256(s.Bytes)
		c.Told.Signatures[hex.EncodeToString(sum[:])] = s.Record
	}
	return c.told(ctx, err)
}

// ChangePIN changes the PIN.
func (c *Counter) ChangePIN(ctx context.Context) error {
	c.person.wrong = false
	c.person.turn()
	_, err := c.client.ChangePIN(ctx, c.card.GetId())
	if err == nil {
		c.person.pin = c.person.next
	}
	return c.told(ctx, err)
}

// Unlock unlocks the card.
func (c *Counter) Unlock(ctx context.Context) error {
	c.person.wrong = false
	c.person.turn()
	_, err := c.client.Unlock(ctx, c.card.GetId())
	if err == nil {
		c.person.pin = c.person.next
	}
	return c.told(ctx, err)
}

// StopHere stops the card.
func (c *Counter) StopHere(ctx context.Context) error {
	serial := c.card.GetSerial()
	_, err := c.client.StopHere(ctx, c.card.GetId(), serial[len(serial)-4:], "lost")
	if err == nil {
		c.Told.Stopped = true
	}
	return c.told(ctx, err)
}

// Lift lifts the stop.
func (c *Counter) Lift(ctx context.Context) error {
	_, err := c.client.Lift(ctx, c.card.GetId(), "found")
	if err == nil {
		c.Told.Stopped = false
	}
	return c.told(ctx, err)
}

// told asks for the newest record after a call that succeeded.
func (c *Counter) told(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	last, err := c.client.LastRecords(ctx, 1)
	if err == nil && len(last) == 1 {
		c.Told.Newest = last[0].GetSequence()
	}
	return err
}

// Tries returns the tries of PIN and unlock code that inkand shows.
func (c *Counter) Tries(ctx context.Context) (pin, unlock int, err error) {
	status, err := c.client.Status(ctx)
	if err != nil {
		return 0, 0, err
	}
	if len(status.GetCards()) != 1 {
		return 0, 0, fmt.Errorf("%d cards are there", len(status.GetCards()))
	}
	card := status.GetCards()[0]
	return int(card.GetPin().GetTriesLeft()), int(card.GetUnlockCode().GetTriesLeft()), nil
}

// CardID is the identity of the card.
func (c *Counter) CardID() string { return c.card.GetId() }

// Truth is what the card saw.
func (c *Counter) Truth() (pivcard.Truth, error) { return Truth(c.State) }

// Truth is what the card of a state directory saw.
func Truth(state string) (pivcard.Truth, error) {
	return pivcard.ReadTruth(filepath.Join(state, "virtual-card"))
}

// Close ends inkand in order, or without mercy, and waits. It returns its exit
// code, -1 after a signal, and what it said.
func (c *Counter) Close(mercy bool) (code int, said string, err error) {
	if c.client != nil {
		_ = c.client.Close() // nothing is asked any more
	}
	// strace passes no signal on and ends when its child does.
	signal := syscall.SIGKILL
	if mercy {
		signal = syscall.SIGINT
	}
	if pid := c.inkand(); pid > 0 {
		_ = syscall.Kill(pid, signal) // it may have ended
	}
	return c.Wait()
}

// inkand is its process id, or 0.
func (c *Counter) inkand() int {
	pid := c.cmd.Process.Pid
	if filepath.Base(c.cmd.Path) != "strace" {
		return pid
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	child := 0
	_, _ = fmt.Sscan(string(b), &child)
	return child
}

// Wait waits for the end of inkand.
func (c *Counter) Wait() (code int, said string, err error) {
	late := time.AfterFunc(patience, func() { _ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) })
	defer late.Stop()
	err = c.cmd.Wait()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		err = nil
	}
	text, err2 := os.ReadFile(c.output.Name())
	return c.cmd.ProcessState.ExitCode(), string(text), errors.Join(err, err2, c.output.Close())
}
