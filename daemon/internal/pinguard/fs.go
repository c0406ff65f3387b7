package pinguard

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// FS is the little of a file system that the journal needs, so that crashes,
// torn writes and full disks can be played in tests.
type FS interface {
	// Open opens a file for reading and writing; fs.ErrNotExist if absent.
	Open(name string) (File, error)
	// Create makes an empty file, replacing what has the name.
	Create(name string) (File, error)
	// Rename replaces newname by oldname; durable after SyncDir.
	Rename(oldname, newname string) error
	// SyncDir makes names durable.
	SyncDir() error
	// Inode returns a number that no other directory has or had, 0 if none is
	// known.
	Inode() uint64
}

// File is one file of an FS.
type File interface {
	ReadAt(b []byte, off int64) (int, error)
	WriteAt(b []byte, off int64) (int, error)
	// Sync makes the contents durable (fdatasync).
	Sync() error
	Size() (int64, error)
	// Inode returns a number that no other file has or had, 0 if none is known.
	Inode() uint64
	Close() error
}

// DirFS is a directory of the operating system.
type DirFS string

// Open implements FS.
func (d DirFS) Open(name string) (File, error) {
	return openOS(filepath.Join(string(d), name), os.O_RDWR)
}

// Create implements FS. The file is for its owner alone.
func (d DirFS) Create(name string) (File, error) {
	return openOS(filepath.Join(string(d), name), os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func openOS(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Rename implements FS.
func (d DirFS) Rename(oldname, newname string) error {
	return os.Rename(filepath.Join(string(d), oldname), filepath.Join(string(d), newname))
}

// SyncDir implements FS.
func (d DirFS) SyncDir() error {
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // opened for reading: nothing can be lost
	return dir.Sync()
}

// Inode implements FS.
func (d DirFS) Inode() uint64 { return inode(unix.AT_FDCWD, string(d)) }

// inode returns the number of an inode with the time it was made mixed in, for
// file systems give a number again as soon as it is free: a state directory
// that was removed and restored would pass for the old one. It returns 0 for
// what cannot be looked at. The path may be empty for the descriptor itself.
func inode(fd int, path string) uint64 {
	var st unix.Statx_t
	if err := unix.Statx(fd, path, unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return 0
	}
	if st.Mask&unix.STATX_BTIME == 0 { // this file system does not know it
		return st.Ino
	}
	made := binary.LittleEndian.AppendUint64(nil, st.Ino)
	made = binary.LittleEndian.AppendUint64(made, uint64(st.Btime.Sec))
	made = binary.LittleEndian.AppendUint32(made, st.Btime.Nsec)
	sum := sha256.Sum256(made)
	return binary.LittleEndian.Uint64(sum[:])
}

type osFile struct{ *os.File }

// Inode implements File.
func (f osFile) Inode() uint64 { return inode(int(f.Fd()), "") }

func (f osFile) Sync() error {
	if err := syscall.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("fdatasync: %w", err)
	}
	return nil
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
