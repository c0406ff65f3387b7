package p11

import (
	"log/slog"

	"github.com/inkan-project/inkan/pcsc"
	"github.com/inkan-project/inkan/token/p11/frame"
)

// NewLossy is NewSystem with processes that lose operations: lose says of each
// 0 it is done, 1 it does not reach the module, 2 its answer is lost.
func NewLossy(inner pcsc.System, modules []*Module, logger *slog.Logger, lose func(frame.Op) uint8) *System {
	return newSystem(inner, modules, logger, func(op frame.Op) loss { return loss(lose(op)) })
}
