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
// fn works on tx and gives its ctx to what it calls. It does not end tx, and returns
// the errors it gets: what Run does not retry comes back as it was, at once.
// Half a transaction is never committed: where the server has ended it under a fn
// that returns nil, Run returns [ErrTransactionLost].
//
// The context bounds all but COMMIT itself, whose answer is what matters; the
// driver's readTimeout bounds that. A COMMIT that succeeds after the context has ended is a success. One
// that was sent and got no answer is an [AmbiguousCommitError]. Where the context
// ends in a wait, the error has both its cause and the last attempt's error.
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
	if a := attemptIn(ctx, db); a != nil {
		return a.join(ctx, s, fn)
	}
	return s.retry(ctx, func() error {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		return s.once(ctx, db, conn, fn)
	})
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
