// Package journald writes the log of the service to systemd's journal, with what
// belongs to a line also as fields of its own: INKAN_READER, INKAN_REASON and so
// on (docs/operations.md).
//
// It guarantees that a line which the journal does not take goes to the handler
// given to [New] instead. It hides nothing: what is logged must be fit to be read
// by administrators.
package journald

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/inkan-project/inkan/token"
)

// prefix begins the name of each field of ours.
const prefix = "INKAN_"

// Connected reports whether the stderr of this process is systemd's journal.
func Connected() bool {
	is, err := journal.StderrIsJournalStream()
	return err == nil && is
}

// Handler is a [slog.Handler] that writes to the journal.
type Handler struct {
	level  slog.Leveler
	spare  slog.Handler // for what the journal does not take
	send   func(message string, p journal.Priority, fields map[string]string) error
	group  string            // begins the keys of what follows
	text   string            // of the attributes that each line has
	fields map[string]string // of the same
}

// New returns a Handler for lines of this level and above.
func New(level slog.Leveler, otherwise slog.Handler) *Handler {
	return &Handler{level: level, spare: otherwise, send: journal.Send}
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level.Level() }

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	line := h.clone()
	r.Attrs(func(a slog.Attr) bool {
		line.add(h.group, a)
		return true
	})
	if err := h.send(r.Message+line.text, priority(r.Level), line.fields); err != nil {
		return errors.Join(err, h.spare.Handle(ctx, r))
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := h.clone()
	with.spare = h.spare.WithAttrs(attrs)
	for _, a := range attrs {
		with.add(h.group, a)
	}
	return with
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	with := h.clone()
	with.spare = h.spare.WithGroup(name)
	with.group += name + "_"
	return with
}

func (h *Handler) clone() *Handler {
	c := *h
	c.fields = maps.Clone(h.fields)
	if c.fields == nil {
		c.fields = map[string]string{}
	}
	return &c
}

// add puts an attribute into the text and the fields.
func (h *Handler) add(group string, a slog.Attr) {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "_"
		}
		for _, inner := range value.Group() {
			h.add(group, inner)
		}
		return
	}
	if a.Key == "" {
		return
	}
	text := value.String()
	h.text += " " + group + a.Key + "=" + quoted(text)
	h.fields[name(group+a.Key)] = text
	if err, ok := value.Any().(error); ok {
		if e, ok := errors.AsType[*token.Error](err); ok {
			h.fields[prefix+"REASON"] = string(e.Kind)
		}
	}
}

// quoted returns a value as it stands in the text of a line.
func quoted(text string) string {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' || !strconv.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// name makes a field's name: letters, digits and underscores
// (systemd.journal-fields(7)).
func name(key string) string {
	return prefix + strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, key)
}

// priority is the journal's word for a level (syslog(3)).
func priority(level slog.Level) journal.Priority {
	switch {
	case level >= slog.LevelError:
		return journal.PriErr
	case level >= slog.LevelWarn:
		return journal.PriWarning
	case level >= slog.LevelInfo:
		return journal.PriInfo
	}
	return journal.PriDebug
}
