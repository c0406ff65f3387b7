package pinpage

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token"
)

// Layout of the page behind a [Wrong]: the key, room to work, and the hashes.
const (
	// keyLength is a byte for each of the longest PIN and one for its length.
	keyLength  = token.PINCapacity + 1
	workOffset = keyLength
	workLength = keyLength + sha256.Size // the masked PIN, and whose secret it is
	hashOffset = workOffset + workLength
	smallest   = 4096 // bytes in a page
	// MaxWrong is how many secrets are remembered.
	MaxWrong = 100
)

const _ = uint(smallest - hashOffset - MaxWrong*sha256.Size) // does not compile when they do not fit

// Wrong remembers which secrets a card called wrong, for the life of the
// process, so that the same one is not sent twice. It is safe for concurrent
// use.
//
// It keeps a hash of each, made with a random key; both live in a page as a PIN
// does. Who can read that page (root, where pages are of [KindLocked]) can try
// all PINs against it: it is guarded like the PINs themselves, not better.
//
// Above [MaxWrong] the oldest is forgotten. It could then be sent once more,
// which costs a try that the PIN guard counts like any other: what is remembered
// here saves tries, and never stands for one.
type Wrong struct {
	source *Source

	mu   sync.Mutex // guards all below, and the page
	page []byte     // nil once closed
	// known says whose secret each hash is of, the oldest first: there is no
	// secret in that.
	known []owner
}

type owner struct {
	card   token.CardID
	secret token.Secret
}

// Wrong returns an empty memory in a page of its own. The caller must close it.
func (s *Source) Wrong() (*Wrong, error) {
	page, err := s.take()
	if err != nil {
		return nil, err
	}
	// By the kernel, straight into the page: a key of this length comes in one
	// piece (getrandom(2)).
	if _, err := unix.Getrandom(page[:keyLength], 0); err != nil {
		s.giveBack(page)
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return &Wrong{source: s, page: page}, nil
}

// Add remembers that the card called this secret wrong. An empty or wiped PIN
// is nothing to remember.
func (w *Wrong) Add(card token.CardID, secret token.Secret, pin *token.PIN) {
	w.mu.Lock()
	defer w.mu.Unlock()
	hash, ok := w.hashLocked(card, secret, pin)
	if !ok {
		return
	}
	if at := w.findLocked(hash[:]); at >= 0 { // from now on it is the youngest
		w.removeLocked(at)
	}
	if len(w.known) == MaxWrong {
		w.removeLocked(0)
	}
	copy(w.slotLocked(len(w.known)), hash[:])
	w.known = append(w.known, owner{card, secret})
}

// Has reports whether the card called this secret wrong.
func (w *Wrong) Has(card token.CardID, secret token.Secret, pin *token.PIN) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	hash, ok := w.hashLocked(card, secret, pin)
	return ok && w.findLocked(hash[:]) >= 0
}

// Forget forgets all that was wrong for a secret of a card: it may have a new
// one.
func (w *Wrong) Forget(card token.CardID, secret token.Secret) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.known) - 1; i >= 0; i-- {
		if w.known[i] == (owner{card, secret}) {
			w.removeLocked(i)
		}
	}
}

// Close forgets everything and gives the page back. After that nothing is
// remembered. It may be called more than once; there is no error today.
func (w *Wrong) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.page != nil {
		w.source.giveBack(w.page)
		w.page, w.known = nil, nil
	}
	return nil
}

// hashLocked returns the hash of a secret under the key.
//
// No bytes of the PIN leave locked memory in the clear. crypto/sha256 copies
// what does not fill a block, and leaves its state in registers and on the
// stack; therefore the PIN is masked first, in the page, with a key as long as
// the longest PIN. What hashing leaves behind, this function's result among it,
// says nothing about the PIN to whoever has not the key. Masking takes one byte
// at a time, so that no register ever holds more of it.
func (w *Wrong) hashLocked(card token.CardID, secret token.Secret, pin *token.PIN) ([sha256.Size]byte, bool) {
	if w.page == nil {
		return [sha256.Size]byte{}, false
	}
	digits, err := pin.Command(nil, 0, 0) // nothing but the PIN, where it stands
	if err != nil {
		return [sha256.Size]byte{}, false
	}
	work := w.page[workOffset : workOffset+workLength]
	defer clear(work)
	copy(work, w.page[:keyLength])
	for i := range digits {
		work[i] ^= digits[i]
	}
	work[keyLength-1] ^= byte(len(digits))
	whose := ownerHash(card, secret)
	copy(work[keyLength:], whose[:])
	return sha256.Sum256(work), true
}

// ownerHash is as long for every card, so that no two owners and secrets run
// into each other.
func ownerHash(card token.CardID, secret token.Secret) [sha256.Size]byte {
	text := binary.BigEndian.AppendUint64(nil, uint64(len(card)))
	text = append(text, card...)
	return sha256.Sum256(append(text, byte(secret)))
}

// findLocked returns the place of a hash, or -1. How long it takes depends on
// how many there are alone.
func (w *Wrong) findLocked(hash []byte) int {
	at := -1
	for i := range w.known {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash, w.slotLocked(i)), i, at)
	}
	return at
}

func (w *Wrong) slotLocked(i int) []byte {
	return w.page[hashOffset+i*sha256.Size : hashOffset+(i+1)*sha256.Size]
}

// removeLocked closes the gap that it makes.
func (w *Wrong) removeLocked(i int) {
	last := len(w.known) - 1
	copy(w.page[hashOffset+i*sha256.Size:], w.page[hashOffset+(i+1)*sha256.Size:hashOffset+(last+1)*sha256.Size])
	clear(w.slotLocked(last))
	w.known = slices.Delete(w.known, i, i+1)
}
