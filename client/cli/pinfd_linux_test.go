package cli

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/client"
)

func TestADescriptorIsUsedOnceAndOnlyIfItWasInherited(t *testing.T) {
	r, w, err := os.Pipe() // Go's own: close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := newFDSource(int(r.Fd())); err == nil {
		t.Error("took a descriptor that this process opened itself")
	}
	if _, err := newFDSource(1 << 20); err == nil {
		t.Error("took a descriptor that is not open")
	}
}

func TestADescriptorThatCannotBeReadIsAMistakeOfTheCommandLine(t *testing.T) {
	fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	source := &fdSource{fd} // which closes it
	_, err = source.PIN(t.Context(), client.Prompt{}, make([]byte, 64))
	m, ok := errors.AsType[*mistake](err)
	if !ok || exitOf(err) != exitUsage || !strings.Contains(m.en, "the PIN cannot be read: it is a folder") || !strings.Contains(m.ja, "暗証番号を読めません") {
		t.Errorf("got %#v, want a mistake with exit code 2", err)
	}
}
