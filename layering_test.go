package inkan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/inkan-project/inkan"

// A pkg is what `go list -json` says about one package of this module. Import
// paths inside the module are written as the go command does: ".", "./token".
type pkg struct {
	ImportPath   string
	Imports      []string // of its product files
	Deps         []string // all that it links, through others too
	TestImports  []string
	XTestImports []string
}

// A room says what the packages of one place may import from this module.
// Every package belongs to exactly one room: a new package needs a decision.
type room struct {
	of  []string // packages, as patterns
	may []string // what their product code may import from this module
	why string
	bad [2]string // an import that breaks it: {importer, imported}
}

// A ban says what must not be imported, whatever room it is asked from.
type ban struct {
	of    []string // the packages it binds
	not   []string // but not these
	never []string // what they must not import
	only  []string // instead of never: all they may import beside the standard library
	deep  bool     // nor link through other packages
	tests bool     // binds their test files too
	why   string
	bad   [2]string
}

// TestImportsFollowTheRooms holds the picture in docs/architecture.md: arrows
// go down only, leaves do not know each other.
func TestImportsFollowTheRooms(t *testing.T) {
	for _, problem := range checkRooms(rooms, listPackages(t)) {
		t.Error(problem)
	}
}

// TestBansHold keeps each third party in one place and product code clean.
func TestBansHold(t *testing.T) {
	for _, problem := range checkBans(bans, listPackages(t)) {
		t.Error(problem)
	}
}

func TestEveryRoomRefusesItsBadExample(t *testing.T) {
	for _, r := range rooms {
		if r.bad == ([2]string{}) || r.why == "" {
			t.Errorf("room %v has no bad example or no reason", r.of)
			continue
		}
		from, to := r.bad[0], r.bad[1]
		if !matchAny(r.of, from) {
			t.Errorf("room %v: its bad example is from %s, which is not in it", r.of, from)
		}
		found := checkRooms(rooms, []pkg{{ImportPath: from, Imports: []string{"fmt", to}}})
		if len(found) != 1 || !strings.Contains(found[0], r.why) {
			t.Errorf("%s importing %s: got %q, want one problem that says %q", from, to, found, r.why)
		}
		if found := checkRooms(rooms, []pkg{{ImportPath: from, Imports: []string{"fmt"}, TestImports: []string{to}}}); len(found) != 0 {
			t.Errorf("a test of %s importing %s: got %q, want none: rooms bind product code", from, to, found)
		}
	}
}

func TestEveryBanRefusesItsBadExample(t *testing.T) {
	for _, b := range bans {
		if b.bad == ([2]string{}) || b.why == "" {
			t.Errorf("ban of %v has no bad example or no reason", b.never)
			continue
		}
		from, to := b.bad[0], b.bad[1]
		examples := map[string]struct {
			pkg  pkg
			want bool
		}{
			"a product file imports it":        {pkg{Imports: []string{to}, Deps: []string{to}}, true},
			"it is linked through another":     {pkg{Imports: []string{"x"}, Deps: []string{"x", to}}, b.deep},
			"a test of the package imports it": {pkg{TestImports: []string{to}}, b.tests},
			"an outside test imports it":       {pkg{XTestImports: []string{to}}, b.tests},
			"nobody imports it":                {pkg{Imports: []string{"fmt"}}, false},
		}
		for name, example := range examples {
			example.pkg.ImportPath = from
			found := checkBans([]ban{b}, []pkg{example.pkg})
			if got := len(found) > 0; got != example.want {
				t.Errorf("%s, %s, %s: got problem %t %q, want %t", from, to, name, got, found, example.want)
			}
			if len(found) > 0 && !strings.Contains(found[0], b.why) {
				t.Errorf("%s, %s: %q does not say why: %q", from, to, found[0], b.why)
			}
		}
	}
}

func TestAPackageWithoutARoomIsRefused(t *testing.T) {
	found := checkRooms(rooms, []pkg{{ImportPath: "./daemon/internal/kitchen"}})
	if len(found) != 1 || !strings.Contains(found[0], "no room") {
		t.Errorf("got %q, want one problem about a package with no room", found)
	}
}

func TestPatternsMatchWholePathElements(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"token", "token", true},
		{"token", "token/piv", false},
		{"token/...", "token", true},
		{"token/...", "token/piv", true},
		{"token/...", "tokens", false},
		{"...", "anything/at/all", true},
		{"./...", ".", true},
		{"./...", "os", false},
		{"*test", "./daemon/daemontest", true},
		{"*test", "./daemon/daemontest/part", false},
	} {
		if got := match(c.pattern, c.path); got != c.want {
			t.Errorf("match(%q, %q) = %t, want %t", c.pattern, c.path, got, c.want)
		}
	}
}

// checkRooms returns what is against the rooms.
func checkRooms(rooms []room, packages []pkg) []string {
	var problems []string
	for _, p := range packages {
		var home []room
		for _, r := range rooms {
			if matchAny(r.of, p.ImportPath) {
				home = append(home, r)
			}
		}
		if len(home) != 1 {
			problems = append(problems, fmt.Sprintf("%s: package in %d rooms (no room, or several): decide in layering_rules_test.go what it may import", p.ImportPath, len(home)))
			continue
		}
		for _, imported := range p.Imports {
			if inModule(imported) && !matchAny(home[0].may, imported) {
				problems = append(problems, fmt.Sprintf("%s imports %s: %s", p.ImportPath, imported, home[0].why))
			}
		}
	}
	return problems
}

// checkBans returns what is against the bans.
func checkBans(bans []ban, packages []pkg) []string {
	var problems []string
	for _, p := range packages {
		for _, b := range bans {
			if !matchAny(b.of, p.ImportPath) || matchAny(b.not, p.ImportPath) {
				continue
			}
			imports := slices.Clone(p.Imports)
			if b.tests {
				imports = append(append(imports, p.TestImports...), p.XTestImports...)
			}
			if b.deep {
				imports = append(imports, p.Deps...)
			}
			refused := slices.DeleteFunc(imports, func(path string) bool { return !b.refuses(path) })
			if len(refused) > 0 {
				problems = append(problems, fmt.Sprintf("%s imports or links %s (one of %d): %s", p.ImportPath, refused[0], len(refused), b.why))
			}
		}
	}
	return problems
}

// refuses tells whether the ban is on a path.
func (b ban) refuses(path string) bool {
	if b.only == nil {
		return matchAny(b.never, path)
	}
	return !inStd(path) && !matchAny(b.only, path)
}

func inModule(path string) bool { return path == "." || strings.HasPrefix(path, "./") }

// inStd tells the standard library: no dot in the first element of the path.
func inStd(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// match knows three patterns: "a" is a alone, "a/..." is a and all below it,
// "*z" is every path that ends in z.
func match(pattern, path string) bool {
	if base, ok := strings.CutSuffix(pattern, "..."); ok {
		return base == "" || path == strings.TrimSuffix(base, "/") || strings.HasPrefix(path, base)
	}
	if end, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(path, end)
	}
	return pattern == path
}

func matchAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, path) })
}

// listPackages asks the go command for the packages of this module, with cgo
// on, so that files behind cgo are seen where there is no C compiler too.
func listPackages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-buildvcs=false", "-json=ImportPath,Imports,Deps,TestImports,XTestImports", "./...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v\n%s", err, stderr.Bytes())
	}
	var packages []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("reading what go list printed: %v", err)
		}
		p.ImportPath = cut(p.ImportPath)
		for _, list := range [][]string{p.Imports, p.Deps, p.TestImports, p.XTestImports} {
			for i := range list {
				list[i] = cut(list[i])
			}
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		t.Fatal("go list found no package")
	}
	return packages
}

func cut(path string) string {
	if path == module {
		return "."
	}
	if below, ok := strings.CutPrefix(path, module+"/"); ok {
		return "./" + below
	}
	return path
}
