//go:build boot

package boottest

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

// loadMain calls inkand until its stdin ends: a new connection for each request
// and nothing repeated, some that only ask and one that signs. It prints a line
// for each request.
func loadMain() int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	key, err := signingKey(ctx)
	if err != nil {
		_, _ = fmt.Println("FAILED listing keys:", err)
		return 1
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	var wg sync.WaitGroup
	worker := func(name string, every time.Duration, call func() error) {
		wg.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for ctx.Err() == nil {
				if err := call(); err != nil {
					_, _ = fmt.Printf("FAILED %s: %v\n", name, err)
				} else {
					_, _ = fmt.Println("ok", name)
				}
				<-tick.C
			}
		})
	}
	// Together fewer than the connections that one user may make in a second, and
	// may have at once, counting those that inkand has not seen closed yet.
	for range 2 {
		worker("status", 25*time.Millisecond, askStatus)
	}
	worker("sign", 100*time.Millisecond, func() error { return signOnce(key) })
	wg.Wait()
	return 0
}

// signingKey returns a key whose signature takes no time worth speaking of.
func signingKey(ctx context.Context) (*inkanpb.Key, error) {
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	keys, err := inkanpb.NewSigningServiceClient(conn).ListKeys(ctx, &inkanpb.ListKeysRequest{})
	if err != nil {
		return nil, err
	}
	for _, k := range keys.GetKeys() {
		if k.GetSlot() == "9a" {
			return k, nil
		}
	}
	return nil, errors.New("there is no key 9a")
}

// requestTime is how long a request may take: a restart of the service is short.
const requestTime = 20 * time.Second

func askStatus() error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	conn, err := dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = inkanpb.NewStatusServiceClient(conn).GetStatus(ctx, &inkanpb.GetStatusRequest{})
	return err
}

// signOnce signs with an agent of its own that gives the PIN.
func signOnce(key *inkanpb.Key) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	conn, err := dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	agent, err := openAgent(false)
	if err != nil {
		return fmt.Errorf("connecting a PIN agent: %w", err)
	}
	defer agent.conn.Close()
	answered := make(chan error, 1)
	go func() { answered <- agent.answer() }()
	digest := sha256.Sum256([]byte("入札書"))
	_, err = inkanpb.NewSigningServiceClient(conn).Sign(metadata.AppendToOutgoingContext(ctx, "inkan-agent", agent.id),
		&inkanpb.SignRequest{KeyId: key.GetId(), Algorithm: key.GetAlgorithms()[0], Digest: digest[:], DocumentName: "入札書"})
	if err != nil {
		select {
		case why := <-answered:
			err = fmt.Errorf("%w (the agent: %w)", err, why)
		default:
		}
	}
	return err
}

// load is a running loadMain.
type load struct {
	cmd      *exec.Cmd
	stop     io.Closer
	done     chan struct{}
	ok       atomic.Int64
	signed   atomic.Int64
	redials  atomic.Int64
	failures []string // complete once done is closed
}

// startLoad puts the service under load, as the member.
func startLoad(t *testing.T) *load {
	t.Helper()
	l := &load{cmd: exec.Command("/proc/self/exe"), done: make(chan struct{})}
	l.cmd.Env = []string{roleVariable + "=" + roleLoad}
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t, member)}
	var err error
	if l.stop, err = l.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(l.done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			switch line := lines.Text(); {
			case line == "ok sign":
				l.signed.Add(1)
				l.ok.Add(1)
			case line == redialled:
				l.redials.Add(1)
			case strings.HasPrefix(line, "ok "):
				l.ok.Add(1)
			default:
				l.failures = append(l.failures, line)
			}
		}
	}()
	return l
}

// await waits until so many more requests were answered, and a signature.
func (l *load) await(t *testing.T, more int64) {
	t.Helper()
	ok, signed := l.ok.Load(), l.signed.Load()
	eventually(t, time.Minute, func() error {
		select {
		case <-l.done:
			return fmt.Errorf("the load ended: %q", l.failures)
		default:
		}
		if l.ok.Load() < ok+more || l.signed.Load() < signed+3 {
			return fmt.Errorf("%d requests were answered and %d documents signed, want %d and 3 more", l.ok.Load()-ok, l.signed.Load()-signed, more)
		}
		return nil
	})
}

// end ends the load and returns the requests that failed.
func (l *load) end(t *testing.T) []string {
	t.Helper()
	_ = l.stop.Close()
	<-l.done
	if err := l.cmd.Wait(); err != nil {
		t.Errorf("the load ended with %v", err)
	}
	return l.failures
}

func upgradeUnderLoad(t *testing.T, p *pc) {
	// What the administrator changed stays; the load's PINs come from a program.
	const config, dropIn = "/etc/inkan/inkand.toml", "/etc/inkan/inkand.d/90-load.toml"
	content, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, string(content)+"# changed here\n")
	write(t, dropIn, "[pin]\nprogram_source = true\n")
	next := nextVersion(t)
	restart(t)
	awaitCard(t, 10)
	before, socket := mainPID(t), run(t, "stat", "--format=%i", apiSocket)
	l := startLoad(t)
	l.await(t, 100)
	run(t, "systemctl", "reset-failed", service) // it was restarted often
	// Not inkan-trial: its upgrade takes the card out.
	run(t, "dpkg", append([]string{"--install", "--force-depends"}, next[:2]...)...)
	l.await(t, 100)
	for range 3 { // once more, where nothing else slows it down
		restart(t)
		l.await(t, 50)
	}
	failures := l.end(t)
	t.Logf("%d requests were answered, %d of them signatures; %d failed; %d connections ended before their call was sent",
		l.ok.Load(), l.signed.Load(), len(failures), l.redials.Load())
	for i, f := range failures {
		if t.Errorf("%s", f); i == 9 {
			break
		}
	}
	if now := mainPID(t); now == before {
		t.Error("the service was not restarted")
	}
	if now := run(t, "stat", "--format=%i", apiSocket); now != socket {
		t.Error("the socket is another one")
	}
	if now, err := os.ReadFile(config); err != nil || !strings.HasSuffix(string(now), "# changed here\n") {
		t.Errorf("%s was not kept, %v:\n%s", config, err, now)
	}
	if err := os.Remove(dropIn); err != nil {
		t.Fatal(err)
	}
	run(t, "dpkg", "--install", next[2])
	restart(t)
	p.reinsert(t)
	awaitCard(t, 10)
	wantHealthy(t)
}

// nextVersion makes packages of a newer version out of those that are installed.
func nextVersion(t *testing.T) []string {
	t.Helper()
	folder := t.TempDir()
	names := []string{"inkan", "inkan-client", "inkan-trial"}
	for i, file := range debs(t, *packages, names...) {
		tree := folder + "/tree"
		run(t, "dpkg-deb", "--raw-extract", file, tree)
		version := strings.TrimSpace(run(t, "dpkg-deb", "--field", file, "Version"))
		control, err := os.ReadFile(tree + "/DEBIAN/control")
		if err != nil {
			t.Fatal(err)
		}
		write(t, tree+"/DEBIAN/control", strings.ReplaceAll(string(control), version, version+"+next"))
		run(t, "dpkg-deb", "--build", "-Znone", tree, folder+"/"+names[i]+"_next.deb")
		run(t, "rm", "--recursive", tree)
	}
	run(t, "chmod", "755", folder)
	return debs(t, folder, names...)
}
