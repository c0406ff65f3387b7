package configpage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestThePagesNameEachKeyOnce(t *testing.T) {
	docs := t.TempDir()
	if err := Write("../..", docs); err != nil {
		t.Fatal(err)
	}
	for name, rows := range map[string][]string{
		"configuration.md":    {"| `program_source` | true or false | `pin.program_source` lets programs give PINs", "## `[[pkcs11]]`", "| `user_rate` | number |"},
		"ja/configuration.md": {"| `program_source` | true / false | true なら", "## `[[pkcs11]]`", "| `user_rate` | 数 |"},
	} {
		content, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if n := strings.Count(string(content), row); n != 1 {
				t.Errorf("%s has %d times %q, want once", name, n, row)
			}
		}
	}
}

func TestAKeyWithoutItsTextIsAnError(t *testing.T) {
	folder := t.TempDir()
	source := "package a\n\n// Config is all.\ntype Config struct {\n\t// A is one. Default 1.\n\tA int `toml:\"a\"`\n\t// B is two.\n\tB BConfig `toml:\"b\"`\n}\n\n// BConfig is about b.\ntype BConfig struct {\n\tC string `toml:\"c\"`\n}\n"
	if err := os.WriteFile(filepath.Join(folder, "a.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	sections, err := read(folder)
	if err != nil {
		t.Fatal(err)
	}
	for texts, want := range map[string]string{
		"a = x\n[b] = x\nb.c = x":             "",
		"a = x\n[b] = x":                      "no text for b.c",
		"a = x\n[b] = x\nb.c = x\nb.gone = x": "b.gone, which is no key",
		"a = x\na = y":                        "the second one",
	} {
		parsed, err := parse(texts)
		if err == nil {
			err = complete(sections, parsed)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("with %q: %v, want an error with %q", texts, err, want)
		}
	}
}
