package daemon_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/inkan-project/inkan/client"
	"github.com/inkan-project/inkan/pcsc/virtual/pivcard"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// serve runs inkand in a process of its own until it answers, and returns it.
func serve(t *testing.T, binary, dir string, env ...string) *exec.Cmd {
	t.Helper()
	ready, announce, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ready.Close() }() // was only read
	config := filepath.Join(dir, "inkand.toml")
	if err := os.WriteFile(config, []byte("[virtual.keys]\n9a = \"P-256\"\n9c = \"P-256\"\n9e = \"P-256\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "serve", "--config", config, "--ready-fd", "3", "--virtual", "--state", filepath.Join(dir, "state"),
		"--socket", filepath.Join(dir, "inkan.sock"), "--pin-socket", filepath.Join(dir, "pin.sock"))
	cmd.ExtraFiles, cmd.Env, cmd.Stderr = []*os.File{announce}, append([]string{"LC_ALL=C"}, env...), t.Output()
	if err := errors.Join(cmd.Start(), announce.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(ready).ReadString('\n'); line != "READY=1\n" {
		t.Fatalf("inkand says %q, %v", line, err)
	}
	return cmd
}

// A program whose batch is interrupted by kill -9 learns what became of each
// document, as the log and the card have it, and nothing is signed again.
func TestAfterAKillTheListOfABatchIsExact(t *testing.T) {
	const n = 8
	binary := build(t, "faults")
	for _, slot := range []string{"9a", "9c", "9e"} {
		for _, at := range []string{
			"before-secret", "sign-sent:4", "signed:1", "signed:4", "checked:8", "result-alone:1", "result-alone:3", "verdict-alone:3", "recorded",
		} {
			t.Run(slot+" "+at, func(t *testing.T) {
				dir := t.TempDir()
				first := serve(t, binary, dir, "INKAN_FAILPOINT="+at)
				c, err := client.Dial(t.Context(), client.Options{Socket: filepath.Join(dir, "inkan.sock"), PIN: rightPIN, Language: "en"})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				q := manifest(slotKey(t, c, slot), n)
				q.RequestID = "batch-1"
				type result struct {
					got []client.BatchSignature
					err error
				}
				answer := make(chan result, 1)
				go func() {
					got, err := collect(t.Context(), c, q, nil)
					answer <- result{got, err}
				}()
				_ = first.Wait() // by the signal
				serve(t, binary, dir)
				r := <-answer
				done, open := logOf(t, c)
				check(t, slotKey(t, c, slot), q, r.got)
				truth, err := pivcard.ReadTruth(filepath.Join(dir, "state", "virtual-card"))
				if err != nil {
					t.Fatal(err)
				}
				if len(r.got) != done || len(truth.Signatures) < done || len(truth.Signatures) > done+open {
					t.Errorf("%d signatures came, the log has %d and %d open, the card made %d", len(r.got), done, open, len(truth.Signatures))
				}
				if done == n {
					if r.err != nil {
						t.Errorf("all were made, but: %v", r.err)
					}
					return
				}
				if !errors.Is(r.err, client.ErrOutcomeUnknown) || open == 0 || open > 2 {
					t.Errorf("%v with %d open, want ErrOutcomeUnknown", r.err, open)
				}
				ended(t, r.err, n, done, open)
				again, err := collect(t.Context(), c, q, nil)
				ended(t, err, n, done, open)
				if now, _ := pivcard.ReadTruth(filepath.Join(dir, "state", "virtual-card")); len(again) != done || len(now.Signatures) != len(truth.Signatures) {
					t.Errorf("again: %d signatures came, the card made %d more", len(again), len(now.Signatures)-len(truth.Signatures))
				}
			})
		}
	}
}

// slotKey returns the key in a slot of the card in a process of its own.
func slotKey(t *testing.T, c *client.Client, slot string) *inkanpb.Key {
	t.Helper()
	keys, err := c.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.GetSlot() == slot && k.GetType() == "P-256" {
			return k
		}
	}
	t.Fatalf("no P-256 key in %s", slot)
	return nil
}

// logOf counts the signatures in the log, and those that a crash left open.
func logOf(t *testing.T, c *client.Client) (done, unknown int) {
	t.Helper()
	for rec, err := range c.Records(t.Context()) {
		switch {
		case err != nil:
			t.Fatal(err)
		case rec.GetOutcome() == "OK":
			done++
		case rec.GetOutcome() == "UNKNOWN":
			unknown++
		}
	}
	return done, unknown
}
