package cli

import (
	"fmt"
	"os"
	"path/filepath"
)

// writeWhole writes a file so that its name never stands for half of it: into
// a new file beside it, on disk, then renamed over it. What is not a regular
// file (a pipe, /dev/stdout) is written to directly: it cannot be renamed over.
func writeWhole(path string, data []byte) (err error) {
	if info, statErr := os.Stat(path); statErr == nil && !info.Mode().IsRegular() {
		if err := os.WriteFile(path, data, 0); err != nil {
			return fmt.Errorf("writing the signature: %w", err)
		}
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".inkan-*")
	if err != nil {
		return fmt.Errorf("writing the signature: %w", err)
	}
	defer func() {
		if err != nil {
			_ = file.Close()
			_ = os.Remove(file.Name())
			err = fmt.Errorf("writing the signature: %w", err)
		}
	}()
	if _, err := file.Write(data); err != nil {
		return err
	}
	if err := file.Chmod(0o644); err != nil { // a signature is made to be given to others
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
