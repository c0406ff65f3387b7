package rpc

import (
	"strings"
	"testing"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
)

func TestAPageOfRecordsFitsAMessage(t *testing.T) {
	var records []*inkanpb.Record
	for range 1000 {
		records = append(records, &inkanpb.Record{Program: strings.Repeat("p", 4096), DocumentName: strings.Repeat("文", 256)})
	}
	page := fitting(records)
	if n := len(page); n == 0 || n == len(records) || n*4860 > maxPage {
		t.Errorf("%d of %d records on a page", n, len(records))
	}
	if n := len(fitting(records[:1])); n != 1 {
		t.Errorf("%d records on the page of one", n)
	}
	if n := len(fitting(nil)); n != 0 {
		t.Errorf("%d records on an empty page", n)
	}
}
