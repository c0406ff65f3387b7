// Package pivcard is the virtual corporate card: a PIV card (SP 800-73-5) in a
// directory, for people who try Inkan and for tests that need a referee.
//
// It guarantees what a good card guarantees: a try is on disk before the PIN
// is compared, so that no kill at any moment gives one back; nothing that is
// sent to it makes it panic; and it keeps a truth log of what it saw, which
// [ReadTruth] counts. Secrets are compared where they stand and kept masked,
// so that a search of memory for a PIN finds only real leaks. A caller must
// say wherever the card is shown that it is virtual and what its PIN is.
package pivcard

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/inkan-project/inkan/pcsc/apdu"
)

// Secrets of a new card. They are public.
const (
	DemoPIN        = "123456"
	DemoUnlockCode = "12345678"
)

// DefaultCompany is the company in the certificates of a new card.
const DefaultCompany = "株式会社サンプル"

// Tries is how often in a row a secret may be wrong, unless the card's
// [Behaviour] says otherwise.
const Tries = 10

// GUIDPrefix marks a card as virtual: the GUID in its CHUID (data object
// 5FC102, tag 34, 16 bytes; SP 800-73-5 part 1 section 3.1.2) begins with
// these four ASCII bytes, 49 4E 4B 56. The rest is random, with the version
// and variant of RFC 9562 section 5.8 (UUIDv8, for such private layouts: no
// card that keeps to part 1 section 3.4.1 has it, which wants 1, 4 or 5).
const GUIDPrefix = "INKV"

// Slot is a key reference (SP 800-73-5 part 1 section 5.1).
type Slot byte

// Slots.
const (
	SlotAuthentication Slot = 0x9A // PIN once
	SlotSignature      Slot = 0x9C // PIN always: VERIFY must come immediately before
	SlotKeyManagement  Slot = 0x9D // PIN once; decrypts and agrees on keys, never signs
	SlotCardAuth       Slot = 0x9E // no PIN
)

// String returns the slot as people write it, for example "9c".
func (s Slot) String() string { return fmt.Sprintf("%02x", byte(s)) }

// KeyType is a cryptographic algorithm identifier (SP 800-78-5 section 6.2, table 9).
type KeyType byte

// Types of keys.
const (
	RSA2048 KeyType = 0x07
	P256    KeyType = 0x11
	P384    KeyType = 0x14
)

// Errors of Open.
var (
	// ErrInUse means that another process runs the card.
	ErrInUse = errors.New("virtual card is in use by another process")
	// ErrDamaged means that the card's files contradict each other. It is not
	// repaired: a guess could give tries back.
	ErrDamaged = errors.New("virtual card is damaged")
)

// Options says which card to open, and what to make when there is none.
type Options struct {
	Dir     string           // the card's directory; made when absent
	Keys    map[Slot]KeyType // nil: 9A P-256, 9C RSA-2048, 9E P-256
	Admin   AdminAlgorithm   // of the management key, whose value is DemoAdminKey; 0: 3DES
	Company string           // organisation in the certificates; "": DefaultCompany
	// Behaviour is where the card differs from the standard.
	Behaviour Behaviour
	Rand      io.Reader        // for the GUID, serial numbers and masks; nil: crypto/rand
	Now       func() time.Time // nil: time.Now
}

func (o Options) withDefaults() Options {
	if o.Keys == nil {
		o.Keys = map[Slot]KeyType{SlotAuthentication: P256, SlotSignature: RSA2048, SlotCardAuth: P256}
	}
	if o.Admin == 0 {
		o.Admin = AdminTDEA
	}
	if o.Company == "" {
		o.Company = DefaultCompany
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Card is a card with power. It may be used by several goroutines; like a real
// card it does one thing at a time.
type Card struct {
	options Options
	lock    *os.File

	mu      sync.Mutex // guards all below
	profile profile
	keys    []key
	truth   *truthLog
	session session
}

// session is what a reset takes away.
type session struct {
	selected bool
	verified bool   // the PIN was proved
	fresh    bool   // by the command immediately before
	rest     []byte // for GET RESPONSE
	chain    apdu.Command
	chaining bool
	admin    bool         // the management key was proved
	proving  adminSession // between the two steps of proving it
}

// Open opens the card in a directory, or makes one as the options say: keys,
// certificates, behaviour, the demo secrets. The directory belongs to this process until Close. It returns
// an error wrapping [ErrInUse] or [ErrDamaged], or that of the file system.
func Open(o Options) (card *Card, err error) {
	o = o.withDefaults()
	if err := o.Behaviour.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making card directory: %w", err)
	}
	c := &Card{options: o}
	if c.lock, err = lockDirectory(o.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	made, err := isMade(o.Dir)
	if err != nil {
		return nil, err
	}
	if !made {
		if err := personalise(o); err != nil {
			return nil, fmt.Errorf("personalising virtual card: %w", err)
		}
	}
	if c.profile, err = readProfile(o.Dir); err != nil {
		return nil, err
	}
	if c.keys, err = c.profile.parseKeys(); err != nil {
		return nil, err
	}
	c.truth, err = openTruth(filepath.Join(o.Dir, truthName), c.profile, o.Now)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// lockDirectory takes the lock that ends with the process.
func lockDirectory(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening card lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
		}
		return nil, fmt.Errorf("locking card directory: %w", err)
	}
	return f, nil
}

// Close ends the card's life in this process. What was answered is on disk
// already.
func (c *Card) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if c.truth != nil {
		err = c.truth.close()
	}
	return errors.Join(err, c.lock.Close())
}

// ATR returns the answer to reset: a generic one (T=1, JCOP31V232) that
// existing programs take for an ordinary card.
func (c *Card) ATR() []byte {
	return []byte{
		0x3B, 0xFA, 0x18, 0x00, 0x00, 0x81, 0x31, 0xFE, 0x45,
		'J', 'C', 'O', 'P', '3', '1', 'V', '2', '3', '2', 0x98,
	}
}

// Power switches the card on: selection and login are gone.
func (c *Card) Power() { c.restart(eventPower) }

// Reset resets the card: selection and login are gone.
func (c *Card) Reset() { c.restart(eventReset) }

func (c *Card) restart(event string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = session{}
	c.truth.note(event)
}

// GUID returns the 16 bytes that make the card identity.
func (c *Card) GUID() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]byte(nil), c.profile.GUID...)
}

// Authority returns the certificate (DER) of the throw-away CA that issued the
// card's certificates. Its key was never kept.
func (c *Card) Authority() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]byte(nil), c.profile.Authority...)
}

// Certificate returns the certificate (DER) in the object of a slot, or nil.
func (c *Card) Certificate(s Slot) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]byte(nil), c.profile.certificate(s)...)
}

// Behaviour returns how the card was made to behave.
func (c *Card) Behaviour() Behaviour {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.profile.Behaviour
}

func (c *Card) key(s Slot) *key {
	for i := range c.keys {
		if c.keys[i].slot == s {
			return &c.keys[i]
		}
	}
	return nil
}
