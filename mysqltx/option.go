package mysqltx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// DefaultAttempts is how often [Run] runs a function at most, the first time
// included, without [WithAttempts]. The waits between them add up to about eight
// seconds on average, and to seventeen at most.
const DefaultAttempts = 15

// Option changes how [Run] works.
type Option func(*settings) error

type settings struct {
	attempts   int
	tx         sql.TxOptions
	contained  bool // autocommit is off, so that what follows a lost transaction is not committed
	watched    bool // a savepoint tells whether the transaction was lost
	idempotent bool
	retryIf    func(error) bool
	onRetry    func(context.Context, Retry)
}

// Retry is what a hook of [WithOnRetry] is told.
type Retry struct {
	Attempt int           // the one that failed; the first is 1
	Err     error         // what it failed with
	Wait    time.Duration // until the next
}

func newSettings(opts []Option) (*settings, error) {
	s := &settings{attempts: DefaultAttempts, contained: true, watched: true}
	var errs []error
	for _, opt := range opts {
		if opt != nil {
			errs = append(errs, opt(s))
		}
	}
	return s, errors.Join(errs...)
}

// WithAttempts sets how often the function may run, the first time included.
// The default is [DefaultAttempts]; 1 means never again; less is an error.
func WithAttempts(n int) Option {
	return func(s *settings) error {
		if n < 1 {
			return fmt.Errorf("mysqltx: WithAttempts(%d): give 1 or more; without it there are up to %d", n, DefaultAttempts)
		}
		s.attempts = n
		return nil
	}
}

// WithIsolation sets the transaction's isolation level, which costs a round
// trip each time. The default, [sql.LevelDefault], leaves the session's.
// A level that MySQL does not have is an error.
func WithIsolation(level sql.IsolationLevel) Option {
	return func(s *settings) error {
		switch level {
		case sql.LevelDefault, sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable:
			s.tx.Isolation = level
			return nil
		}
		return fmt.Errorf("mysqltx: WithIsolation(%v): MySQL has Read Uncommitted, Read Committed, Repeatable Read and Serializable", level)
	}
}

// WithReadOnly makes the transaction read-only: the server refuses writes (1792).
func WithReadOnly(on bool) Option {
	return func(s *settings) error {
		s.tx.ReadOnly = on
		return nil
	}
}

// WithSentinel switches the watch over the transaction off, and on, which is
// the default. It sees that the server has ended the transaction under a function
// that did not return the error that told so, and keeps what the function wrote
// afterwards from being committed. It costs four round trips a transaction.
//
// It sets autocommit to 0 for the transaction and to 1 after it; sessions that
// are to have autocommit 0 themselves need WithSentinel(false).
func WithSentinel(on bool) Option {
	return func(s *settings) error {
		s.contained, s.watched = on, on
		return nil
	}
}

// WithIdempotent says that the function may run again where nobody knows
// whether its transaction was committed, for committing it twice does no harm. The
// default is an [AmbiguousCommitError].
func WithIdempotent(on bool) Option {
	return func(s *settings) error {
		s.idempotent = on
		return nil
	}
}

// WithRetryIf adds to the errors after which the function runs again: those for
// which retry returns true, such as the conflicts of other engines. It says of an
// error that comes as the server's answer to COMMIT that the transaction was
// rolled back. It is not asked about an [AmbiguousCommitError] or [ErrTransactionLost].
func WithRetryIf(retry func(error) bool) Option {
	return func(s *settings) error {
		s.retryIf = retry
		return nil
	}
}

// WithOnRetry sets a function that is told of each retry before the wait for it,
// on the goroutine of Run, for logs and metrics.
func WithOnRetry(hook func(context.Context, Retry)) Option {
	return func(s *settings) error {
		s.onRetry = hook
		return nil
	}
}
