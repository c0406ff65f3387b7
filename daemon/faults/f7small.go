package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/inkan-project/inkan/daemon/faults/counter"
)

// smallDisk is a file system of its own in a mount namespace of its own, which
// ends with the process that holds it.
type smallDisk struct {
	holder *exec.Cmd
	mount  string
	kind   string
}

// holdScript mounts and waits until its input ends.
const holdScript = `set -e
mount --make-rprivate /
if [ "$3" = ext4 ]; then mount -o loop "$1" "$2"; else mount -t tmpfs -o "size=$4" none "$2"; fi
echo held
read -r end || true`

// holdDisk makes a file system of so many KiB, ext4 on a loop device or a
// tmpfs, and waits until it is there.
func holdDisk(ctx context.Context, dir, kind string, kib int) (*smallDisk, error) {
	d := &smallDisk{mount: filepath.Join(dir, "mount"), kind: kind}
	image := filepath.Join(dir, "image")
	if err := os.MkdirAll(d.mount, 0o700); err != nil {
		return nil, err
	}
	if kind == "ext4" {
		err := os.WriteFile(image, nil, 0o600)
		if err == nil {
			err = os.Truncate(image, int64(kib)<<10)
		}
		if err != nil {
			return nil, err
		}
		if out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image).CombinedOutput(); err != nil { //nolint:gosec // of our own making
			return nil, fmt.Errorf("mkfs.ext4: %w\n%s", err, out)
		}
	}
	d.holder = exec.CommandContext(ctx, "unshare", "--mount", "sh", "-c", holdScript, "sh", image, d.mount, kind, fmt.Sprintf("%dk", kib)) //nolint:gosec // of our own making
	d.holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if _, err := d.holder.StdinPipe(); err != nil {
		return nil, err
	}
	said, err := d.holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var complaints strings.Builder
	d.holder.Stderr = &complaints
	if err := d.holder.Start(); err != nil {
		return nil, err
	}
	line := make([]byte, len("held\n"))
	if _, err := said.Read(line); err != nil || string(line) != "held\n" {
		return nil, errors.Join(fmt.Errorf("mounting a small %s: %s", kind, complaints.String()), d.release())
	}
	return d, nil
}

// enter is under which a program sees the file system.
func (d *smallDisk) enter() []string {
	return []string{"nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", d.holder.Process.Pid)}
}

// outside is a path on the file system as this process reaches it.
func (d *smallDisk) outside(name string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", d.holder.Process.Pid), d.mount, name)
}

// fill leaves so many bytes free.
func (d *smallDisk) fill(free int64) (err error) {
	f, err := os.Create(d.outside("filler"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var size int64
	for block := make([]byte, 64<<10); len(block) > 0; {
		n, err := f.Write(block)
		size += int64(n)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			block = block[:len(block)/2] // to the last byte
		case err != nil:
			return err
		}
	}
	return f.Truncate(size - free)
}

func (d *smallDisk) release() error {
	_ = d.holder.Process.Kill() // the namespace, the mount and the loop device go with it
	err := d.holder.Wait()
	if _, killed := errors.AsType[*exec.ExitError](err); killed {
		return nil
	}
	return err
}

// smallDisks runs inkand on real file systems that are full.
func smallDisks(ctx context.Context, r *Run) error {
	kinds := []string{"ext4", "tmpfs"}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		_, _ = fmt.Fprintln(r.Log, "F7: no loop devices here: full file systems are tmpfs only")
		kinds = kinds[1:]
	}
	for _, kind := range kinds {
		if err := tooSmall(ctx, r, kind); err != nil {
			return fmt.Errorf("1 MiB of %s: %w", kind, err)
		}
		for n, free := range Pick(r.Tier, []int64{0}, []int64{0, 4096, 64 << 10}, []int64{0, 1, 4096, 16 << 10, 64 << 10, 256 << 10}) {
			if err := fillsUp(ctx, r, kind, n, free); err != nil {
				return fmt.Errorf("a full %s: %w", kind, err)
			}
		}
	}
	return nil
}

// tooSmall starts inkand where its journal has no room: it must say so, and
// leave nothing that a later start, with room, could take for damage.
func tooSmall(ctx context.Context, r *Run, kind string) (err error) {
	dir := filepath.Join(r.Dir, "too-small-"+kind)
	d, err := holdDisk(ctx, dir, kind, 1024)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.release()) }()
	h := d.house(r, dir)
	for range 2 {
		c, err := h.start(ctx)
		if err != nil {
			return err
		}
		opened := c.Open(ctx)
		code, said, err := c.Close(false)
		if err != nil {
			return err
		}
		r.Fault()
		if opened == nil || code != exitNoState || !strings.Contains(said, "INK-50") {
			r.Broken(I8, "on a %s of 1 MiB inkand ended with %d and said %q", kind, code, said)
		}
	}
	return nil
}

// fillsUp fills a file system on which inkand runs, uses it until it fails,
// and makes room again.
func fillsUp(ctx context.Context, r *Run, kind string, n int, free int64) (err error) {
	dir := filepath.Join(r.Dir, fmt.Sprintf("full-%s-%d", kind, n))
	d, err := holdDisk(ctx, dir, kind, 16<<10)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.release()) }()
	h := d.house(r, dir)
	// The card is no part of the PC: its memory is never full.
	card := filepath.Join(dir, "card")
	err = errors.Join(os.Mkdir(card, 0o700), os.Mkdir(d.outside("state"), 0o700), os.Symlink(card, d.outside("state/virtual-card")))
	if err != nil {
		return err
	}
	where := fmt.Sprintf("a full %s with %d bytes free", kind, free)
	if err := h.again(ctx, "a first start"); err != nil {
		return err
	}
	c, err := h.start(ctx)
	if err != nil {
		return err
	}
	if err = c.Open(ctx); err == nil {
		err = d.fill(free)
	}
	failed := 0
	if err == nil {
		failed, err = h.use(ctx, c, where, untilFull)
	}
	code, said, err2 := c.Close(true)
	if err = errors.Join(err, err2); err != nil {
		return fmt.Errorf("%w\n%s", err, said)
	}
	if failed == 0 {
		return errors.New("it never filled up")
	}
	r.Fault()
	if code != 0 && code != exitInternal {
		r.Broken(I8, "%s: inkand ended with %d", where, code)
	}
	if err := os.Remove(d.outside("filler")); err != nil {
		return err
	}
	return h.again(ctx, where)
}

// untilFull is more calls than the room kept for the log lasts.
const untilFull = 700

// house is an inkand with its state on this file system.
func (d *smallDisk) house(r *Run, dir string) *failingHouse {
	at := counter.Place{Dir: dir, State: filepath.Join(d.mount, "state"), Seen: d.outside("state")}
	return &failingHouse{run: r, at: at, prefix: d.enter()}
}
