package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/mysqlinit/mysqlinit/internal/session"
)

// bounded returns ctx with the end of a timeout. A timeout of 0 means no
// bound, and a timeout that ends after ctx changes nothing.
func bounded(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); timeout <= 0 || ok && time.Until(deadline) <= timeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}

// ended is ctx.Err, but also looks at the clock: a dialer that is given the
// deadline can come back before the context's own timer has fired.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// grace is how long await gives open to finish after its context has ended. The
// MySQL driver finishes at once.
const grace = 50 * time.Millisecond

// await runs open, but does not wait for it longer than ctx lasts: a dialer or a
// wrapped driver can ignore its context. In that case open goes on without us,
// and its connection is closed.
func await(ctx context.Context, open func() (driver.Conn, error)) (driver.Conn, error) {
	type result struct {
		conn     driver.Conn
		err      error
		panicked any
	}
	results := make(chan result)
	abandoned := make(chan struct{})
	go func() {
		r := result{err: errors.New("mysqlinit: the goroutine that was connecting has exited")}
		defer func() {
			if r.panicked = recover(); r.panicked != nil {
				r.conn = nil
			}
			select {
			case results <- r:
			case <-abandoned:
				if r.conn != nil {
					r.conn.Close()
				}
			}
		}()
		r.conn, r.err = open()
	}()
	finish := func(r result) (driver.Conn, error) {
		if r.panicked != nil {
			panic(r.panicked) // in the caller's goroutine, where it can be recovered
		}
		return r.conn, r.err
	}
	select {
	case r := <-results:
		return finish(r)
	case <-ctx.Done():
	}
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case r := <-results:
		return finish(r)
	case <-late.C:
		close(abandoned)
		return nil, ctx.Err()
	}
}

// timeoutError is what the end of connectTimeout gives.
type timeoutError struct {
	after time.Duration
	phase session.Phase
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("mysqlinit: connectTimeout of %v ended while %s; if the server is only slow, raise connectTimeout (WithConnectTimeout)", e.after, e.phase)
}

func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return true }

// Is makes it a context.DeadlineExceeded, as the net package's timeouts are.
func (e *timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }
