package daemon

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"

	"github.com/inkan-project/inkan/daemon/internal/blackbox"
	"github.com/inkan-project/inkan/daemon/internal/rpc"
)

// support returns what the composition root has for a support bundle.
func (o Options) support(box *blackbox.Recorder) func() []rpc.Part {
	return func() []rpc.Part {
		return []rpc.Part{
			{Name: "versions", Text: o.versions()},
			{Name: "configuration", Text: o.Config.shown()},
			{Name: "commands to cards", Text: lines(box.Exchanges())},
			{Name: "log of inkand", Text: lines(box.Log())},
		}
	}
}

func lines(all []string) string {
	if len(all) == 0 {
		return "(nothing yet)\n"
	}
	return strings.Join(all, "\n") + "\n"
}

// versions says what runs here.
func (o Options) versions() string {
	var b strings.Builder
	fmt.Fprintf(&b, "inkand %s, %s %s/%s, virtual %t\n", o.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, o.Virtual)
	fmt.Fprintf(&b, "now %s, uid %d, pid %d\n", o.Now().UTC().Format(time.RFC3339), os.Geteuid(), os.Getpid())
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil {
		fmt.Fprintf(&b, "kernel %s %s %s\n", unix.ByteSliceToString(uts.Sysname[:]), unix.ByteSliceToString(uts.Release[:]), unix.ByteSliceToString(uts.Machine[:]))
	}
	if text, err := os.ReadFile("/etc/os-release"); err == nil { // os-release(5)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "PRETTY_NAME=") {
				b.WriteString(line)
			}
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			fmt.Fprintf(&b, "module %s %s\n", m.Path, m.Version)
		}
	}
	return b.String()
}

// shown is the configuration in force, as TOML. There is no secret among its
// fields but what an administrator may write into the environment of a PKCS#11
// module: of that only the names are shown. The file itself is not: people
// write notes into it.
func (c Config) shown() string {
	c.PKCS11 = slices.Clone(c.PKCS11)
	for i := range c.PKCS11 {
		c.PKCS11[i].Environment = maps.Clone(c.PKCS11[i].Environment)
		for name := range c.PKCS11[i].Environment {
			c.PKCS11[i].Environment[name] = "(left out)"
		}
	}
	text, err := toml.Marshal(c)
	if err != nil {
		return "the configuration cannot be written: " + err.Error() + "\n"
	}
	return string(text)
}
