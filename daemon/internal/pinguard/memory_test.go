package pinguard

import (
	"io"
	"io/fs"
	"slices"
)

// memoryFS is a disk that is only memory, for tests that open a journal many
// thousand times.
type memoryFS struct {
	inode uint64
	files map[string]*memoryFile
}

func newMemoryFS() *memoryFS { return &memoryFS{inode: 1, files: map[string]*memoryFile{}} }

// copied returns the disk as a copy of the directory would be: the same bytes,
// other inodes.
func (m *memoryFS) copied() *memoryFS {
	c := &memoryFS{inode: m.inode + 1, files: map[string]*memoryFile{}}
	for name, f := range m.files {
		c.files[name] = &memoryFile{bytes: slices.Clone(f.bytes), inode: f.inode + 100}
	}
	return c
}

// left returns the disk as it stays behind a crash now.
func (m *memoryFS) left() *memoryFS {
	c := &memoryFS{inode: m.inode, files: map[string]*memoryFile{}}
	for name, f := range m.files {
		c.files[name] = &memoryFile{bytes: slices.Clone(f.bytes), inode: f.inode}
	}
	return c
}

// Open implements FS.
func (m *memoryFS) Open(name string) (File, error) {
	f, ok := m.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return f, nil
}

// Create implements FS.
func (m *memoryFS) Create(name string) (File, error) {
	f := &memoryFile{inode: uint64(len(m.files)) + 10}
	m.files[name] = f
	return f, nil
}

// Rename implements FS.
func (m *memoryFS) Rename(oldname, newname string) error {
	f, ok := m.files[oldname]
	if !ok {
		return fs.ErrNotExist
	}
	m.files[newname] = f
	delete(m.files, oldname)
	return nil
}

// SyncDir implements FS.
func (m *memoryFS) SyncDir() error { return nil }

// Inode implements FS.
func (m *memoryFS) Inode() uint64 { return m.inode }

type memoryFile struct {
	bytes []byte
	inode uint64
}

// ReadAt implements File.
func (f *memoryFile) ReadAt(b []byte, off int64) (int, error) {
	if off >= int64(len(f.bytes)) {
		return 0, io.EOF
	}
	n := copy(b, f.bytes[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements File.
func (f *memoryFile) WriteAt(b []byte, off int64) (int, error) {
	if end := int(off) + len(b); end > len(f.bytes) {
		f.bytes = append(f.bytes, make([]byte, end-len(f.bytes))...)
	}
	return copy(f.bytes[off:], b), nil
}

// Sync implements File.
func (f *memoryFile) Sync() error { return nil }

// Size implements File.
func (f *memoryFile) Size() (int64, error) { return int64(len(f.bytes)), nil }

// Inode implements File.
func (f *memoryFile) Inode() uint64 { return f.inode }

// Close implements File.
func (f *memoryFile) Close() error { return nil }
