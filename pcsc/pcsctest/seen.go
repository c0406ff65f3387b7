package pcsctest

import (
	"bytes"
	"fmt"
	"os"
	"time"
)

// removal is what the thread of pcscd that watches a reader logs when it finds
// the card gone (pcsclite 1.9.9, eventhandler.c, level info). There is no such
// line for each card that it finds: those that are in when it starts have none.
const removal = "Card Removed From %s\n"

// maxLook is how long pcscd may take to look at a reader, on a busy machine: it
// does every 400 ms. A card that was pulled before it ever looked is not missed.
const maxLook = 2 * time.Second

// awaitRemoval waits until pcscd has seen by itself, since its log was so long,
// that the card is gone. That programs are told so is not enough: see session.
func (p *PCSCD) awaitRemoval(reader string, since int) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(maxLook)
	line := fmt.Appendf(nil, removal, reader)
	for {
		text, err := os.ReadFile(p.logPath())
		if err != nil {
			return fmt.Errorf("reading pcscd's log: %w", err)
		}
		if bytes.Contains(text[min(since, len(text)):], line) {
			return nil
		}
		select {
		case <-deadline:
			return nil
		case <-tick.C:
		}
	}
}

// logged is how long pcscd's log is.
func (p *PCSCD) logged() int {
	info, err := os.Stat(p.logPath())
	if err != nil {
		p.t.Errorf("measuring pcscd's log: %v", err)
		return 0
	}
	return int(info.Size())
}
