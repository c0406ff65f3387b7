package pinguard

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
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
	// Inode returns the inode of the directory, 0 if it is not known.
	Inode() uint64
}

// File is one file of an FS.
type File interface {
	ReadAt(b []byte, off int64) (int, error)
	WriteAt(b []byte, off int64) (int, error)
	// Sync makes the contents durable (fdatasync).
	Sync() error
	Size() (int64, error)
	// Inode returns the inode of the file, 0 if it is not known.
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
func (d DirFS) Inode() uint64 {
	info, err := os.Stat(string(d))
	return inode(info, err)
}

// inode returns 0 for what cannot be looked at.
func inode(info os.FileInfo, err error) uint64 {
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return st.Ino
}

type osFile struct{ *os.File }

// Inode implements File.
func (f osFile) Inode() uint64 {
	info, err := f.Stat()
	return inode(info, err)
}

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
