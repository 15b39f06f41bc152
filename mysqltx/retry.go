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

// retry runs once until it succeeds, or fails for good.
func (s *settings) retry(ctx context.Context, once func() error) error {
	var last error
	attempts, timeouts := 0, 0
	_, err := backoff.Retry(ctx,
		func() (none struct{}, err error) {
			attempts++
			if last = once(); last == nil {
				return none, nil
			}
			if number(last) == errLockWaitTimeout {
				timeouts++
			}
			// Each of those has held a connection for innodb_lock_wait_timeout, which is
			// 50 s by default.
			if !s.retryable(last) || timeouts > 1 {
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
	case !s.retryable(last):
		return last
	case ctx.Err() != nil:
		return fmt.Errorf("mysqltx: %w, after an attempt that failed: %w", context.Cause(ctx), last)
	case attempts > 1:
		return fmt.Errorf("mysqltx: gave up after %d attempts: %w", attempts, last)
	}
	return last
}

func (s *settings) retryable(err error) bool {
	if _, ok := errors.AsType[*unrepeatableError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*AmbiguousCommitError](err); ok {
		return s.idempotent
	}
	return IsRetryable(err) || s.retryIf != nil && s.retryIf(err)
}
