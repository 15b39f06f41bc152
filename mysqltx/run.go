package mysqltx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Run runs fn in a transaction, commits where fn returns nil, and rolls back
// where it returns an error or panics. Where the server rolled back for another
// transaction's sake, or the connection was lost before COMMIT, all of that happens again
// (see [IsRetryable]), after a random wait that grows, up to [WithAttempts] times;
// after error 1205, a lock wait that timed out, only once. So fn must be fit to run
// several times: what it does outside the database is not undone.
//
// fn works on tx, from one goroutine at a time, and gives its ctx to what it calls. It
// does not end tx, by method or by statement, and returns
// the errors it gets: what Run does not retry comes back as it was, at once.
// Half a transaction is never committed: where the server has ended it under a fn
// that returns nil, Run returns [ErrTransactionLost]. A fn that commits, also
// by DDL, and then returns error 1213 cannot be told from one that did not, and runs again.
//
// The context bounds all but COMMIT, whose answer is what matters, and ROLLBACK; the
// driver's readTimeout bounds those. Putting the connection in order may take five seconds more. A
// COMMIT that succeeds after the context has ended is a success. One that was sent and
// got no answer is an [AmbiguousCommitError]. Where the context
// ends in a wait, the error has both its cause and the last attempt's error.
//
// Sessions of the pool have autocommit on, as they come from the server; see
// [WithSentinel].
//
// A Run on the same db within fn, with the ctx that fn was given, joins the
// transaction: it runs once, in a savepoint that is rolled back where it fails, and
// leaves running again to the Run around it. An isolation level or read-only mode
// other than that one's is an error, its other options do not count.
func Run(ctx context.Context, db *sql.DB, fn func(ctx context.Context, tx *sql.Tx) error, opts ...Option) error {
	if db == nil || fn == nil {
		return errors.New("mysqltx: Run needs a database and a function")
	}
	s, err := newSettings(opts)
	if err != nil {
		return err
	}
	if a := attemptOn(ctx, db); a != nil {
		return a.join(ctx, s, fn)
	}
	return s.retry(ctx, func() (again bool, err error) {
		conn, err := connect(ctx, db)
		if err != nil {
			return s.retryable(err), err
		}
		defer func() { _ = conn.Close() }()
		return s.once(ctx, db, conn, fn)
	})
}

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

// join runs fn in the transaction of an attempt that is under way.
func (a *attempt) join(ctx context.Context, s *settings, fn func(context.Context, *sql.Tx) error) error {
	outer := a.opts.tx
	if s.tx.Isolation != sql.LevelDefault && s.tx.Isolation != outer.Isolation || s.tx.ReadOnly && !outer.ReadOnly {
		return fmt.Errorf("mysqltx: a Run within a Run on the same database joins its transaction (isolation level %v, read-only %v), and cannot make it %v, read-only %v: give the outer Run the option",
			outer.Isolation, outer.ReadOnly, s.tx.Isolation, s.tx.ReadOnly)
	}
	_, err := inSavepoint(ctx, a.tx, func(ctx context.Context) error { return fn(ctx, a.tx) })
	return err
}
