package pcsctest_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/inkan-project/inkan/pcsc/pcsctest"
)

const patience = 20 * time.Second

// scene is set in the child that TestNothingIsLeft starts.
const scene = "INKAN_PCSCTEST_SCENE"

type card struct{}

func (card) ATR() []byte            { return []byte{0x3B, 0x00} }
func (card) Reset()                 {}
func (card) Transmit([]byte) []byte { return []byte{0x90, 0x00} }

// TestScene is what the child does: it tells its pcscd, and then ends badly.
func TestScene(t *testing.T) {
	how := os.Getenv(scene)
	if how == "" {
		return // the parent
	}
	p := pcsctest.Start(t, pcsctest.Options{})
	p.Reader("Inkan Test").Insert(card{})
	fmt.Printf("scene %d %s\n", p.PID(), filepath.Dir(p.Socket))
	switch how {
	case "panics":
		panic("as the scene wants it")
	case "fails":
		t.Fatal("as the scene wants it")
	}
	select {} // until it is killed
}

// TestNothingIsLeft ends test processes in several ways.
func TestNothingIsLeft(t *testing.T) {
	for _, how := range []string{"panics", "fails", "is killed"} {
		t.Run(how, func(t *testing.T) {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestScene$", "-test.v")
			child.Env = append(os.Environ(), scene+"="+how)
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			var pid int
			var dir string
			for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
				_, _ = fmt.Sscanf(lines.Text(), "scene %d %s", &pid, &dir)
			}
			if pid == 0 {
				t.Fatal("the child told no pcscd")
			}
			t.Cleanup(func() { // of a killed process, files stay
				_ = os.RemoveAll(dir)
				_ = os.Remove(filepath.Join(os.TempDir(), fmt.Sprintf("inkan-pcscd-of-%d", child.Process.Pid)))
			})
			if how == "is killed" {
				_ = child.Process.Kill()
			}
			if err := child.Wait(); err == nil {
				t.Error("the child ended well")
			}
			awaitEnd(t, pid)
			if _, err := os.Stat(dir); how != "is killed" && !os.IsNotExist(err) {
				t.Errorf("%s is left: %v", dir, err)
			}
		})
	}
}

// awaitEnd waits until a process is gone, and with it its namespaces.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		if err != nil || strings.Contains(string(status), "State:\tZ") {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("pcscd %d is left", pid)
		}
	}
}

func TestReadersListenNowhereElse(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{})
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	there, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.PID()))
	if err != nil || here == there {
		t.Errorf("pcscd's network is %s, ours %s, error %v", there, here, err)
	}
}

func TestProgramsFindTheCard(t *testing.T) {
	p := pcsctest.Start(t, pcsctest.Options{Readers: []string{"Inkan A", "Inkan B"}})
	var text strings.Builder
	p.StartInside(&text, "true")()
	p.Reader("Inkan B").Insert(card{})
	p.Reader("Inkan B").Blip()
	p.Restart() // the card stays in
	p.Reader("Inkan B").Remove()
}
