package mysqltx

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/mysqlinit/mysqlinit/internal/txlost"
)

// The waits between attempts are random: up to twice an interval that begins at
// firstInterval and doubles up to lastInterval. Two transactions that met in a
// deadlock should not meet again.
const (
	firstInterval = 10 * time.Millisecond
	lastInterval  = time.Second
)

// maxTimeouts is how many attempts can end in error 1205. Each of them has held a
// connection for innodb_lock_wait_timeout, which is 50 s by default. maxLost is how
// many can end with a lost connection: the cause can be in the function, such as a
// statement that takes longer than readTimeout, and that the server goes on with.
const (
	maxTimeouts = 2
	maxLost     = 3
)

// retry runs once until it succeeds, fails for good, or has run often enough.
//
// backoff.Retry isn't used, only its intervals: it looks for its own error types in
// the error of a function, which can come from a backoff.Retry in there.
func (s *settings) retry(ctx context.Context, once func() (again bool, err error)) error {
	intervals := backoff.ExponentialBackOff{
		InitialInterval:     firstInterval,
		MaxInterval:         lastInterval,
		Multiplier:          2,
		RandomizationFactor: 1,
	}
	timeouts, lost := 0, 0
	var before error // of the attempt before
	for attempt := 1; ; attempt++ {
		again, err := once()
		if err == nil {
			return nil
		}
		if hasNumber(err, errLockWaitTimeout) {
			timeouts++
		}
		if connectionLost(err) || brokenInWriting(err) {
			lost++
		}
		switch {
		case !again:
			return withoutRetry(err, before)
		case ctx.Err() != nil:
			return interrupted(ctx, err)
		case s.attempts == 1:
			return withoutRetry(err, before)
		case attempt == s.attempts || timeouts == maxTimeouts || lost == maxLost:
			return fmt.Errorf("mysqltx: gave up after %d attempts: %w", attempt, err)
		}
		wait := intervals.NextBackOff()
		if s.onRetry != nil {
			s.onRetry(ctx, Retry{Attempt: attempt, Err: err, Wait: wait})
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return interrupted(ctx, err)
		}
		before = err
	}
}

// interrupted is the error if the context ends after a failed attempt.
func interrupted(ctx context.Context, err error) error {
	return fmt.Errorf("mysqltx: %w, after an attempt that failed: %w", endOf(ctx), err)
}

// withoutRetry is the error after an attempt that isn't retried.
func withoutRetry(err, before error) error {
	none, ok := err.(*noConnectionError)
	switch {
	case !ok:
		return err
	case before == nil:
		return none.err
	}
	return fmt.Errorf("mysqltx: no connection to run again on: %w, after an attempt that failed: %w", none.err, before)
}

// verdict is whether to run a function again after its error.
type verdict int

const (
	notAgain verdict = iota
	ifLost           // if the connection of the transaction was lost, and not another one
	always
)

// judge judges an error that came before COMMIT was sent.
func (s *settings) judge(err error) verdict {
	switch {
	case isFinal(err), isAmbiguous(err):
		return notAgain
	case hasServerError(err, mayRunAgain), hasServerError(err, txlost.ShardLost), s.retryIf != nil && s.retryIf(err):
		return always
	case connectionLost(err), brokenInWriting(err):
		return ifLost
	}
	return notAgain
}

// judgeCommit judges an error of COMMIT. It returns the error for the caller, if the
// function isn't run again.
func (s *settings) judgeCommit(err error) (verdict, error) {
	switch {
	case rolledBack(err) && s.judge(err) == notAgain:
		return notAgain, err
	case rolledBack(err), answered(err) && !hasServerError(err, txlost.FromVitess) && s.retryIf != nil && s.retryIf(err):
		return always, err
	case s.idempotent:
		return always, &AmbiguousCommitError{Err: err}
	}
	return notAgain, &AmbiguousCommitError{Err: err}
}

// retryable reports whether to try again after an error of something that has no
// connection of its own.
func (s *settings) retryable(err error) bool {
	v := s.judge(err)
	return v == always || v == ifLost && connectionLost(err)
}

// connect takes a connection for an attempt out of a pool.
func connect(ctx context.Context, db pool) (*sql.Conn, error) {
	conn, err := db.Conn(ctx)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		err = endOf(ctx)
	}
	return nil, &noConnectionError{err}
}

// noConnectionError marks an error of connect for retry, which unwraps it.
type noConnectionError struct{ err error }

func (e *noConnectionError) Error() string { return e.err.Error() }

func (e *noConnectionError) Unwrap() error { return e.err }
