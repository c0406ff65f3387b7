// Package crashdisk is a disk in memory that loses power and that fails.
//
// It guarantees the least that a disk promises and nothing more: what was
// synced is there, of what was not synced any part may be there, in sectors of
// 512 bytes and in any order, and a name is durable only after its directory
// was synced. The models are SQLite's test6.c and pebble's crashable file
// system. A caller takes an [Disk.Image] in the moment of the power cut and
// goes on with that.
package crashdisk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/inkan-project/inkan/daemon/internal/pinguard"
)

// SectorSize is what a disk writes whole or not at all.
const SectorSize = 512

var _ pinguard.FS = (*Disk)(nil)

// Disk is a directory on a disk. The zero value is not usable: see [New].
type Disk struct {
	// Before, if set, is called before each operation that changes something
	// with what it does ("write", "sync", "create", "rename", "remove",
	// "truncate", "syncdir"). If it returns an error the operation fails with
	// it and does nothing. It may take images.
	Before func(operation, name string) error
	// Short, if set, is asked before each write how many of its bytes are
	// written all the same when Before fails it.
	Short func(length int) int
	// Forgets makes Sync and SyncDir do nothing: a disk that lies.
	Forgets bool

	mu      sync.Mutex // guards the fields that follow
	names   map[string]*node
	synced  map[string]*node // names that are durable
	pending []change
	inodes  uint64
	dir     uint64 // inode of the directory
}

// node is a file.
type node struct {
	inode uint64
	now   content // as programs see it
	disk  content // what is durable
}

// content is a sparse file. Sectors are never changed in place.
type content struct {
	size    int64
	sectors map[int64][]byte
}

func (c content) clone() content { return content{c.size, maps.Clone(c.sectors)} }

// change is one operation that is not synced.
type change struct {
	file    *node            // of a write or a truncation; nil: names change
	size    int64            // of the file after it, -1 = as it is
	cut     bool             // a truncation to size
	sectors map[int64][]byte // written, whole sectors with the bytes around them
	spans   map[int64][2]int // which bytes of each sector were written
	name    string           // that is given to entry; nil = removed
	entry   *node
	removed string // name that goes with it, of a rename
}

// New returns an empty disk.
func New() *Disk {
	return &Disk{names: map[string]*node{}, synced: map[string]*node{}, inodes: 1, dir: 1}
}

// SetInodes says what the directory's and a file's inodes are, for a disk that
// plays a real one.
func (d *Disk) SetInodes(dir uint64, name string, file uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dir = dir
	if n, ok := d.names[name]; ok {
		n.inode = file
	}
}

func (d *Disk) before(operation, name string) error {
	if d.Before == nil {
		return nil
	}
	return d.Before(operation, name)
}

// Open implements pinguard.FS.
func (d *Disk) Open(name string) (pinguard.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.names[name]
	if !ok {
		return nil, fmt.Errorf("opening %s: %w", name, fs.ErrNotExist)
	}
	return &File{disk: d, node: n, name: name}, nil
}

// Create implements pinguard.FS: a file that is there keeps its inode, as with
// O_TRUNC.
func (d *Disk) Create(name string) (pinguard.File, error) {
	if err := d.before("create", name); err != nil {
		return nil, fmt.Errorf("creating %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.names[name]
	if ok {
		d.truncate(n, 0)
	} else {
		d.inodes++
		n = &node{inode: d.inodes, now: content{sectors: map[int64][]byte{}}, disk: content{sectors: map[int64][]byte{}}}
		d.names[name] = n
		d.pending = append(d.pending, change{name: name, entry: n})
	}
	return &File{disk: d, node: n, name: name}, nil
}

func (d *Disk) truncate(n *node, size int64) {
	c := change{file: n, size: size, cut: true}
	n.now = n.now.with(c, nil)
	d.pending = append(d.pending, c)
}

// Rename implements pinguard.FS. It is atomic.
func (d *Disk) Rename(oldname, newname string) error {
	if err := d.before("rename", newname); err != nil {
		return fmt.Errorf("renaming %s: %w", oldname, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.names[oldname]
	if !ok {
		return fmt.Errorf("renaming %s: %w", oldname, fs.ErrNotExist)
	}
	delete(d.names, oldname)
	d.names[newname] = n
	d.pending = append(d.pending, change{name: newname, entry: n, removed: oldname})
	return nil
}

// Remove takes a name away.
func (d *Disk) Remove(name string) error {
	if err := d.before("remove", name); err != nil {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.names, name)
	d.pending = append(d.pending, change{name: name})
	return nil
}

// SyncDir implements pinguard.FS.
func (d *Disk) SyncDir() error {
	if err := d.before("syncdir", ""); err != nil {
		return fmt.Errorf("syncing the directory: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Forgets {
		return nil
	}
	d.pending = slices.DeleteFunc(d.pending, func(c change) bool {
		if c.file == nil {
			c.applyName(d.synced)
			return true
		}
		return false
	})
	return nil
}

func (c change) applyName(names map[string]*node) {
	if c.removed != "" && names[c.removed] == c.entry {
		delete(names, c.removed)
	}
	if c.entry == nil {
		delete(names, c.name)
		return
	}
	names[c.name] = c.entry
}

// Inode implements pinguard.FS.
func (d *Disk) Inode() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dir
}

// Names returns the names of all files, sorted.
func (d *Disk) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names))
}

// Has reports whether there is a file of this name.
func (d *Disk) Has(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.names[name]
	return ok
}

// ReadFile returns a file's bytes as programs see them, nil if there is none.
func (d *Disk) ReadFile(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.names[name]
	if !ok {
		return nil
	}
	b := make([]byte, n.now.size)
	n.now.read(b, 0)
	return b
}

// WriteFile makes a file with these bytes, durable at once, or changes one that
// is there: its inode stays.
func (d *Disk) WriteFile(name string, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, ok := d.names[name]
	if !ok {
		d.inodes++
		n = &node{inode: d.inodes}
	}
	n.now = content{sectors: map[int64][]byte{}}
	n.now = n.now.with(writing(n, b, 0), nil)
	n.disk = n.now.clone()
	d.names[name], d.synced[name] = n, n
}

func (c content) read(b []byte, off int64) int {
	length := int(max(0, min(int64(len(b)), c.size-off)))
	clear(b[:length])
	for sector, s := range c.sectors {
		from := sector * SectorSize
		if from+SectorSize <= off || from >= off+int64(length) {
			continue
		}
		if from >= off {
			copy(b[from-off:length], s)
		} else {
			copy(b[:length], s[off-from:])
		}
	}
	return length
}

// File is an open file of a Disk.
type File struct {
	disk *Disk
	node *node
	name string
}

// ReadAt implements pinguard.File.
func (f *File) ReadAt(b []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	n := f.node.now.read(b, off)
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements pinguard.File.
func (f *File) WriteAt(b []byte, off int64) (int, error) {
	err := f.disk.before("write", f.name)
	n := len(b)
	if err != nil {
		n = 0
		if f.disk.Short != nil {
			n = min(len(b), f.disk.Short(len(b)))
		}
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if n > 0 {
		c := writing(f.node, b[:n], off)
		f.node.now = f.node.now.with(c, nil)
		f.disk.pending = append(f.disk.pending, c)
	}
	if err != nil {
		return n, fmt.Errorf("writing %s: %w", f.name, err)
	}
	return n, nil
}

// Truncate changes the size.
func (f *File) Truncate(size int64) error {
	if err := f.disk.before("truncate", f.name); err != nil {
		return fmt.Errorf("truncating %s: %w", f.name, err)
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.disk.truncate(f.node, size)
	return nil
}

// Sync implements pinguard.File.
func (f *File) Sync() error {
	if err := f.disk.before("sync", f.name); err != nil {
		return fmt.Errorf("syncing %s: %w", f.name, err)
	}
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Forgets {
		return nil
	}
	d.pending = slices.DeleteFunc(d.pending, func(c change) bool {
		if c.file != f.node {
			return false
		}
		c.file.disk = c.file.disk.with(c, nil)
		return true
	})
	return nil
}

// Size implements pinguard.File.
func (f *File) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.node.now.size, nil
}

// Inode implements pinguard.File.
func (f *File) Inode() uint64 {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.node.inode
}

// Close implements pinguard.File.
func (f *File) Close() error { return nil }

// WriteTo makes the files of the disk, but for those that skip names, in a
// directory of the operating system. Nothing is synced.
func (d *Disk) WriteTo(dir string, skip func(name string) bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, n := range d.names {
		if skip(name) {
			continue
		}
		if err := n.now.writeTo(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func (c content) writeTo(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var run []byte // sectors in a row are written at once
	var begin int64
	for _, sector := range slices.Sorted(maps.Keys(c.sectors)) {
		if sector*SectorSize >= c.size {
			break
		}
		if begin*SectorSize+int64(len(run)) != sector*SectorSize {
			if _, err := f.WriteAt(run, begin*SectorSize); err != nil {
				return err
			}
			run, begin = run[:0], sector
		}
		run = append(run, c.sectors[sector]...)
	}
	if _, err := f.WriteAt(run, begin*SectorSize); err != nil {
		return err
	}
	return f.Truncate(c.size)
}
