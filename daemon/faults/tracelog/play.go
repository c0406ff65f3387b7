package tracelog

import (
	"fmt"
	"path/filepath"

	"github.com/inkan-project/inkan/daemon/faults/crashdisk"
)

// Player plays calls on the files of one directory to a disk.
type Player struct {
	Disk *crashdisk.Disk
	Dir  string
}

// Play does one call. Calls on other directories do nothing.
func (p Player) Play(c Call) error {
	if c.Path == p.Dir && c.Kind == Sync {
		return p.Disk.SyncDir()
	}
	if filepath.Dir(c.Path) != p.Dir {
		return nil
	}
	name := filepath.Base(c.Path)
	switch c.Kind {
	case Create:
		_, err := p.file(name, c.Offset == 0)
		return err
	case Rename:
		return p.Disk.Rename(name, filepath.Base(c.To))
	case Remove:
		return p.Disk.Remove(name)
	case Write, Truncate, Sync:
	}
	f, err := p.file(name, false)
	if err != nil {
		return err
	}
	switch c.Kind {
	case Write:
		off := c.Offset
		if off < 0 {
			if off, err = f.Size(); err != nil {
				return err
			}
		}
		_, err = f.WriteAt(c.Data, off)
	case Truncate:
		err = f.Truncate(c.Offset)
	case Sync:
		err = f.Sync()
	case Create, Rename, Remove:
	}
	return err
}

// file opens a file, or makes it: empty where that is wanted.
func (p Player) file(name string, empty bool) (*crashdisk.File, error) {
	open := p.Disk.Create
	if !empty && p.Disk.Has(name) {
		open = p.Disk.Open
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	file, ok := f.(*crashdisk.File)
	if !ok {
		return nil, fmt.Errorf("%s is a %T", name, f)
	}
	return file, nil
}
