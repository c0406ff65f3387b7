package audit_test

import (
	"testing"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
)

func TestAPageHasAThousandRecordsAtMost(t *testing.T) {
	l := open(t, &audittest.Memory{})
	for range 1001 {
		if _, err := l.Append(t.Context(), audit.Record{Kind: audit.KindEvent}); err != nil {
			t.Fatal(err)
		}
	}
	for _, newest := range []bool{false, true} {
		page, more, err := l.List(t.Context(), audit.Filter{Limit: 5000, Newest: newest})
		if err != nil || len(page) != 1000 || more == newest {
			t.Errorf("newest %t: %d records, more %t, %v; want 1000", newest, len(page), more, err)
		}
	}
}
