package mysqltx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// DefaultAttempts is how often [Run] runs a function at most, including the first
// time. [WithAttempts] changes it. The waits between the attempts add up to about
// eight seconds on average, and to seventeen at most.
const DefaultAttempts = 15

// Option changes how [Run] and [GetOrCreate] work.
type Option func(*settings) error

type settings struct {
	attempts   int
	tx         sql.TxOptions
	sentinel   bool // Run watches over the transaction, by a savepoint if there is no guard
	idempotent bool
	readsLast  bool // GetOrCreate gets the row once more after create
	retryIf    func(error) bool
	notFound   func(error) bool // nil, or asked about get's errors
	duplicate  func(error) bool // nil, or asked about create's errors
	onRetry    func(context.Context, Retry)
}

// Retry describes a retry to a hook of [WithOnRetry].
type Retry struct {
	Attempt int           // the number of the attempt that failed; the first is 1
	Err     error         // its error
	Wait    time.Duration // the wait before the next attempt
}

func newSettings(opts []Option) (*settings, error) {
	s := &settings{attempts: DefaultAttempts, sentinel: true, readsLast: true}
	var errs []error
	for _, opt := range opts {
		if opt != nil {
			errs = append(errs, opt(s))
		}
	}
	return s, errors.Join(errs...)
}

func (s *settings) isNotFound(err error) bool {
	return errors.Is(err, sql.ErrNoRows) || err != nil && s.notFound != nil && s.notFound(err)
}

func (s *settings) isDuplicate(err error) bool {
	return IsDuplicateKey(err) || err != nil && s.duplicate != nil && s.duplicate(err)
}

// WithAttempts sets how often the function can run, including the first time. The
// default is [DefaultAttempts]. 1 means no retry; less than 1 is an error.
func WithAttempts(n int) Option {
	return func(s *settings) error {
		if n < 1 {
			return fmt.Errorf("mysqltx: WithAttempts(%d): want 1 or more; the default is %d", n, DefaultAttempts)
		}
		s.attempts = n
		return nil
	}
}

// WithIsolation sets the transaction's isolation level. This costs an extra round
// trip for each transaction. The default, [sql.LevelDefault], keeps the session's
// level. A level that MySQL doesn't have is an error.
func WithIsolation(level sql.IsolationLevel) Option {
	return func(s *settings) error {
		if level != sql.LevelDefault && sysvar.LevelName(level) == "" {
			return fmt.Errorf("mysqltx: WithIsolation(%v): want Read Uncommitted, Read Committed, Repeatable Read or Serializable", level)
		}
		s.tx.Isolation = level
		return nil
	}
}

// WithReadOnly makes the transaction read-only: the server refuses writes with error
// 1792.
func WithReadOnly(on bool) Option {
	return func(s *settings) error {
		s.tx.ReadOnly = on
		return nil
	}
}

// WithSentinel switches the watch over the transaction on or off; the default is on.
// If the server has ended the transaction, and the function did not return the error
// that showed it, the watch notices, and nothing that the function wrote afterwards is
// committed.
//
// On a connection of mysqlinit with guard=true the guard is the watch. It costs nothing,
// and three round trips a transaction on members of Group Replication. Otherwise a
// savepoint is the watch, the sentinel. It costs four round trips a transaction, and
// five on such members. Whether a server is one is asked once. The sentinel sets
// autocommit to 0 for the transaction, and to 1 after it. The latter commits whatever is
// open in the session. So use WithSentinel(false) or the guard if your sessions need
// autocommit 0 themselves, and with test drivers that put all connections into one
// transaction, such as go-txdb.
func WithSentinel(on bool) Option {
	return func(s *settings) error {
		s.sentinel = on
		return nil
	}
}

// WithIdempotent declares that committing the function's work twice does no harm. Run
// then runs the function again if nobody knows whether its transaction was committed.
// By default this is an [AmbiguousCommitError].
func WithIdempotent(on bool) Option {
	return func(s *settings) error {
		s.idempotent = on
		return nil
	}
}

// WithLastRead decides whether [GetOrCreate] calls get once more after a create that
// succeeded; the default is true. Without this, a new row costs one statement less. The
// value is then what create returns, and it isn't noticed if create made no row, or
// another one than get looks for.
func WithLastRead(on bool) Option {
	return func(s *settings) error {
		s.readsLast = on
		return nil
	}
}

// WithNotFoundIf adds errors to [sql.ErrNoRows]: if get of [GetOrCreate] returns an error
// for which notFound returns true, there is no row. It is for libraries and repositories
// that have their own error, such as gorm.ErrRecordNotFound and what ent.IsNotFound
// recognises. [Run] doesn't ask notFound.
func WithNotFoundIf(notFound func(error) bool) Option {
	return func(s *settings) error {
		s.notFound = notFound
		return nil
	}
}

// WithDuplicateIf adds errors to those of [IsDuplicateKey]: if create of [GetOrCreate]
// returns an error for which duplicate returns true, the row is there already. It is for
// libraries and repositories that hide the server's error, such as GORM, which with
// TranslateError returns gorm.ErrDuplicatedKey. duplicate must return false for other
// broken constraints, such as a foreign key: otherwise their error becomes a misleading
// [ConflictError]. [Run] doesn't ask duplicate.
func WithDuplicateIf(duplicate func(error) bool) Option {
	return func(s *settings) error {
		s.duplicate = duplicate
		return nil
	}
}

// WithRetryIf adds errors to those that are retried, such as the conflicts of other
// engines: the function also runs again if retry returns true for its error. If the
// server answers COMMIT with an error for which retry returns true, Run takes it to mean
// that the transaction was rolled back, except from vtgate, whose error is that of one
// shard. retry isn't called with an [AmbiguousCommitError] or [ErrTransactionLost].
func WithRetryIf(retry func(error) bool) Option {
	return func(s *settings) error {
		s.retryIf = retry
		return nil
	}
}

// WithOnRetry sets a function that is called before the wait for each retry, on Run's
// goroutine. It is meant for logs and metrics.
func WithOnRetry(hook func(context.Context, Retry)) Option {
	return func(s *settings) error {
		s.onRetry = hook
		return nil
	}
}
