// Package unixsock opens the service's Unix sockets where nobody can squat
// them.
//
// It guarantees that a socket appears at its path complete: listening, and
// with its final permissions; that a socket of a running program and anything
// that is not a socket are never touched; and that closing removes the file
// only while it is still the one made here. The caller must close the
// [Listener], and takes sockets that systemd hands over from elsewhere.
package unixsock

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/token"
)

// maxPath is the longest path of a Unix socket, in bytes: sun_path has 108
// with its final NUL (unix(7)).
const maxPath = 107

// Listener is a listening Unix socket with a file at a path.
type Listener struct {
	*net.UnixListener
	path string
	made os.FileInfo // the socket's file, as made
	once sync.Once
}

// Listen opens a socket at path with these permissions. The network is "unix"
// (stream) or "unixpacket" (SOCK_SEQPACKET).
//
// It returns a [*token.Error]: KindSocketInUse if something accepts
// connections at path (or may do so), KindSocketNotUsable if path cannot be
// used: too long, not a socket, or in a directory that is missing or that
// other users can write to. A socket file that nobody listens on is replaced.
func Listen(network, path string, mode os.FileMode) (*Listener, error) {
	if network != "unix" && network != "unixpacket" {
		return nil, fmt.Errorf("listening on %s: network %q is not a Unix socket with connections", path, network)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding the socket's directory: %w", err)
	}
	l, err := listen(network, path, mode)
	if e, ok := errors.AsType[*token.Error](err); ok {
		return nil, e.With("path", path)
	}
	return l, err
}

// listen makes the socket in a directory that only this user can enter, then
// links it to its path: link(2) fails where rename(2) would replace what
// another program put there in the meantime.
func listen(network, path string, mode os.FileMode) (*Listener, error) {
	if len(path) > maxPath {
		return nil, token.Errorf(token.KindSocketNotUsable, "the path has %d bytes, at most %d are possible", len(path), maxPath)
	}
	if err := checkDirectory(filepath.Dir(path)); err != nil {
		return nil, err
	}
	unlock, err := lock(path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	room, err := os.MkdirTemp(filepath.Dir(path), ".inkan-")
	if err != nil {
		return nil, fmt.Errorf("making socket directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(room) }()

	if err := moveStale(network, path, room); err != nil {
		return nil, err
	}
	ln, made, err := bind(network, room, mode)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	if err := os.Link(filepath.Join(room, "s"), path); err != nil {
		_ = ln.Close()
		if errors.Is(err, fs.ErrExist) {
			return nil, inUse(path)
		}
		return nil, fmt.Errorf("placing socket: %w", err)
	}
	return &Listener{UnixListener: ln, path: path, made: made}, nil
}

// lock keeps other daemons away while one looks at a path and takes it:
// without it three that start at once can lose a live socket (5 of 2,000 runs
// of the test). Nobody waits for the lock: who holds it is taking the path.
// The lock file is removed by its holder, so who locked a removed one starts
// over.
func lock(path string) (unlock func(), err error) {
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, token.Errorf(token.KindSocketNotUsable,
				"a socket cannot be made in %s", filepath.Dir(path)).Because(err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = f.Close()
			return nil, inUse(path).Because(fmt.Errorf("locking %s: %w", name, err))
		}
		mine, err := f.Stat()
		if err == nil {
			if now, err := os.Lstat(name); err == nil && os.SameFile(mine, now) {
				return func() {
					_ = os.Remove(name)
					_ = f.Close()
				}, nil
			}
		}
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("looking at %s: %w", name, err)
		}
	}
}

// bind makes the listening socket room/s. It goes by way of /proc/self/fd, as
// the room's own path may be too long for a socket.
func bind(network, room string, mode os.FileMode) (*net.UnixListener, os.FileInfo, error) {
	dir, err := os.Open(room)
	if err != nil {
		return nil, nil, fmt.Errorf("opening directory: %w", err)
	}
	defer func() { _ = dir.Close() }()

	name := fmt.Sprintf("/proc/self/fd/%d/s", dir.Fd())
	ln, err := net.ListenUnix(network, &net.UnixAddr{Name: name, Net: network})
	if err != nil {
		return nil, nil, err
	}
	ln.SetUnlinkOnClose(false) // the descriptor's number will mean another directory by then
	made, err := permit(filepath.Join(room, "s"), mode)
	if err != nil {
		_ = ln.Close()
		return nil, nil, err
	}
	return ln, made, nil
}

// permit gives the socket its permissions whatever the umask, and returns
// what it is.
func permit(name string, mode os.FileMode) (os.FileInfo, error) {
	if err := os.Chmod(name, mode); err != nil {
		return nil, fmt.Errorf("setting permissions of socket: %w", err)
	}
	made, err := os.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("looking at socket: %w", err)
	}
	return made, nil
}

// moveStale makes path free if a socket that nobody listens on is there, and
// refuses to touch anything else.
func moveStale(network, path, room string) error {
	found, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	if found.Mode().Type() != fs.ModeSocket {
		return token.Errorf(token.KindSocketNotUsable,
			"%s exists and is not a socket; it was not touched", path)
	}
	if err := probe(network, path); err != nil {
		return err
	}
	old := filepath.Join(room, "old")
	if err := os.Rename(path, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("moving stale socket away: %w", err)
	}
	// Another daemon may have replaced the stale socket since the look: give
	// its socket back.
	moved, err := os.Lstat(old)
	if err == nil && !os.SameFile(found, moved) {
		_ = os.Link(old, path)
		return inUse(path)
	}
	_ = os.Remove(old)
	return nil
}

// probe returns nil only if nobody listens at path. A full backlog (EAGAIN),
// another socket type (EPROTOTYPE) or missing permission mean that somebody
// may.
func probe(network, path string) error {
	conn, err := net.DialUnix(network, nil, &net.UnixAddr{Name: path, Net: network})
	if err == nil {
		_ = conn.Close()
		return inUse(path)
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return inUse(path).Because(err)
}

func inUse(path string) *token.Error { return token.NewError(token.KindSocketInUse, "path", path) }

// checkDirectory refuses directories in which another user could replace the
// socket. A directory writable by our own group is taken: with umask 002 the
// group is the user's private one.
func checkDirectory(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return token.Errorf(token.KindSocketNotUsable, "the socket's directory %s cannot be used", dir).Because(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok {
		return token.Errorf(token.KindSocketNotUsable, "%s is not a directory", dir)
	}
	if owner := int(st.Uid); owner != 0 && owner != os.Geteuid() {
		return token.Errorf(token.KindSocketNotUsable,
			"the socket's directory %s belongs to user %d", dir, owner)
	}
	writable := st.Mode&unix.S_IWOTH != 0 ||
		st.Mode&unix.S_IWGRP != 0 && int(st.Gid) != os.Getegid()
	if writable && st.Mode&unix.S_ISVTX == 0 {
		return token.Errorf(token.KindSocketNotUsable,
			"other users can write to the socket's directory %s (mode %04o)", dir, info.Mode().Perm())
	}
	return nil
}

// Addr returns the address at which clients connect.
func (l *Listener) Addr() net.Addr {
	return &net.UnixAddr{Name: l.path, Net: l.UnixListener.Addr().Network()}
}

// Close removes the socket's file if it is still ours, then stops listening.
// In this order no successor is harmed: as long as we listen it takes the path
// for used. Later calls do nothing.
func (l *Listener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(l.made, now) {
			_ = os.Remove(l.path)
		}
	})
	if err := l.UnixListener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closing %s: %w", l.path, err)
	}
	return nil
}
