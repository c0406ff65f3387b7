package broker_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/inkan-project/inkan/daemon/internal/audit"
	"github.com/inkan-project/inkan/daemon/internal/audit/audittest"
	"github.com/inkan-project/inkan/daemon/internal/broker"
	"github.com/inkan-project/inkan/daemon/internal/pinguard"
	"github.com/inkan-project/inkan/token"
)

// A start a day later finds a batch of which only the last records are young:
// that is no batch any more, and no other document's signature comes for the
// first.
func TestABatchThatIsHalfADayTooOldIsNotKnown(t *testing.T) {
	var shift atomic.Int64
	shift.Store(int64(-24*time.Hour - 2*time.Minute))
	d := disks{pinguard.DirFS(t.TempDir()), &audittest.Memory{}}
	h := newHouse(t, func(c *broker.Config) {
		_, c.Guard, _, _ = d.start(t)
		log, err := audit.Open(t.Context(), audit.Config{Storage: d.log, Now: func() time.Time {
			return time.Now().Add(time.Duration(shift.Load()))
		}})
		if err != nil {
			t.Fatal(err)
		}
		c.Log = log
	})
	req := broker.BatchRequest{Algorithm: token.ECDSASHA256}
	for _, k := range h.card().Keys {
		if k.Slot == "9a" {
			req.Key = k.ID
		}
	}
	for i := range 6 {
		digest := make([]byte, 32)
		digest[0] = byte(i)
		req.Documents = append(req.Documents, broker.Document{Digest: digest, Name: fmt.Sprint("文書", i)})
	}
	caller := h.caller
	caller.Request = broker.RequestID{ID: "batch-1"}
	if end, err := h.SignBatch(t.Context(), caller, req, func(s broker.Signed) {
		if s.Index == 1 {
			shift.Store(int64(-24*time.Hour + 2*time.Minute))
		}
		s.Left()
	}); err != nil || end.Done != 6 {
		t.Fatalf("%+v, %v", end, err)
	}
	again := d.restart(t)
	caller.Request.Repeat = true
	end, err := again.SignBatch(t.Context(), caller, req, func(s broker.Signed) {
		t.Errorf("document %d gets a signature once more", s.Index)
		s.Left()
	})
	if token.KindOf(err) != token.KindRequestNotKnown {
		t.Errorf("%+v, %v, want REQUEST_NOT_KNOWN", end, err)
	}
}
