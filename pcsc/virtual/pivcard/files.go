package pivcard

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

func readProfile(dir string) (profile, error) {
	b, err := os.ReadFile(filepath.Join(dir, profileName))
	if err != nil {
		return profile{}, fmt.Errorf("reading card: %w", err)
	}
	var p profile
	if err := json.Unmarshal(b, &p); err != nil {
		return profile{}, fmt.Errorf("reading card: %w", errors.Join(ErrDamaged, err))
	}
	if p.Version != profileVersion || len(p.GUID) != 16 || !p.PIN.complete() || !p.UnlockCode.complete() {
		return profile{}, fmt.Errorf("reading card: %w: parts are missing", ErrDamaged)
	}
	return p, nil
}

func writeProfile(dir string, p profile) error {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("writing card: %w", err)
	}
	return replaceFile(filepath.Join(dir, profileName), append(b, '\n'))
}

// replaceFile puts content in the place of a file so that a kill leaves the
// old one or the new one, and returns when the new one is on disk.
func replaceFile(path string, content []byte) (err error) {
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		err = syncDirectory(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	return nil
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
