package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/inkan-project/inkan/daemon"
	"github.com/inkan-project/inkan/token"
)

// load reads a configuration with one module that is in order, and what else is
// said of it or beside it.
func load(t *testing.T, text string) (daemon.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "inkan.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return daemon.Load(path)
}

// library makes a file that could be a module, with a mode.
func library(t *testing.T, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "module.so")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestModulesAreConfigured(t *testing.T) {
	writable := t.TempDir()
	cfg, err := load(t, fmt.Sprintf(`
[[pkcs11]]
name = "opensc"
module = %q

[[pkcs11]]
name = "hsm.1"
module = %[1]q
via = "own"
takes = "all"
profile = "softhsm"
environment = {SOFTHSM2_CONF = "/etc/hsm.conf"}
writable = [%[2]q]
timeout = "1m"
token = {label = "署名", serial = "1"}
`, library(t, 0o755), writable))
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.PKCS11) != 2 || cfg.PKCS11[1].Token.Label != "署名" || cfg.PKCS11[1].Environment["SOFTHSM2_CONF"] != "/etc/hsm.conf" {
		t.Errorf("modules %+v", cfg.PKCS11)
	}
}

func TestAModuleThatCannotWorkIsRefusedWithItsName(t *testing.T) {
	good := library(t, 0o755)
	link := filepath.Join(t.TempDir(), "link.so")
	if err := os.Symlink(library(t, 0o777), link); err != nil {
		t.Fatal(err)
	}
	module := fmt.Sprintf("module = %q\n", good)
	for _, tt := range []struct{ name, text, says string }{
		{"no name", module, "number 1"},
		{"a name with a blank", `name = "a b"` + "\n" + module, "a b"},
		{"a long name", fmt.Sprintf("name = %q\n", strings.Repeat("a", 41)) + module, "1 to 40"},
		{"two of one name", `name = "a"` + "\n" + module + "[[pkcs11]]\n" + `name = "a"` + "\n" + module, "the only one"},
		{"no library", `name = "a"`, "absolute path"},
		{"a relative library", `name = "a"` + "\nmodule = \"module.so\"", "absolute path"},
		{"a library that is not there", `name = "a"` + "\nmodule = \"/nonexistent.so\"", "no such file"},
		{"a folder", `name = "a"` + "\nmodule = \"/usr/lib\"", "only root"},
		{"a library that others can change", fmt.Sprintf("name = \"a\"\nmodule = %q", library(t, 0o775)), "only root"},
		{"a library that everybody can change", fmt.Sprintf("name = \"a\"\nmodule = %q", library(t, 0o757)), "only root"},
		{"a link to a library that everybody can change", fmt.Sprintf("name = \"a\"\nmodule = %q", link), "only root"},
		{"another way", `name = "a"` + "\n" + module + `via = "usb"`, "via"},
		{"other cards", `name = "a"` + "\n" + module + `takes = "some"`, "takes"},
		{"an unknown profile", `name = "a"` + "\n" + module + `profile = "none"`, "card profile"},
		{"a profile of another application", `name = "a"` + "\n" + module + `profile = "piv"`, "card profile"},
		{"a library for the loader", `name = "a"` + "\n" + module + `environment = {LD_PRELOAD = "/x.so"}`, "LD_PRELOAD"},
		{"the same in small letters", `name = "a"` + "\n" + module + `environment = {ld_preload = "/x.so"}`, "ld_preload"},
		{"another opensc.conf", `name = "a"` + "\n" + module + `environment = {OPENSC_CONF = "/x"}`, "OPENSC_CONF"},
		{"a log of OpenSC", `name = "a"` + "\n" + module + `environment = {OPENSC_DEBUG = "9"}`, "OPENSC_DEBUG"},
		{"a switch of Go", `name = "a"` + "\n" + module + `environment = {GODEBUG = "x"}`, "GODEBUG"},
		{"a log of libpcsclite", `name = "a"` + "\n" + module + `environment = {LIBPCSCLITE_LOG = "x"}`, "LIBPCSCLITE_LOG"},
		{"no variable", `name = "a"` + "\n" + module + `environment = {"A=B" = "x"}`, "A=B"},
		{"an empty variable", `name = "a"` + "\n" + module + `environment = {"" = "x"}`, "environment"},
		{"a value that ends early", `name = "a"` + "\n" + module + `environment = {A = "x\u0000y"}`, "environment"},
		{"a relative folder", `name = "a"` + "\n" + module + `writable = ["var"]`, "writable"},
		{"no time", `name = "a"` + "\n" + module + `timeout = "0s"`, "time span"},
		{"an unknown setting", `name = "a"` + "\n" + module + `pin = "1234"`, `line 4, column 1: there is no setting "pkcs11.pin"`},
		{"an unknown setting of the token", `name = "a"` + "\n" + module + `token = {slot = 1}`, "line 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, "[[pkcs11]]\n"+tt.text+"\n")
			if token.KindOf(err) != token.KindConfigInvalid || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %s that says %q", err, token.KindConfigInvalid, tt.says)
			}
			if err != nil && strings.Contains(err.Error(), "1234") {
				t.Errorf("a value is in the error: %v", err)
			}
		})
	}
}
