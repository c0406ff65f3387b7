package crashdisk

import (
	"bytes"
	"maps"
	"math/rand/v2"
)

// writing returns the change that a write makes.
func writing(n *node, b []byte, off int64) change {
	c := change{file: n, size: off + int64(len(b)), sectors: map[int64][]byte{}, spans: map[int64][2]int{}}
	for len(b) > 0 {
		sector, at := off/SectorSize, int(off%SectorSize)
		length := min(SectorSize-at, len(b))
		if old, there := n.now.sectors[sector]; there || !zeros(b[:length]) {
			s := make([]byte, SectorSize)
			copy(s, old)
			copy(s[at:], b[:length])
			c.sectors[sector], c.spans[sector] = s, [2]int{at, at + length}
		}
		b, off = b[length:], off+int64(length)
	}
	return c
}

func zeros(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// with returns the content after a change of which only the chosen sectors
// came through; nil = all. What a write put around its own bytes comes from
// the content it meets. It may use c's map.
func (c content) with(ch change, chosen func(sector int64) bool) content {
	if ch.cut {
		maps.DeleteFunc(c.sectors, func(sector int64, _ []byte) bool { return sector*SectorSize >= ch.size })
		if s, ok := c.sectors[ch.size/SectorSize]; ok {
			kept := make([]byte, SectorSize)
			copy(kept, s[:ch.size%SectorSize])
			c.sectors[ch.size/SectorSize] = kept
		}
		c.size = ch.size
		return c
	}
	c.size = max(c.size, ch.size)
	for sector, s := range ch.sectors {
		if chosen != nil && !chosen(sector) {
			continue
		}
		span := ch.spans[sector]
		if old, ok := c.sectors[sector]; span[1]-span[0] < SectorSize {
			mixed := make([]byte, SectorSize)
			if ok {
				copy(mixed, old)
			}
			copy(mixed[span[0]:span[1]], s[span[0]:span[1]])
			s = mixed
		}
		c.sectors[sector] = s
	}
	return c
}

// Pending returns how many operations are not synced.
func (d *Disk) Pending() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.pending)
}

// Choice says what became of an operation that was not synced.
type Choice uint8

// What can become of it.
const (
	Lost Choice = iota
	Done
	Torn // any sectors of a write; other operations are done
)

// Image returns the disk after a power cut: what is durable, and of what was
// not synced what choose says. It shares nothing with d that changes.
func (d *Disk) Image(choose func(operation int) Choice, random *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	image := New()
	image.inodes, image.dir = d.inodes, d.dir
	twins := map[*node]*node{}
	twin := func(n *node) *node {
		t, ok := twins[n]
		if !ok && n != nil {
			t = &node{inode: n.inode, disk: n.disk.clone()}
			twins[n] = t
		}
		return t
	}
	for name, n := range d.synced {
		image.synced[name] = twin(n)
	}
	for i, c := range d.pending {
		what := choose(i)
		switch {
		case what == Lost:
		case c.file == nil:
			c.entry = twin(c.entry)
			c.applyName(image.synced)
		case what == Torn:
			t := twin(c.file)
			t.disk = t.disk.with(c, func(int64) bool { return random.IntN(2) == 0 })
		default:
			t := twin(c.file)
			t.disk = t.disk.with(c, nil)
		}
	}
	for name, n := range image.synced {
		n.now = n.disk.clone()
		image.names[name] = n
	}
	return image
}

// All is a choice for Image: everything that was not synced came through.
func All(int) Choice { return Done }

// None is a choice for Image: nothing of it did.
func None(int) Choice { return Lost }

// maxSubsets is up to how many operations all subsets are tried.
const maxSubsets = 12

// Images calls each with images of a power cut now: all subsets of up to 12
// operations that are not synced, and torn random ones besides; of more than
// 12, or where there are more subsets than most, random ones alone. It ends early when
// each returns false.
func (d *Disk) Images(random *rand.Rand, torn, most int, each func(*Disk) bool) {
	pending := d.Pending()
	subsets := 1 << min(pending, maxSubsets)
	if pending <= maxSubsets && subsets <= most {
		for set := range subsets {
			if !each(d.Image(func(i int) Choice { return Choice(set >> i & 1) }, random)) {
				return
			}
		}
	} else {
		for i := range most {
			choice := RandomChoice(random, pending)
			switch i {
			case 0:
				choice = None
			case 1:
				choice = All
			}
			if !each(d.Image(choice, random)) {
				return
			}
		}
	}
	for range torn {
		if pending > 0 && !each(d.Image(func(int) Choice { return Choice(random.IntN(3)) }, random)) {
			return
		}
	}
}

// RandomChoice is a choice for Image: the first operations, some, or parts of
// some, each as often.
func RandomChoice(random *rand.Rand, pending int) func(int) Choice {
	switch random.IntN(3) {
	case 0:
		end := random.IntN(pending + 1)
		return func(op int) Choice {
			if op < end {
				return Done
			}
			return Lost
		}
	case 1:
		return func(int) Choice { return Choice(random.IntN(2)) }
	}
	return func(int) Choice { return Choice(random.IntN(3)) }
}
