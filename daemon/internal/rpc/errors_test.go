package rpc

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/inkan-project/inkan/proto/catalogue"
	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// kinds reads all kinds of error out of the source of package token.
func kinds(t *testing.T) []token.Kind {
	t.Helper()
	file, err := parser.ParseFile(gotoken.NewFileSet(), "../../../token/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []token.Kind
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Kind") || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is not a literal", spec.Names[0])
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, token.Kind(value))
		return true
	})
	if len(all) < 30 {
		t.Fatalf("found %d kinds of error", len(all))
	}
	return all
}

func TestKindsAndCatalogueAreTheSameList(t *testing.T) {
	known := map[inkanpb.Reason]bool{}
	for _, kind := range kinds(t) {
		reason := catalogue.Find(string(kind))
		if reason == inkanpb.Reason_REASON_UNSPECIFIED {
			t.Errorf("kind %s is not in errors.proto", kind)
		}
		known[reason] = true
	}
	for number := range inkanpb.Reason_name {
		warning := number >= 6000
		if r := inkanpb.Reason(number); r != 0 && !warning && !known[r] {
			t.Errorf("%s has no kind in package token", r)
		}
	}
}

func TestEveryErrorLeavesWithBothTexts(t *testing.T) {
	for _, kind := range kinds(t) {
		err := toStatus(token.NewError(kind, "detail", "the detail").WithTries(token.KnownTries(4)).Because(errors.New("a secret cause")), "ja")
		st := status.Convert(err)
		if st.Code() == codes.Unavailable && kind != token.KindServiceUnreachable {
			t.Errorf("%s answers UNAVAILABLE, which clients repeat", kind)
		}
		var info *errdetails.ErrorInfo
		texts := map[string]string{}
		help := 0
		for _, d := range st.Details() {
			switch d := d.(type) {
			case *errdetails.ErrorInfo:
				info = d
			case *errdetails.LocalizedMessage:
				texts[d.GetLocale()] = d.GetMessage()
			case *errdetails.Help:
				for _, link := range d.GetLinks() {
					if strings.HasPrefix(link.GetDescription(), info.GetMetadata()["code"]) && strings.Contains(link.GetUrl(), "errors.md#ink-") {
						help++
					}
				}
			}
		}
		if info.GetReason() != string(kind) || info.GetMetadata()["tries_left"] != "4" || !strings.HasPrefix(info.GetMetadata()["code"], "INK-") {
			t.Errorf("%s: ErrorInfo %v", kind, info)
		}
		if texts["ja"] == "" || texts["en"] == "" || help != 2 {
			t.Errorf("%s: texts %q, %d help links", kind, texts, help)
		}
		if strings.Contains(st.String()+texts["ja"]+texts["en"], "secret cause") {
			t.Errorf("%s: the cause left the service", kind)
		}
	}
}

// Trailers of more than 8 KiB are refused by clients in other languages, and
// the person would see a broken connection in place of the error.
func TestEveryErrorFitsTheTrailersOfSmallClients(t *testing.T) {
	const most = 8 << 10 * 3 / 4 // base64 makes four bytes of three
	for _, kind := range kinds(t) {
		e := token.NewError(kind)
		for _, name := range append(catalogue.Placeholders(catalogue.Find(string(kind))), "detail_ja") {
			e = e.With(name, strings.Repeat("長", 3000))
		}
		if size := proto.Size(status.Convert(toStatus(e, "ja")).Proto()); size > most {
			t.Errorf("%s takes %d bytes, want %d at most", kind, size, most)
		}
	}
}

func TestAnErrorOfNoKindLeavesNothingButTheCatalogue(t *testing.T) {
	tests := map[error]inkanpb.Reason{
		errors.New("/var/lib/inkan: a secret cause"): inkanpb.Reason_REASON_INTERNAL,
		context.Canceled:               inkanpb.Reason_REASON_CALL_ENDED,
		token.NewError("NO_SUCH_KIND"): inkanpb.Reason_REASON_INTERNAL,
	}
	for err, want := range tests {
		st := status.Convert(toStatus(err, "en"))
		if !strings.HasPrefix(st.Message(), catalogue.Code(want)) || strings.Contains(st.Message(), "secret") {
			t.Errorf("%v leaves as %q, want %s", err, st.Message(), catalogue.Code(want))
		}
	}
}

func TestAlgorithmsOfTheAPIAreOursOrRefused(t *testing.T) {
	for number, name := range inkanpb.Algorithm_name {
		ours, err := algorithm(inkanpb.Algorithm(number))
		weak := number == 0 || strings.HasSuffix(name, "SHA1") || strings.HasSuffix(name, "MD5")
		switch {
		case weak && token.KindOf(err) != token.KindAlgorithmRefused:
			t.Errorf("%s: %v, want ALGORITHM_REFUSED", name, err)
		case !weak && (err != nil || "ALGORITHM_"+strings.ReplaceAll(ours.String(), "-", "_") != name):
			t.Errorf("%s is taken for %v, %v", name, ours, err)
		}
	}
}
