package pcsc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebfe/scard"
)

func TestCallThatIsOverInTimeGivesItsError(t *testing.T) {
	var c calls
	want := errors.New("refused")
	if err := c.do(t.Context(), func() error { return want }, func() { t.Error("late was called") }); !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func TestCallIsNotBegunWhenItsContextIsOver(t *testing.T) {
	var c calls
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := c.do(ctx, func() error { t.Error("the call was made"); return nil }, func() {})
	if !errors.Is(err, context.Canceled) || errors.Is(err, errLeftBehind) {
		t.Errorf("error %v, want the context's alone", err)
	}
}

func TestPanicOfTheBindingIsAnErrorWithoutItsWords(t *testing.T) {
	var c calls
	err := c.do(t.Context(), func() error { panic("123456") }, func() {})
	if !errors.Is(err, ErrFault) || strings.Contains(err.Error(), "123456") {
		t.Errorf("error %v, want %v and nothing of what was said", err, ErrFault)
	}
}

// TestTransmitOverAnUnknownProtocol: the binding panics then.
func TestTransmitOverAnUnknownProtocol(t *testing.T) {
	c := &card{service: NewService(Config{}), reader: "R", handle: &handle{card: &scard.Card{}}}
	_, err := c.Transmit(t.Context(), []byte("123456"))
	if !errors.Is(err, ErrNoAnswer) || strings.Contains(err.Error(), "123456") {
		t.Errorf("error %v, want %v and nothing of the command", err, ErrNoAnswer)
	}
	_, err = c.Transmit(t.Context(), []byte("123456"))
	if !errors.Is(err, ErrReset) {
		t.Errorf("next command: error %v, want %v", err, ErrReset)
	}
}

func TestCallThatHangsIsLeftBehindAndCleanedUpLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		free, late := make(chan struct{}), make(chan struct{})
		start := time.Now()
		err := c.do(ctx, func() error { <-free; return nil }, func() { close(late) })
		if !errors.Is(err, errLeftBehind) || time.Since(start) != 30*time.Second {
			t.Errorf("error %v after %v, want left behind after 30 s", err, time.Since(start))
		}
		if c.left != 1 {
			t.Errorf("%d calls are left behind, want 1", c.left)
		}
		close(free)
		<-late
		synctest.Wait()
		if c.left != 0 {
			t.Errorf("%d calls are left behind after it returned, want 0", c.left)
		}
	})
}

func TestFifthCallThatHangsIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports := make(chan error, 10)
		c := calls{stuck: func(err error) { reports <- err }}
		free := make(chan struct{})
		hang := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_ = c.do(ctx, func() error { <-free; return nil }, func() {})
		}
		for range MaxStuck {
			hang()
		}
		synctest.Wait()
		if len(reports) != 0 {
			t.Errorf("reported after %d calls: %v", MaxStuck, <-reports)
		}
		hang()
		hang()
		synctest.Wait()
		if len(reports) != 1 {
			t.Errorf("%d reports, want 1", len(reports))
		}
		close(free)
	})
}
