package cli

import (
	"bytes"
	"context"
	"io"
)

// await runs f, and stops waiting for it when ctx is done: opening a pipe,
// reading a slow disk or writing to a full pipe cannot be interrupted. f then
// goes on until the process ends, so it must leave alone what its caller uses.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// stickyWriter keeps the first error, so that lines can be written without
// looking and a full disk is still an error of the command.
type stickyWriter struct {
	ctx context.Context // lives for one command only; ends a write that waits
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (s *stickyWriter) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	data := bytes.Clone(b) // the write may outlive this call
	n, err := await(s.ctx, func() (int, error) { return s.w.Write(data) })
	s.err = err
	return n, err
}
