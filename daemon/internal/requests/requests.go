// Package requests knows which requests came already, by the names that callers
// give them, so that one that is asked twice is done once.
//
// It guarantees that of all calls of one request a single one is told to act;
// that the others wait until that one has ended and are then told where its
// answer stands; and that a request is remembered for a day after it came. It
// keeps no answer itself: that is in the log. A caller loads at the start what
// the log has, does nothing without a [Turn], and ends each Turn, whatever
// happened.
package requests

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/inkan-project/inkan/token"
)

// Kept is how long a request is remembered.
const Kept = 24 * time.Hour

// Limits on how many requests are remembered at once. A card makes about one
// signature a second: a user with one card does not reach the limit in a day.
// Each costs about 100 bytes.
const (
	maxOfUser = 100_000
	maxOfAll  = 300_000
	// spare are those of a user that others cannot use up.
	spare = 1000
)

// Key names a request: callers of different users or methods do not meet.
type Key struct {
	UID    uint32
	Method string
	ID     string
}

// name stands for a Key in memory: half of a SHA-256, which nobody finds a
// second Key for.
type name [16]byte

func (k Key) name() name {
	b := binary.BigEndian.AppendUint32(nil, k.UID)
	b = binary.BigEndian.AppendUint64(b, uint64(len(k.Method)))
	sum := sha256.Sum256(append(append(b, k.Method...), k.ID...))
	return name(sum[:])
}

// Book is the requests of a day. It is safe for concurrent use.
type Book struct {
	born                time.Time
	maxOfUser, maxOfAll int

	mu      sync.Mutex      // guards the fields that follow
	running map[name]*Turn  // that act now
	kept    map[name]uint64 // records where the answers stand
	ages    []aged          // of kept, oldest first
	ofUser  map[uint32]int  // running and kept
}

// aged is when a request is forgotten.
type aged struct {
	name  name
	uid   uint32
	until time.Duration // since the Book was made
}

// New returns a Book without requests.
func New() *Book {
	return &Book{
		born: time.Now(), maxOfUser: maxOfUser, maxOfAll: maxOfAll,
		running: map[name]*Turn{}, kept: map[name]uint64{}, ofUser: map[uint32]int{},
	}
}

// Load takes in a request of which the log has the answer since a while. The
// oldest come first, and of several records of one request the first counts.
// What the log has is taken in whatever the limits.
func (b *Book) Load(key Key, record uint64, age time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := key.name()
	if _, known := b.kept[n]; known || age >= Kept {
		return
	}
	b.ofUser[key.UID]++
	b.keepLocked(n, key.UID, record, Kept-max(age, 0))
}

// Turn is the right to act for a request.
type Turn struct {
	book    *Book
	name    name
	uid     uint32
	content [sha256.Size]byte
	ended   chan struct{}
}

// Begin returns the turn to act, or the record with the answer to the call that
// had it. While that one acts it waits. With repeat nothing is begun: a request
// that is not known is KindRequestNotKnown.
//
// Other errors are [*token.Error] of kind KindRequestIDReused (other content
// is being acted on; that of a record is for the caller to compare),
// KindRequestIDsUsedUp and KindCallEnded, when ctx ends first.
func (b *Book) Begin(ctx context.Context, key Key, content [sha256.Size]byte, repeat bool) (*Turn, uint64, error) {
	for {
		turn, other, record, err := b.begin(key, content, repeat)
		if other == nil {
			return turn, record, err
		}
		select {
		case <-other.ended:
		case <-ctx.Done():
			return nil, 0, token.NewError(token.KindCallEnded).Because(context.Cause(ctx))
		}
	}
}

// begin is Begin, but returns the turn that is to be waited for.
func (b *Book) begin(key Key, content [sha256.Size]byte, repeat bool) (mine, other *Turn, record uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgetLocked()
	n := key.name()
	if record, known := b.kept[n]; known {
		return nil, nil, record, nil
	}
	if other := b.running[n]; other != nil {
		if other.content != content {
			return nil, nil, 0, token.NewError(token.KindRequestIDReused)
		}
		return nil, other, 0, nil
	}
	switch {
	case repeat:
		return nil, nil, 0, token.NewError(token.KindRequestNotKnown)
	case b.ofUser[key.UID] >= b.maxOfUser,
		len(b.kept)+len(b.running) >= b.maxOfAll && b.ofUser[key.UID] >= min(spare, b.maxOfUser/4):
		return nil, nil, 0, token.NewError(token.KindRequestIDsUsedUp)
	}
	mine = &Turn{book: b, name: n, uid: key.UID, content: content, ended: make(chan struct{})}
	b.running[n] = mine
	b.ofUser[key.UID]++
	return mine, nil, 0, nil
}

// End ends the turn: the answer stands in a record. 0: none does, because
// nothing was begun and nobody was answered; the next call may act.
func (t *Turn) End(record uint64) {
	b := t.book
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.running, t.name)
	if record != 0 {
		b.keepLocked(t.name, t.uid, record, Kept)
	} else {
		b.lessLocked(t.uid)
	}
	close(t.ended)
}

func (b *Book) keepLocked(n name, uid uint32, record uint64, left time.Duration) {
	b.kept[n] = record
	b.ages = append(b.ages, aged{n, uid, time.Since(b.born) + left})
}

// forgetLocked forgets what is old enough.
func (b *Book) forgetLocked() {
	now := time.Since(b.born)
	for len(b.ages) > 0 && b.ages[0].until <= now {
		delete(b.kept, b.ages[0].name)
		b.lessLocked(b.ages[0].uid)
		b.ages = b.ages[1:]
	}
}

func (b *Book) lessLocked(uid uint32) {
	if b.ofUser[uid]--; b.ofUser[uid] == 0 {
		delete(b.ofUser, uid)
	}
}
