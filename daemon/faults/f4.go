package faults

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/inkan-project/inkan/daemon/faults/crashdisk"
	"github.com/inkan-project/inkan/daemon/faults/tally"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
)

// powerLoss is F4: the power goes at any moment, and of what was not synced
// any part is on the disk.
func powerLoss(ctx context.Context, r *Run) error {
	images := Pick(r.Tier, 10_000, 60_000, 300_000)
	for played := 0; played < images; {
		if err := ctx.Err(); err != nil {
			return err
		}
		seed := r.Random.Uint64()
		n, err := journalLosesPower(r, seed, playSteps, crashdisk.New())
		if err != nil {
			return fmt.Errorf("playing seed %d: %w", seed, err)
		}
		played += n
	}
	rec, err := record(ctx, r, enough)
	if err != nil {
		return err
	}
	return databaseLosesPower(ctx, r, rec, Pick(r.Tier, 400, 20_000, 100_000))
}

// Sizes of one play.
const (
	playSteps   = 60
	smallestNew = 5 // slots of a journal: it is compacted every few steps
	allSubsets  = 1 << 12
)

// journalLosesPower plays with one journal and looks at every image that a
// power cut could leave.
func journalLosesPower(r *Run, seed uint64, steps int, disk *crashdisk.Disk) (images int, err error) {
	random := rand.New(rand.NewPCG(seed, 4)) //nolint:gosec // faults need no secrecy
	slots := smallestNew + random.IntN(12)
	operations := 0
	p := tally.NewPlayer(nil, random)
	disk.Before = func(operation, _ string) error {
		operations++
		where := fmt.Sprintf("seed %d, %d slots, before operation %d (%s)", seed, slots, operations, operation)
		disk.Images(random, 3, allSubsets, func(image *crashdisk.Disk) bool {
			r.Fault()
			images++
			afterPowerLoss(r, image, p, random, where)
			return true
		})
		return nil
	}
	if p.Guard, _, err = pinguard.Open(tally.Config(disk, 0, slots)); err != nil {
		return images, err
	}
	for range steps {
		if err := p.Step(); err != nil {
			return images, err
		}
		if what := p.Done.Compare(p.Guard, tally.Accounts()); what != "" {
			return images, fmt.Errorf("model and guard differ without a fault: %s", what)
		}
	}
	return images, p.Guard.Close()
}

// afterPowerLoss starts on an image, and once more on what a power cut during
// that start left.
func afterPowerLoss(r *Run, image *crashdisk.Disk, p *tally.Player, random *rand.Rand, where string) {
	again := random.IntN(8) == 0
	// The log's row of the barrier may have come through or not.
	records := p.Rows
	if p.Guard != nil {
		records += uint64(random.IntN(2))
	}
	if again {
		inner := 0
		image.Before = func(operation, _ string) error {
			inner++
			image.Images(random, 1, 64, func(second *crashdisk.Disk) bool {
				r.Fault()
				startAfterPowerLoss(r, second, p, records, fmt.Sprintf("%s, then in operation %d (%s) of the start", where, inner, operation))
				return true
			})
			return nil
		}
	}
	startAfterPowerLoss(r, image, p, records, where)
}

// startAfterPowerLoss opens a journal after a power cut during p's step. It
// must be as if the step had been done, or not begun.
func startAfterPowerLoss(r *Run, image *crashdisk.Disk, p *tally.Player, records uint64, where string) {
	g, found, err := pinguard.Open(tally.Config(image, records, smallestNew))
	if err != nil {
		r.Broken(I8, "%s: the journal is refused: %v", where, err)
		return
	}
	if found.Unreadable > 0 || found.Copied != "" {
		r.Broken(I8, "%s: %d slots are unreadable, copied %q", where, found.Unreadable, found.Copied)
	}
	if records+uint64(found.LastAudit.Own) < found.LastAudit.Rows {
		r.Broken(I8, "%s: the log has %d records, the journal knows of %d", where, records, found.LastAudit.Rows)
	}
	done, next := p.Done.Clone(), p.Next.Clone()
	done.Crash()
	next.Crash()
	atDone, atNext := done.Compare(g, tally.Accounts()), next.Compare(g, tally.Accounts())
	if atDone != "" && atNext != "" {
		which := I9
		if done.Generous(g, tally.Accounts()) != "" && next.Generous(g, tally.Accounts()) != "" {
			which = I1
		}
		r.Broken(which, "%s: %s; or, had the step been done, %s", where, atDone, atNext)
		return
	}
	// It serves again: the next start finds what this one acknowledged.
	image.Before = nil
	if err := g.Acknowledge("piv-a", false, pinguard.AuditMark{Rows: max(records, found.LastAudit.Rows) + 1, Own: 1}); err != nil {
		r.Broken(I10, "%s: nothing can be written: %v", where, err)
		return
	}
	after, _, err := pinguard.Open(tally.Config(image.Image(crashdisk.None, nil), max(records, found.LastAudit.Rows)+1, smallestNew))
	if err != nil {
		r.Broken(I8, "%s: the second start refuses the journal: %v", where, err)
		return
	}
	done.Acknowledge("piv-a", false)
	next.Acknowledge("piv-a", false)
	laterDone, laterNext := done.Compare(after, tally.Accounts()), next.Compare(after, tally.Accounts())
	if (atDone != "" || laterDone != "") && (atNext != "" || laterNext != "") {
		r.Broken(I9, "%s: after the second start %s; or, had the step been done, %s", where, laterDone, laterNext)
	}
}
