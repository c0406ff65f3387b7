package pivcard

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Lifetimes, and how far back certificates begin so that a clock a little
// behind takes them.
const (
	certificateYears = 2
	authorityYears   = 10
	backdating       = 5 * time.Minute
)

// isMade reports whether personalisation was finished. card.json comes last:
// without it, a truth log of more than its first line means that card.json was
// lost, and making a new card would give tries back.
func isMade(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, profileName))
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("looking for card: %w", err)
	}
	log, err := os.ReadFile(filepath.Join(dir, truthName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("looking for truth log: %w", err)
	}
	if bytes.Count(log, []byte{'\n'}) > 1 {
		return false, fmt.Errorf("%w: there is a truth log but no card", ErrDamaged)
	}
	return false, nil
}

// personalise makes a card: first its truth log, then its profile, each whole
// or not at all.
func personalise(o Options) error {
	p, err := newProfile(o)
	if err != nil {
		return err
	}
	first, err := json.Marshal(event{
		Seq: 1, Time: o.Now().UTC(), Event: eventMade,
		PINLeft: o.Behaviour.limit(), UnlockLeft: o.Behaviour.unlockLimit(), Uncounted: o.Behaviour.NeverLocks,
		GUID: hex.EncodeToString(p.GUID),
	})
	if err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(o.Dir, truthName), append(first, '\n')); err != nil {
		return err
	}
	return writeProfile(o.Dir, p)
}

func newProfile(o Options) (profile, error) {
	now := o.Now().UTC()
	p := profile{
		Version: profileVersion, Company: o.Company, Behaviour: o.Behaviour,
		Expires: now.AddDate(certificateYears, 0, 0).Format("20060102"),
		Objects: map[string][]byte{},
	}
	var err error
	if p.GUID, err = newGUID(o.Rand); err != nil {
		return profile{}, err
	}
	if p.PIN, err = newReference(o.Rand, pad([]byte(DemoPIN))); err != nil {
		return profile{}, err
	}
	if p.UnlockCode, err = newReference(o.Rand, pad([]byte(DemoUnlockCode))); err != nil {
		return profile{}, err
	}
	if p.AdminKey, err = newAdminKey(o.Rand, o.Admin, DemoAdminKey(o.Admin)); err != nil {
		return profile{}, err
	}
	ca, err := newAuthority(o.Rand, now)
	if err != nil {
		return profile{}, fmt.Errorf("making CA: %w", err)
	}
	p.Authority = ca.certificate.Raw
	for slot, keyType := range o.Keys {
		entry, certificate, err := ca.issue(slot, keyType, o.Company, now)
		if err != nil {
			return profile{}, fmt.Errorf("making key %s: %w", slot, err)
		}
		tag, _ := certificateTag(slot)
		p.Objects[tag] = certificateContent(certificate)
		p.Keys = append(p.Keys, entry)
	}
	slices.SortFunc(p.Keys, func(a, b keyEntry) int { return int(a.Slot) - int(b.Slot) })
	return p, nil
}

func newGUID(random io.Reader) ([]byte, error) {
	guid := make([]byte, guidLength)
	if _, err := io.ReadFull(random, guid); err != nil {
		return nil, fmt.Errorf("making GUID: %w", err)
	}
	copy(guid, GUIDPrefix)
	guid[6] = guid[6]&0x0F | 0x80 // version 8, RFC 9562 section 5.8
	guid[8] = guid[8]&0x3F | 0x80 // variant, RFC 9562 section 4.1
	return guid, nil
}
