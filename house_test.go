package inkan_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	goodFileLines = 400 // what we aim at
	maxFileLines  = 450 // what is refused
	maxMainLines  = 30
)

// A source is one Go file, generated ones included.
type source struct {
	path  string // relative to the root, with slashes
	text  string
	fset  *token.FileSet
	file  *ast.File
	lines int
}

// A habit is a rule about Go files that no linter of ours knows.
type habit struct {
	name  string
	why   string
	check func(s source) []string // what is wrong, with the line
	// Sources that it must refuse and must accept: {path, text}.
	bad, good [][2]string
}

// TestTheHouseKeepsItsHabits checks every Go file, build tags or not.
func TestTheHouseKeepsItsHabits(t *testing.T) {
	for _, s := range readSources(t) {
		for _, h := range habits {
			for _, problem := range h.check(s) {
				t.Errorf("%s:%s (%s)", s.path, problem, h.why)
			}
		}
		if s.lines > goodFileLines && !ast.IsGenerated(s.file) {
			t.Logf("%s has %d lines: look for the second idea in it", s.path, s.lines)
		}
	}
}

func TestEveryHabitRefusesItsBadExamples(t *testing.T) {
	for _, h := range habits {
		if len(h.bad) == 0 || len(h.good) == 0 || h.why == "" {
			t.Errorf("habit %q lacks an example or a reason", h.name)
		}
		for _, example := range h.bad {
			if found := h.check(parseSource(t, example[0], example[1])); len(found) == 0 {
				t.Errorf("habit %q accepts %s:\n%s", h.name, example[0], example[1])
			}
		}
		for _, example := range h.good {
			if found := h.check(parseSource(t, example[0], example[1])); len(found) != 0 {
				t.Errorf("habit %q refuses %s: %q\n%s", h.name, example[0], found, example[1])
			}
		}
	}
}

// TestEachPackageHasOneComment: it says what the package is for, what it
// guarantees and what the caller must do.
func TestEachPackageHasOneComment(t *testing.T) {
	for _, problem := range checkPackageComments(readSources(t)) {
		t.Error(problem)
	}
}

func TestPackageCommentsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  bool // a problem
	}{
		"one comment":                        {map[string]string{"a/a.go": "// Package a is.\npackage a", "a/b.go": "package a"}, false},
		"none":                               {map[string]string{"a/a.go": "package a", "a/b.go": "package a"}, true},
		"two":                                {map[string]string{"a/a.go": "// Package a is.\npackage a", "a/b.go": "// Package a is too.\npackage a"}, true},
		"another name":                       {map[string]string{"a/a.go": "// Package b is.\npackage a"}, true},
		"a command":                          {map[string]string{"cmd/inkand/main.go": "// Inkand is a service.\npackage main"}, false},
		"a command, the other way":           {map[string]string{"cmd/inkan/main.go": "// Command inkan asks.\npackage main"}, false},
		"a command with a package's comment": {map[string]string{"cmd/inkan/main.go": "// Package main is.\npackage main"}, true},
		"an outside test needs none":         {map[string]string{"a/a.go": "// Package a is.\npackage a", "a/a_test.go": "package a_test"}, false},
		"a folder of tests alone":            {map[string]string{"a/a_test.go": "package a_test"}, false},
		"a comment in a test does not do":    {map[string]string{"a/a.go": "package a", "a/a_test.go": "// Package a is.\npackage a"}, true},
	} {
		var sources []source
		for path, text := range c.files {
			sources = append(sources, parseSource(t, path, text))
		}
		if found := checkPackageComments(sources); (len(found) > 0) != c.want {
			t.Errorf("%s: got problems %q, want some %t", name, found, c.want)
		}
	}
}

// checkPackageComments returns what is wrong with package comments.
func checkPackageComments(sources []source) []string {
	comments := map[string][]string{} // folder and package -> comments
	for _, s := range sources {
		if strings.HasSuffix(s.path, "_test.go") {
			continue
		}
		key := filepath.Dir(s.path) + " " + s.file.Name.Name
		comments[key] = append(comments[key], nil...)
		if s.file.Doc != nil {
			comments[key] = append(comments[key], s.file.Doc.Text())
		}
	}
	var problems []string
	for key, found := range comments {
		folder, name, _ := strings.Cut(key, " ")
		starts := []string{"Package " + name + " "}
		if name == "main" {
			command := filepath.Base(folder)
			starts = []string{"Command " + command + " ", strings.ToUpper(command[:1]) + command[1:] + " "}
		}
		switch {
		case len(found) != 1:
			problems = append(problems, fmt.Sprintf("%s: package %s has %d package comments, want one", folder, name, len(found)))
		case !slices.ContainsFunc(starts, func(start string) bool { return strings.HasPrefix(found[0], start) }):
			problems = append(problems, fmt.Sprintf("%s: the package comment must start with %q", folder, starts[0]))
		}
	}
	slices.Sort(problems)
	return problems
}

// readSources parses every Go file of the module that is ours or generated.
func readSources(t *testing.T) []source {
	t.Helper()
	var sources []source
	err := fs.WalkDir(repository, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipFolder(path)
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := fs.ReadFile(repository, path)
		if err != nil {
			return err
		}
		sources = append(sources, parseSource(t, path, string(text)))
		return nil
	})
	if err != nil {
		t.Fatalf("reading the source: %v", err)
	}
	if len(sources) < 10 {
		t.Fatalf("found %d Go files: the walk does not see the tree", len(sources))
	}
	return sources
}

// skipFolder leaves out what is not source of ours.
func skipFolder(path string) error {
	name := filepath.Base(path)
	if path == "." {
		return nil
	}
	if slices.Contains([]string{"bin", "build", "testdata", "third_party"}, name) || strings.HasPrefix(name, ".") {
		return fs.SkipDir
	}
	return nil
}

func parseSource(t *testing.T, path, text string) source {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("parsing %s: %v", path, err)
	}
	return source{path: path, text: text, fset: fset, file: file, lines: strings.Count(text, "\n")}
}

// at writes a problem with its line.
func (s source) at(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%d: %s", s.fset.Position(pos).Line, fmt.Sprintf(format, args...))
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// importName returns the name under which the file imports a package, "" if it
// does not.
func (s source) importName(path string) string {
	for _, spec := range s.file.Imports {
		if strings.Trim(spec.Path.Value, `"`) != path {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path[strings.LastIndex(path, "/")+1:]
	}
	return ""
}

// selectors returns every pkg.Name in the file, for names that are wanted.
func (s source) selectors(pkg string, names ...string) []*ast.SelectorExpr {
	var found []*ast.SelectorExpr
	ast.Inspect(s.file, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			if x, ok := selector.X.(*ast.Ident); ok && x.Name == pkg && slices.Contains(names, selector.Sel.Name) {
				found = append(found, selector)
			}
		}
		return true
	})
	return found
}

var openEnd = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b(\(#\d+\))?`)
