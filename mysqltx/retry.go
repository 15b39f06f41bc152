package mysqltx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The waits between attempts: a random time of up to twice the interval, which
// begins at firstInterval and doubles up to lastInterval. Two transactions that met
// in a deadlock shall not meet again.
const (
	firstInterval = 10 * time.Millisecond
	lastInterval  = time.Second
)

var errAgain = errors.New("run again")

// retry runs once until it succeeds, fails for good, or has run often enough.
func (s *settings) retry(ctx context.Context, once func() (again bool, err error)) error {
	var last, before error
	var again bool
	attempts, timeouts := 0, 0
	_, err := backoff.Retry(ctx,
		func() (none struct{}, err error) {
			attempts++
			before = last
			if again, last = once(); last == nil {
				return none, nil
			}
			if hasNumber(last, errLockWaitTimeout) {
				timeouts++
			}
			// Each of those has held a connection for innodb_lock_wait_timeout, which is
			// 50 s by default.
			if !again || timeouts > 1 {
				return none, backoff.Permanent(errAgain)
			}
			return none, errAgain
		},
		backoff.WithBackOff(&backoff.ExponentialBackOff{
			InitialInterval:     firstInterval,
			MaxInterval:         lastInterval,
			Multiplier:          2,
			RandomizationFactor: 1,
		}),
		backoff.WithMaxTries(uint(s.attempts)),
		backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(_ error, wait time.Duration) {
			if s.onRetry != nil {
				s.onRetry(ctx, Retry{Attempt: attempts, Err: last, Wait: wait})
			}
		}),
	)
	switch {
	case err == nil:
		return nil
	case again && ctx.Err() != nil:
		return fmt.Errorf("mysqltx: %w, after an attempt that failed: %w", endOf(ctx), last)
	case again && attempts > 1:
		return fmt.Errorf("mysqltx: gave up after %d attempts: %w", attempts, last)
	}
	if none, ok := last.(*noConnectionError); ok {
		if before != nil {
			return fmt.Errorf("mysqltx: no connection to run again on: %w, after an attempt that failed: %w", none.err, before)
		}
		return none.err
	}
	return last
}

// retryable tells whether an error of a function is one to run it again for.
func (s *settings) retryable(err error) bool {
	switch {
	case isFinal(err), isAmbiguous(err):
		return false
	case IsRetryable(err):
		return true
	}
	return s.retryIf != nil && s.retryIf(err)
}

// noConnectionError is a pool's error; retry takes it out again.
type noConnectionError struct{ err error }

func (e *noConnectionError) Error() string { return e.err.Error() }

func (e *noConnectionError) Unwrap() error { return e.err }
