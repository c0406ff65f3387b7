package sdunit

import (
	"context"
	"log/slog"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// feeds is how often the watchdog is fed within the time after which systemd
// ends the service: one that answers late once is not ended.
const feeds = 3

// Watch feeds systemd's watchdog until ctx ends. Each time it asks first: only
// when answers returns nil in time is there something to feed for. Where no
// watchdog waits it only waits for ctx.
//
// systemd kills a service that is not fed at once (WatchdogSignal in its unit),
// for it may hold a PIN. What it did last is logged before that, by the names of
// functions: no values.
func (u Unit) Watch(ctx context.Context, answers func(context.Context) error) error {
	within, err := daemon.SdWatchdogEnabled(true)
	if err != nil {
		u.Logger.Warn("Reading what systemd says of its watchdog", slog.Any("error", err))
	}
	if within <= 0 {
		<-ctx.Done()
		return nil
	}
	u.watch(ctx, within/feeds, answers)
	return nil
}

// watch feeds the watchdog at this interval.
func (u Unit) watch(ctx context.Context, interval time.Duration, answers func(context.Context) error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	silent := false
	for {
		asked, cancel := context.WithTimeout(ctx, interval)
		err := answers(asked)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			u.tell(daemon.SdNotifyWatchdog)
			silent = false
		case !silent:
			u.Logger.Error("Not feeding the watchdog: the service does not answer", slog.Any("error", err), slog.String("goroutines", goroutines()))
			silent = true
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// goroutines says where each goroutine is: names of functions, no values.
func goroutines() string {
	var b strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return err.Error()
	}
	return b.String()
}
