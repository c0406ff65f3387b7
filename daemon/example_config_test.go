package daemon

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

const exampleConfig = "../packaging/config/example.toml"

// TestTheExampleShowsEverySetting: without the first # of its settings, the
// packaged example is a configuration in which each setting stands, and what it
// says is a default is one.
func TestTheExampleShowsEverySetting(t *testing.T) {
	text, err := os.ReadFile(exampleConfig)
	if err != nil {
		t.Fatal(err)
	}
	used := regexp.MustCompile(`(?m)^#(\S)`).ReplaceAllString(string(text), "$1")
	path := filepath.Join(t.TempDir(), "inkand.toml")
	if err := os.WriteFile(path, []byte(used), 0o600); err != nil {
		t.Fatal(err)
	}
	var cfg Config
	if err := cfg.read(path); err != nil {
		t.Fatal(err)
	}
	var set map[string]any
	if err := toml.Unmarshal([]byte(used), &set); err != nil {
		t.Fatal(err)
	}
	for _, missing := range unset(reflect.TypeFor[Config](), set, "") {
		t.Errorf("%s does not show %s", exampleConfig, missing)
	}
	def := Config{}.withDefaults()
	shown := def
	shown.StateDir, shown.Socket, shown.PINSocket = cfg.StateDir, cfg.Socket, cfg.PINSocket
	shown.SignerGroup, shown.PromptGroup = cfg.SignerGroup, cfg.PromptGroup
	shown.PIN.PromptTimeout, shown.PIN.ProgramSource = cfg.PIN.PromptTimeout, cfg.PIN.ProgramSource
	shown.Card.Idle, shown.Card.CommandTimeout = cfg.Card.Idle, cfg.Card.CommandTimeout
	if diff := cmp.Diff(def, shown); diff != "" {
		t.Errorf("what the example calls defaults (-want +got):\n%s", diff)
	}
}

// unset returns the settings of a type that do not stand in a configuration.
func unset(of reflect.Type, set map[string]any, path string) (missing []string) {
	for i := range of.NumField() {
		field := of.Field(i)
		name := field.Tag.Get("toml")
		value, ok := set[name]
		if !ok {
			missing = append(missing, path+name)
			continue
		}
		kind := field.Type
		if list, ok := value.([]any); ok && kind.Elem().Kind() == reflect.Struct {
			kind, value = kind.Elem(), list[0]
		}
		if table, ok := value.(map[string]any); ok && kind.Kind() == reflect.Struct {
			missing = append(missing, unset(kind, table, path+name+".")...)
		}
	}
	return missing
}

// TestThePackagedConfigurationIsRead: with what packages add, in the order of
// the unit; a later file wins, and a list takes the place of another.
func TestThePackagedConfigurationIsRead(t *testing.T) {
	const main = "../packaging/config/inkand.toml"
	dir := t.TempDir()
	vendor, local := filepath.Join(dir, "vendor"), filepath.Join(dir, "local")
	put := func(folder, name, text string) {
		t.Helper()
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func() Config {
		t.Helper()
		cfg, err := (&configFiles{file: main, folders: []string{vendor, local}}).load()
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	if cfg := load(); cfg.AllowVirtual == nil || *cfg.AllowVirtual || cfg.PIN.ProgramSource {
		t.Errorf("packaged: %+v", cfg)
	}
	trial, err := os.ReadFile("../packaging/trial/allow-virtual.toml")
	if err != nil {
		t.Fatal(err)
	}
	put(vendor, "50-trial.toml", string(trial))
	put(local, "49-exclusive.toml", "[card]\nexclusive = [\"A\", \"B\"]\n")
	put(local, "60-more.toml", "[card]\nexclusive = [\"C\"]\n[pin]\nmemory = \"mlock\"\n")
	put(local, "README", "not read")
	cfg := load()
	if !*cfg.AllowVirtual || cfg.PIN.Memory != "mlock" || strings.Join(cfg.Card.Exclusive, " ") != "C" {
		t.Errorf("with drop-ins: %+v", cfg)
	}
	put(local, "50-trial.toml", "") // hides that of the package
	if cfg := load(); *cfg.AllowVirtual {
		t.Error("a file of the same name does not take the place of a package's")
	}
	put(local, "70-wrong.toml", "no_such = 1\n")
	if _, err := (&configFiles{file: main, folders: []string{vendor, local}}).load(); err == nil || !strings.Contains(err.Error(), "70-wrong.toml") {
		t.Errorf("a wrong file: %v, want its name", err)
	}
}
