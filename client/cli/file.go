package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many links are followed to a file, as many as the kernel
// does (path_resolution(7)).
const maxLinks = 40

// target is the file that --out names, made before anybody is asked for a PIN:
// what cannot be written must not cost a signature.
//
// A regular file is written whole or not at all: into a new file beside it, on
// disk, then renamed over it. What is none (a pipe, a device) is written to
// directly: it cannot be renamed over.
type target struct {
	path string      // where the data ends up, links followed
	file *os.File    // open until write or discard; nil after
	temp string      // name of the new file; empty = file is the target itself
	keep fs.FileMode // permissions of the file that is replaced
	old  bool        // there is one
}

// openTarget prepares a file to write to. Opening a pipe waits for its reader,
// or for ctx.
func openTarget(ctx context.Context, path string) (*target, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	}
	resolved, kernels, linkErr := followLinks(path)
	if linkErr != nil {
		return nil, linkErr
	}
	if err == nil && (kernels || !info.Mode().IsRegular()) {
		file, err := await(ctx, func() (*os.File, error) { return os.OpenFile(path, os.O_WRONLY, 0) })
		if err != nil {
			return nil, err
		}
		return &target{path: path, file: file}, nil
	}
	t := &target{path: resolved, old: err == nil}
	// A new file is as public as the caller's umask says; one that takes the
	// place of another never more than that.
	permissions := fs.FileMode(0o666)
	if t.old {
		t.keep, permissions = info.Mode().Perm(), 0o600
	}
	t.temp = filepath.Join(filepath.Dir(resolved), ".inkan-"+rand.Text())
	t.file, err = os.OpenFile(t.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, permissions)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// followLinks returns what a path stands for, whether or not that exists, and
// whether the kernel made one of the links: those of /proc lead to open files,
// which no path may name.
func followLinks(path string) (resolved string, kernels bool, err error) {
	for range maxLinks {
		if absolute, err := filepath.Abs(path); err == nil && strings.HasPrefix(absolute, "/proc/") {
			return path, true, nil
		}
		next, err := os.Readlink(path)
		if err != nil {
			return path, false, nil //nolint:nilerr // it is no link, which is the end of the search
		}
		if !filepath.IsAbs(next) {
			// Not Join, which would take "x/.." away though x may be a link.
			next = filepath.Dir(path) + "/" + next
		}
		path = next
	}
	return "", false, &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
}

// write writes the data and puts the file in its place; after an error nothing
// is left behind.
func (t *target) write(ctx context.Context, data []byte) error {
	file := t.file
	if t.temp == "" {
		t.file = nil // await may leave it in use
		_, err := await(ctx, func() (int, error) {
			n, err := file.Write(data)
			return n, errors.Join(err, file.Close())
		})
		return err
	}
	defer t.discard()
	if _, err := file.Write(data); err != nil {
		return err
	}
	if t.old {
		if err := file.Chmod(t.keep); err != nil {
			return err
		}
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Rename(t.temp, t.path); err != nil {
		return err
	}
	t.file = nil
	return nil
}

// discard takes away what was prepared and not put in its place.
func (t *target) discard() {
	if t.file == nil {
		return
	}
	_ = t.file.Close()
	if t.temp != "" {
		_ = os.Remove(t.temp)
	}
	t.file = nil
}

// sameFile reports whether --in and --out are one file, by whatever names:
// the signature would take the place of the document.
func (a *app) sameFile(in, out string) bool {
	from, err := infoOf(in, a.stdin)
	if err != nil {
		return false
	}
	to, err := infoOf(out, a.stdout.w)
	if err != nil {
		return false
	}
	kind := from.Mode().Type()
	return (kind.IsRegular() || kind == fs.ModeNamedPipe) && os.SameFile(from, to)
}

// infoOf describes a file, or the stream that "-" stands for.
func infoOf(path string, stream any) (fs.FileInfo, error) {
	if path != "-" {
		return os.Stat(path)
	}
	if file, ok := stream.(*os.File); ok {
		return file.Stat()
	}
	return nil, errors.ErrUnsupported
}

// copyTo reads a file, or stdin for "-", into w.
func copyTo(w io.Writer, path string, stdin io.Reader) error {
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("opening: %w", err)
		}
		defer file.Close() // only read
		in = file
	}
	if _, err := io.Copy(w, in); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	return nil
}
