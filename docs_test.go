package inkan_test

import (
	"fmt"
	"go/ast"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// repository is the tree that the tests of the house look at: go test runs
// them in the folder of the root package.
var repository = os.DirFS(".")

var (
	inlineLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	referenceLink = regexp.MustCompile(`(?m)^\[[^\]]+\]:\s+(\S+)`)
	fencedCode    = regexp.MustCompile("(?s)```.*?```")
	requireLine   = regexp.MustCompile(`(?m)^(?:require )?\s*([a-z0-9.]+\.[a-z]+/\S+) (v\S+)(\s*// indirect)?$`)
	toolLine      = regexp.MustCompile(`(?m)^\t([a-z0-9.]+\.[a-z]+/\S+)$`)
	tableRow      = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")
)

// TestLinksInDocumentsResolve follows every relative link of every document.
func TestLinksInDocumentsResolve(t *testing.T) {
	documents := 0
	err := fs.WalkDir(repository, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipFolder(name)
		}
		if !strings.HasSuffix(name, ".md") {
			return nil
		}
		documents++
		text, err := fs.ReadFile(repository, name)
		if err != nil {
			return err
		}
		for _, problem := range brokenLinks(repository, name, string(text)) {
			t.Error(problem)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("reading the documents: %v", err)
	}
	if documents == 0 {
		t.Fatal("found no document")
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"a file that is there":        {"[a](../doc.go)", 0},
		"a folder that is there":      {"[a](decisions/)", 0},
		"a part of a file":            {"[a](testing.md#tiers)", 0},
		"a part of this document":     {"[a](#tiers)", 0},
		"the web":                     {"[a](https://example.com/x) [b](mailto:a@example.com)", 0},
		"a file that is not there":    {"[a](nowhere.md)", 1},
		"outside of the repository":   {"[a](../../../etc/passwd)", 1},
		"a reference to nothing":      {"text\n\n[a]: nowhere.md\n", 1},
		"an example, not a link":      {"```\n[a](nowhere.md)\n```", 0},
		"two broken ones on one line": {"[a](x.md) and [b](y.md)", 2},
	} {
		if got := brokenLinks(repository, "docs/example.md", c.text); len(got) != c.want {
			t.Errorf("%s: got %q, want %d", name, got, c.want)
		}
	}
}

// brokenLinks returns the relative links of a document that lead nowhere.
func brokenLinks(tree fs.FS, document, text string) []string {
	text = fencedCode.ReplaceAllString(text, "")
	found := append(inlineLink.FindAllStringSubmatch(text, -1), referenceLink.FindAllStringSubmatch(text, -1)...)
	var problems []string
	for _, link := range found {
		target, _, _ := strings.Cut(link[1], "#")
		if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
			continue
		}
		resolved := path.Join(path.Dir(document), target)
		if _, err := fs.Stat(tree, resolved); err != nil {
			problems = append(problems, fmt.Sprintf("%s links to %s: %v", document, link[1], err))
		}
	}
	return problems
}

// TestDependenciesAreExplained: docs/dependencies.md has a row for every
// direct dependency and tool, and no row for one that is gone.
func TestDependenciesAreExplained(t *testing.T) {
	explained := tableRow.FindAllStringSubmatch(readText(t, "docs/dependencies.md"), -1)
	rows := map[string]bool{}
	for _, row := range explained {
		rows[row[1]] = true
	}
	direct, present := map[string]bool{}, map[string]bool{}
	for _, line := range requireLine.FindAllStringSubmatch(readText(t, "go.mod"), -1) {
		present[line[1]] = true
		direct[line[1]] = line[3] == ""
	}
	for _, line := range toolLine.FindAllStringSubmatch(readText(t, "tools/go.mod"), -1) {
		present[line[1]], direct[line[1]] = true, true
	}
	if len(present) < 10 {
		t.Fatalf("read %d modules from go.mod and tools/go.mod: the pattern does not fit them", len(present))
	}
	for name, isDirect := range direct {
		if isDirect && !rows[name] {
			t.Errorf("%s has no row in docs/dependencies.md: what is it for, how is it kept, what would replace it?", name)
		}
	}
	for name := range rows {
		if !present[name] {
			t.Errorf("docs/dependencies.md explains %s, which is in no go.mod", name)
		}
	}
}

// TestReasonsToSkipAreExplained keeps docs/testing.md and skipReasons together.
func TestReasonsToSkipAreExplained(t *testing.T) {
	text := readText(t, "docs/testing.md")
	for _, reason := range skipReasons {
		if !strings.Contains(text, "`"+reason+"`") {
			t.Errorf("docs/testing.md does not explain the reason to skip %q", reason)
		}
	}
}

// TestTargetsAreExplained keeps the Makefile and docs/testing.md together.
func TestTargetsAreExplained(t *testing.T) {
	text := readText(t, "docs/testing.md")
	targets := regexp.MustCompile(`(?m)^([a-z0-9-]+):.*## `).FindAllStringSubmatch(readText(t, "Makefile"), -1)
	if len(targets) < 10 {
		t.Fatalf("found %d targets in the Makefile: the pattern does not fit it", len(targets))
	}
	for _, target := range targets {
		if !strings.Contains(text, "`make "+target[1]+"`") {
			t.Errorf("docs/testing.md does not explain make %s", target[1])
		}
	}
}

var namedTest = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]+)`")

// TestNamedTestsExist looks for every test that a document names: a rule or a
// threat that points to a test which is gone is guarded by nothing.
func TestNamedTestsExist(t *testing.T) {
	there := map[string]bool{}
	for _, s := range readSources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.isTest() && f.Recv == nil {
				there[f.Name.Name] = true
			}
		}
	}
	for document, least := range map[string]int{"docs/threat-model.md": 80, "docs/architecture.md": 30, "docs/states.md": 2} {
		named := namedTest.FindAllStringSubmatch(readText(t, document), -1)
		if len(named) < least {
			t.Errorf("%s names %d tests: the pattern does not fit it", document, len(named))
		}
		for _, name := range named {
			if !there[name[1]] {
				t.Errorf("%s names %s, which does not exist", document, name[1])
			}
		}
	}
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := fs.ReadFile(repository, name)
	if err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
	return string(text)
}
