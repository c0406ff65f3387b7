// Package configpage makes the reference of the configuration, docs/configuration.md
// and docs/ja/configuration.md, out of the comments of daemon.Config.
//
// It guarantees that each page names all keys that inkand takes and no other: a
// key without a Japanese text, or a text without its key, is an error.
package configpage

import (
	_ "embed" // for ja.txt
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

//go:embed ja.txt
var japanese string

// key is one setting.
type key struct {
	name  string // in its section
	value string // kind of value, see kinds
	text  string // English
}

// section is a table of TOML. Its path is "" at the top.
type section struct {
	path string
	list bool // [[path]]: several
	text string
	keys []key
}

// kinds are the words for values, in English and Japanese.
var kinds = map[string][2]string{
	"string": {"text", "文字列"}, "bool": {"true or false", "true / false"}, "int": {"number", "数"},
	"Duration": {"time span", "時間"}, "[]string": {"list of texts", "文字列の並び"}, "map[string]string": {"table of texts", "文字列の表"},
}

// Write writes both pages below docs, out of the Go files in source.
func Write(source, docs string) error {
	sections, err := read(source)
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	texts, err := parse(japanese)
	if err != nil {
		return fmt.Errorf("reading ja.txt: %w", err)
	}
	if err := complete(sections, texts); err != nil {
		return err
	}
	for name, page := range map[string]string{
		"configuration.md":    page(sections, english),
		"ja/configuration.md": page(sections, inJapanese(texts)),
	} {
		path := filepath.Join(docs, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // documentation is for everybody
			return fmt.Errorf("making the folder of a page: %w", err)
		}
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil { //nolint:gosec // documentation is for everybody
			return fmt.Errorf("writing a page: %w", err)
		}
	}
	return nil
}

// read returns the sections of the struct Config of a package, the top first.
func read(folder string) ([]section, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	r := reader{types: map[string]declared{}, names: map[string]string{}}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		r.declare(parsed)
	}
	top, ok := r.types["Config"]
	if !ok {
		return nil, errors.New("there is no struct Config")
	}
	r.section("", false, top)
	for i := range r.sections {
		for j := range r.sections[i].keys {
			r.sections[i].keys[j].text = r.spoken(r.sections[i].keys[j].text)
		}
	}
	return r.sections, r.err
}

// declared is a struct with its comment.
type declared struct {
	text   string
	fields *ast.StructType
}

// reader goes through the structs.
type reader struct {
	types    map[string]declared
	names    map[string]string // of the fields of Go: their keys
	sections []section
	err      error
}

// declare takes the structs of a file.
func (r *reader) declare(file *ast.File) {
	for _, d := range file.Decls {
		general, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			if t, ok := spec.(*ast.TypeSpec); ok {
				if s, ok := t.Type.(*ast.StructType); ok {
					r.types[t.Name.Name] = declared{general.Doc.Text(), s}
				}
			}
		}
	}
}

// section takes a struct as a table, and then the tables below it.
func (r *reader) section(path string, list bool, of declared) {
	s := section{path: path, list: list, text: sentence(of.text)}
	type below struct {
		path string
		list bool
		of   declared
	}
	var later []below
	for _, f := range of.fields.Fields.List {
		if len(f.Names) != 1 || f.Tag == nil {
			r.err = errors.Join(r.err, fmt.Errorf("[%s] has fields on one line, or without a tag", path))
			continue
		}
		tag, _ := strconv.Unquote(f.Tag.Value) // the parser took it
		name := reflect.StructTag(tag).Get("toml")
		full := strings.TrimPrefix(path+"."+name, ".")
		kind, several := f.Type, false
		if a, ok := kind.(*ast.ArrayType); ok {
			if _, inner := r.types[written(a.Elt)]; inner {
				kind, several = a.Elt, true
			}
		}
		inner, ok := r.types[written(kind)]
		if anonymous, is := kind.(*ast.StructType); is {
			inner, ok = declared{f.Doc.Text(), anonymous}, true
		}
		if ok {
			if several {
				inner.text = strings.TrimPrefix(f.Doc.Text(), f.Names[0].Name+" are ")
			}
			later = append(later, below{full, several, inner})
			continue
		}
		r.names[f.Names[0].Name] = full
		s.keys = append(s.keys, key{name, strings.TrimPrefix(written(kind), "*"), f.Doc.Text()})
	}
	r.sections = append(r.sections, s)
	for _, l := range later {
		r.section(l.path, l.list, l.of)
	}
}

// written returns a type as it stands in Go.
func written(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.StarExpr:
		return "*" + written(t.X)
	case *ast.ArrayType:
		return "[]" + written(t.Elt)
	case *ast.MapType:
		return "map[" + written(t.Key) + "]" + written(t.Value)
	}
	return ""
}

// spoken returns a comment with keys in the place of Go's names.
func (r *reader) spoken(comment string) string {
	words := strings.Fields(comment)
	for i, w := range words {
		bare := strings.TrimRight(w, ".,:;)")
		if k, ok := r.names[bare]; ok {
			words[i] = "`" + k + "`" + w[len(bare):]
		}
	}
	return strings.Join(words, " ")
}

// sentence returns a comment of a struct without the struct's name.
func sentence(comment string) string {
	text := strings.Join(strings.Fields(comment), " ")
	if first, after, ok := strings.Cut(text, " "); ok && strings.HasSuffix(first, "Config") {
		text = strings.TrimPrefix(after, "is ")
	}
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// parse reads lines "key = text"; # begins a comment.
func parse(lines string) (map[string]string, error) {
	texts := map[string]string{}
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, text, ok := strings.Cut(line, " = ")
		if _, twice := texts[k]; !ok || twice {
			return nil, fmt.Errorf("%q is no text for a key, or the second one", line)
		}
		texts[k] = text
	}
	return texts, nil
}

// complete returns an error unless each key and each section has a text.
func complete(sections []section, texts map[string]string) error {
	var errs []error
	left := map[string]bool{}
	for k := range texts {
		left[k] = true
	}
	want := func(name string) {
		if texts[name] == "" {
			errs = append(errs, fmt.Errorf("ja.txt has no text for %s", name))
		}
		delete(left, name)
	}
	for _, s := range sections {
		if s.path != "" {
			want("[" + s.path + "]")
		}
		for _, k := range s.keys {
			want(strings.TrimPrefix(s.path+"."+k.name, "."))
			if _, known := kinds[k.value]; !known {
				errs = append(errs, fmt.Errorf("no word for values of type %s", k.value))
			}
		}
	}
	for name := range left {
		errs = append(errs, fmt.Errorf("ja.txt has a text for %s, which is no key", name))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
