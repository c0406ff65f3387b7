package journald

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/google/go-cmp/cmp"

	"github.com/inkan-project/inkan/token"
)

// line is what the journal was sent.
type line struct {
	Message  string
	Priority journal.Priority
	Fields   map[string]string
}

// newLogger returns a logger and what it sends.
func newLogger(level slog.Level) (*slog.Logger, *[]line) {
	var sent []line
	h := New(level, slog.DiscardHandler)
	h.send = func(message string, p journal.Priority, fields map[string]string) error {
		sent = append(sent, line{message, p, fields})
		return nil
	}
	return slog.New(h), &sent
}

func TestWhatBelongsToALineIsAFieldToo(t *testing.T) {
	logger, sent := newLogger(slog.LevelInfo)
	reader := logger.With("reader", "Virtual PCD 00 00")
	reader.Info("Card inserted", "card", "piv-1", "keys", 4)
	reader.Debug("not of this level")
	logger.WithGroup("call").Warn("Call denied", slog.Group("from", "uid", 1001), "program-path", "")
	logger.Error("Call failed", "error", fmt.Errorf("signing: %w", token.NewError(token.KindPINWrong)))
	want := []line{
		{`Card inserted reader="Virtual PCD 00 00" card=piv-1 keys=4`, journal.PriInfo, map[string]string{
			"INKAN_READER": "Virtual PCD 00 00", "INKAN_CARD": "piv-1", "INKAN_KEYS": "4",
		}},
		{`Call denied call_from_uid=1001 call_program-path=""`, journal.PriWarning, map[string]string{
			"INKAN_CALL_FROM_UID": "1001", "INKAN_CALL_PROGRAM_PATH": "",
		}},
		{`Call failed error="signing: PIN_WRONG"`, journal.PriErr, map[string]string{
			"INKAN_ERROR": "signing: PIN_WRONG", "INKAN_REASON": "PIN_WRONG",
		}},
	}
	if diff := cmp.Diff(want, *sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

func TestALineCannotPassForAnother(t *testing.T) {
	logger, sent := newLogger(slog.LevelInfo)
	logger.Info("Call denied", "program", "x\nCall allowed", "name", "a=b \x1b[2J")
	if got := (*sent)[0].Message; strings.ContainsAny(got, "\n\x1b") {
		t.Errorf("the message is %q, want no control character in it", got)
	}
}

func TestWhatTheJournalDoesNotTakeGoesElsewhere(t *testing.T) {
	var b bytes.Buffer
	h := New(slog.LevelInfo, slog.NewTextHandler(&b, nil))
	h.send = func(string, journal.Priority, map[string]string) error { return errors.New("no socket") }
	slog.New(h).With("reader", "a").WithGroup("g").Info("Card inserted", "card", "piv-1")
	if got := b.String(); !strings.Contains(got, `msg="Card inserted" reader=a g.card=piv-1`) {
		t.Errorf("elsewhere came %q", got)
	}
}
