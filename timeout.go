package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mysqlinit/mysqlinit/internal/session"
)

// timeLimit puts the end of a timeout on many contexts with one timer. A timer
// for each connection would cost more: to set one, Go wakes the thread that waits
// for the network, unless another timer ends earlier.
type timeLimit struct {
	timeout time.Duration // 0 means no bound

	mu      sync.Mutex
	running map[*limited]struct{}
	timer   *time.Timer // runs expire when the first of them ends; nil if it is not set
}

// limited is a context with the end of a timeLimit.
type limited struct {
	context.Context
	deadline time.Time
	cancel   context.CancelCauseFunc
}

func (c *limited) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *limited) Err() error {
	if context.Cause(c.Context) == context.DeadlineExceeded {
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}

// on returns ctx with the end of the timeout. If ctx ends before that, it is
// returned unchanged.
func (l *timeLimit) on(ctx context.Context) (context.Context, context.CancelFunc) {
	now := time.Now()
	if deadline, ok := ctx.Deadline(); l.timeout <= 0 || ok && deadline.Sub(now) <= l.timeout {
		return ctx, func() {}
	}
	c := &limited{deadline: now.Add(l.timeout)}
	c.Context, c.cancel = context.WithCancelCause(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running == nil {
		l.running = make(map[*limited]struct{})
	}
	l.running[c] = struct{}{}
	if l.timer == nil {
		l.timer = time.AfterFunc(l.timeout, l.expire)
	}
	return c, func() { l.release(c) }
}

// release leaves the timer set, for the contexts to come.
func (l *timeLimit) release(c *limited) {
	c.cancel(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, c)
}

// expire ends the contexts that are past their deadlines. It sets the timer again
// only if others are running.
func (l *timeLimit) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = nil
	now, next := time.Now(), l.timeout
	for c := range l.running {
		if left := c.deadline.Sub(now); left > 0 {
			next = min(next, left)
			continue
		}
		c.cancel(context.DeadlineExceeded)
		delete(l.running, c)
	}
	if len(l.running) > 0 {
		l.timer = time.AfterFunc(next, l.expire)
	}
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
