package pcscdtest_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/inkan-project/inkan/pcsc/pcsctest"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
)

// TestF9 has something happen in every gap between the commands of every flow.
// Tier c does each fault in each gap of each flow on one kind of card, n all of
// them on four kinds, r on every kind.
func TestF9(t *testing.T) {
	c := newCatalogue(t)
	kinds := pivcard.Variants()
	c.random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	kinds = kinds[:pick(c, 2, maxReaders, 4, len(kinds))]
	for batch := range slices.Chunk(kinds, pick(c, 2, maxReaders, 4, maxReaders)) {
		t.Run(fmt.Sprint(len(batch)), func(t *testing.T) {
			if c.tier == "n" { // two readers for each kind
				batch = slices.Concat(batch, batch)
			}
			everyGap(t, c, batch)
		})
	}
}

// everyGap does what the tier wants with cards of these kinds.
func everyGap(t *testing.T, c *catalogue, kinds []string) {
	stations := newStations(t, kinds)
	gaps := make([]map[string][]string, len(stations))
	together(t, stations, func(ctx context.Context, i int, s *station) (err error) {
		gaps[i], err = s.meet(ctx)
		return err
	})
	work := share(c, stations, gaps)
	missed := make([][]item, len(stations))
	together(t, stations, func(ctx context.Context, i int, s *station) error {
		for _, it := range work[i] {
			if it.fault.killed {
				missed[i] = append(missed[i], it)
				continue
			}
			if err := s.insist(ctx, c, it); err != nil {
				return err
			}
		}
		return nil
	})
	for !t.Failed() && slices.ContainsFunc(missed, func(m []item) bool { return len(m) > 0 }) {
		killRound(t, c, stations, missed)
	}
}

// together has all stations work at the same time.
func together(t *testing.T, stations []*station, work func(context.Context, int, *station) error) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	for i, s := range stations {
		group.Go(func() error {
			if err := work(ctx, i, s); err != nil {
				return fmt.Errorf("reader %d, %s: %w", i, s.variant, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// share gives each station its work: with tier r and n all that its kind of
// card has, shared with other stations of that kind, else each thing that any
// of them has once.
func share(c *catalogue, stations []*station, gaps []map[string][]string) [][]item {
	work := make([][]item, len(stations))
	places := map[string][]int{} // who can do it
	things := map[string]map[int]item{}
	for i, s := range stations {
		for _, flow := range flows() {
			for gap := range gaps[i][flow] {
				for _, f := range gapFaults() {
					it := item{flow: flow, gap: gap, path: gaps[i][flow][:gap+1], fault: f}
					key, everywhere := it.key()
					if pick(c, false, false, true, true) {
						key = s.variant + "|" + key
					} else if !everywhere {
						continue
					}
					if things[key] == nil {
						things[key] = map[int]item{}
					}
					things[key][i] = it
					places[key] = append(places[key], i)
				}
			}
		}
	}
	keys := make([]string, 0, len(things))
	for key := range things {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	c.random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	// What few can do first, so that the work is even in the end.
	slices.SortStableFunc(keys, func(a, b string) int { return len(places[a]) - len(places[b]) })
	if c.tier == "" {
		keys = keys[:min(len(keys), 16)]
	}
	load := make([]time.Duration, len(stations))
	kills := make([]int, len(stations)) // as many for each: they are done in rounds
	for _, key := range keys {
		to := slices.MinFunc(places[key], func(a, b int) int { return cmp.Compare(load[a], load[b]) })
		if things[key][places[key][0]].fault.killed {
			to = slices.MinFunc(places[key], func(a, b int) int { return cmp.Compare(kills[a], kills[b]) })
			kills[to] += 1 + slowness(stations[to])
		}
		load[to] += things[key][to].fault.cost * time.Duration(1+slowness(stations[to]))
		work[to] = append(work[to], things[key][to])
	}
	return work
}

// slowness is how much longer than others a card takes for a fault, for sharing
// the work.
func slowness(s *station) int {
	if s.in.Behaviour().DelayMS > 0 {
		return 5
	}
	return 0
}

// tries is how often something is arranged anew that happened elsewhere: inkand
// may look at a card by itself just then.
const tries = 6

// insist does an item until it happened where it should.
func (s *station) insist(ctx context.Context, c *catalogue, it item) error {
	for range tries {
		if it.fault.stalled { // inkand bears a few hanging calls, then it starts anew
			s.stalls <- struct{}{}
		}
		out, err := s.do(ctx, c, it, it.fault.make(s))
		if it.fault.stalled {
			<-s.stalls
		}
		if err != nil {
			return err
		}
		if err := s.after(ctx, c, it, out); err != nil || out.at {
			return err
		}
	}
	return fmt.Errorf("%s: never reached", s.where(it))
}

// killRound has one item of each station wait in its gap, and kills pcscd when
// all do. Slow cards, and those that came too late before, begin first: inkand
// does not wait for ever in a gap.
func killRound(t *testing.T, c *catalogue, stations []*station, left [][]item) {
	t.Helper()
	r := round{t: t, c: c, left: left, outcomes: make([]struck, len(stations)), there: make(chan struct{}, 2*len(stations))}
	together(t, stations, func(ctx context.Context, _ int, s *station) error { return s.quiet(ctx) })
	group, ctx := errgroup.WithContext(t.Context())
	for _, slow := range []bool{true, false} {
		asked := 0
		for i, s := range stations {
			if len(left[i]) > 0 && slow == (slowness(s) > 0 || left[i][0].tried > 0) {
				asked++
				group.Go(func() error { return r.begin(ctx, i, s) })
			}
		}
		patience := stationCommand / 2 // inkand would not wait for those who are there
		if slow {
			patience = hangs
		}
		r.await(asked, patience)
	}
	pcscd := stations[0].b.pcscd
	r.killed = time.Now()
	pcscd.Kill()
	err := group.Wait()
	pcscd.Restart()
	if err != nil {
		t.Fatal(err)
	}
	together(t, stations, r.end)
}

// round is one life of pcscd.
type round struct {
	t        *testing.T
	c        *catalogue
	left     [][]item // by station; the first of each is done now
	outcomes []struck
	killed   time.Time
	there    chan struct{} // somebody waits in a gap, or did not get there
}

func (r *round) begin(ctx context.Context, i int, s *station) (err error) {
	defer func() { r.there <- struct{}{} }()
	it := r.left[i][0]
	r.outcomes[i], err = s.do(ctx, r.c, it, pcsctest.Fault{
		Acts: it.fault.name == "pcscd killed after",
		Drop: true, Delay: hangs, // the card stays in
		Meanwhile: func() { r.there <- struct{}{} },
	})
	return err
}

// await waits for so many stations.
func (r *round) await(asked int, patience time.Duration) {
	for range asked {
		select {
		case <-r.there:
		case <-time.After(patience):
			return
		}
	}
}

func (r *round) end(ctx context.Context, i int, s *station) error {
	if len(r.left[i]) == 0 {
		return nil
	}
	it := r.left[i][0]
	if err := s.after(ctx, r.c, it, r.outcomes[i]); err != nil {
		return err
	}
	if r.outcomes[i].at && r.outcomes[i].ended.After(r.killed) { // inkand had not given up
		r.left[i] = r.left[i][1:]
		return nil
	}
	if r.left[i][0].tried++; r.left[i][0].tried == tries {
		return fmt.Errorf("%s: never reached", s.where(it))
	}
	return nil
}
