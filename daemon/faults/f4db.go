package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/inkan-project/inkan/daemon/faults/counter"
	"github.com/inkan-project/inkan/daemon/faults/crashdisk"
	"github.com/inkan-project/inkan/daemon/faults/tracelog"
	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	"github.com/inkan-project/inkan/token"
)

// replay is a recording that is played to a disk that loses power.
type replay struct {
	*recording
	run    *Run
	random *rand.Rand
	disk   *crashdisk.Disk
	truth  []byte // the card's truth log: a card loses nothing
	folded pivcard.Truth
	read   int // bytes of truth that are folded
	images int
}

// databaseLosesPower plays the recording and starts on about so many images of
// a power cut, journal and database together.
func databaseLosesPower(ctx context.Context, r *Run, rec *recording, images int) error {
	p := &replay{recording: rec, run: r, random: r.Random, disk: crashdisk.New()}
	player := tracelog.Player{Disk: p.disk, Dir: rec.state}
	points, each := p.points(images)
	for i, call := range rec.calls {
		for ; len(points) > 0 && points[0] == i; points = points[1:] {
			if err := p.cut(ctx, i, each); err != nil {
				return fmt.Errorf("cutting the power before call %d: %w", i, err)
			}
		}
		if err := player.Play(call); err != nil {
			return fmt.Errorf("playing call %d: %w", i, err)
		}
		p.toCard(call)
	}
	return nil
}

// points chooses the calls before which the power is cut, and how many images
// are taken each time: first the moments, then more of each.
func (p *replay) points(images int) (points []int, each int) {
	if images < len(p.calls) {
		points = p.random.Perm(len(p.calls))[:images]
		slices.Sort(points)
		return points, 1
	}
	for i := range p.calls {
		points = append(points, i)
	}
	return points, images / len(points)
}

// toCard keeps what the card wrote into its truth log.
func (p *replay) toCard(c tracelog.Call) {
	if filepath.Base(filepath.Dir(c.Path)) != "virtual-card" || !strings.HasPrefix(filepath.Base(c.Path), "truth.jsonl") {
		return
	}
	switch c.Kind {
	case tracelog.Write:
		p.truth = append(p.truth, c.Data...)
	case tracelog.Truncate:
		p.truth = p.truth[:c.Offset]
	case tracelog.Create, tracelog.Sync, tracelog.Rename, tracelog.Remove:
	}
}

// cut takes images at one moment and starts on each.
func (p *replay) cut(ctx context.Context, call, each int) (err error) {
	if p.read != len(p.truth) {
		dir := filepath.Join(p.run.Dir, "truth")
		err = errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "truth.jsonl"), p.truth, 0o600))
		if err == nil {
			p.folded, err = pivcard.ReadTruth(dir)
		}
		if err != nil {
			return err
		}
		p.read = len(p.truth)
	}
	if p.disk.Has(journalName) {
		p.disk.SetInodes(p.dir, journalName, p.journal)
	}
	one := func(image *crashdisk.Disk) bool {
		err = p.start(ctx, image, call)
		return err == nil
	}
	if each > 1 {
		p.disk.Images(p.random, each/4, each-each/4, one)
		return err
	}
	choice := crashdisk.RandomChoice(p.random, p.disk.Pending())
	one(p.disk.Image(choice, p.random))
	return err
}

// recoveredOnDisk says of how many images one is recovered on the disk; the
// others are in memory, which takes no syncs.
const recoveredOnDisk = 16

// start starts on an image, as inkand does. The error is that of the test.
func (p *replay) start(ctx context.Context, image *crashdisk.Disk, call int) error {
	p.images++
	where := fmt.Sprintf("image %d, power cut before call %d", p.images, call)
	dir := filepath.Join(p.run.Dir, "image")
	err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700))
	if err == nil {
		err = image.WriteTo(dir, func(name string) bool { return strings.HasPrefix(name, journalName) })
	}
	if err != nil {
		return err
	}
	p.run.Fault()
	// An interruption says nothing about the image: it ends behind it.
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ctx = context.WithoutCancel(ctx)
	b, err := openBooks(ctx, dir, image)
	if err != nil {
		p.run.Broken(I8, "%s: refused: %v", where, err)
		return nil
	}
	defer func() { _ = b.close() }() // what is left is thrown away
	told, next := p.at(call)
	p.checkLog(ctx, b, told, where)
	p.checkTries(b, where)
	if p.images%recoveredOnDisk != 0 {
		if b, err = b.inMemory(ctx); err != nil {
			p.run.Broken(I5, "%s: the log reads one way, then another: %v", where, err)
			return nil
		}
	}
	if err := b.recoverBooks(ctx); err != nil {
		p.run.Broken(I8, "%s: %v", where, err)
		return nil
	}
	p.checkRecovered(ctx, b, told, next, where)
	return nil
}

// checkLog holds the log against the one at the end of the recording and
// against what had been told.
func (p *replay) checkLog(ctx context.Context, b books, told counter.Told, where string) {
	n := b.log.Count()
	if n < told.Newest {
		p.run.Broken(I9, "%s: the log has %d records, %d were told", where, n, told.Newest)
	}
	for _, record := range told.Signatures {
		if record > n {
			p.run.Broken(I3, "%s: a signature was released as record %d, the log has %d", where, record, n)
		}
	}
	if n == 0 {
		return
	}
	last, _, err := b.log.List(ctx, audit.Filter{After: n - 1, Limit: 1})
	if err != nil || len(last) != 1 || n > uint64(len(p.records)) || last[0].Hash != p.records[n-1].Hash {
		p.run.Broken(I5, "%s: record %d is not the one that was written (%v)", where, n, err)
		return
	}
	if spent := p.folded.Verifies + p.folded.Changes + p.folded.UnlockVerifies; spent > p.intents[n] {
		p.run.Broken(I1, "%s: the card saw %d secrets, the log has %d intents", where, spent, p.intents[n])
	}
}

// checkTries holds what is believed against the card.
func (p *replay) checkTries(b books, where string) {
	if len(p.truth) == 0 {
		return
	}
	for secret, left := range map[token.Secret]int{token.SecretPIN: p.folded.PINLeft, token.SecretUnlockCode: p.folded.UnlockLeft} {
		believed := b.guard.Belief(pinguard.Account{Card: p.card, Secret: secret, Limit: pivcard.Tries}).Left
		if believed > left {
			p.run.Broken(I2, "%s: %d tries of the %s are believed, the card has %d", where, believed, secret, left)
		}
	}
}

// checkRecovered looks at what a start left for the next calls.
func (p *replay) checkRecovered(ctx context.Context, b books, told, next counter.Told, where string) {
	if open, err := b.log.OpenIntents(ctx); err != nil || len(open) > 0 {
		p.run.Broken(I4, "%s: %d intents are open (%v)", where, len(open), err)
	}
	stops, err := b.stopped(ctx)
	if stopped := stops[p.card]; err != nil || stopped != told.Stopped && stopped != next.Stopped {
		p.run.Broken(I6, "%s: stopped here: %v (%v), should be %v", where, stopped, err, told.Stopped)
	}
	if err := b.log.Check(ctx); err != nil {
		p.run.Broken(I5, "%s: after the start: %v", where, err)
	}
	if told.Newest > 0 {
		if card, found, err := b.store.Register().Card(ctx, p.card); err != nil || !found || len(card.Keys) == 0 {
			p.run.Broken(I9, "%s: the card is not in the register any more (%v)", where, err)
		}
	}
	if b.found.Copied != "" || b.found.Unreadable > 0 {
		p.run.Broken(I8, "%s: copied %q, %d slots unreadable", where, b.found.Copied, b.found.Unreadable)
	}
}
