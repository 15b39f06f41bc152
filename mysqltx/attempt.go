package mysqltx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
)

// The watch over a transaction. A server may end it under a statement whose error
// nobody returned. Most then run what follows with autocommit (MySQL 9.7,
// MariaDB 10.11 and 11.8), some in a new transaction (MySQL 5.6, MariaDB 10.5), and all
// answer COMMIT with OK. With autocommit switched off it is a new transaction
// everywhere, and can be rolled back; and a savepoint made at the beginning that is gone
// at the end tells that it is one.
const (
	autocommitOff = "SET autocommit = 0"
	autocommitOn  = "SET autocommit = 1" // commits what is open
	sentinel      = "mysqltx_sentinel"
)

// attempt is one run of a function in a transaction.
type attempt struct {
	outer *attempt // that of another database which this one runs in, or nil
	db    *sql.DB  // nil where that is not known
	conn  session
	opts  *settings
	tx    *sql.Tx

	doomed     error       // not to be committed: why a part of it could not be undone
	suspect    error       // what has ended the transaction, should it turn out to be lost
	committing bool        // COMMIT may have been sent
	agreed     bool        // to running again, by WithRetryIf, after what COMMIT returned
	clean      bool        // nothing is open on the connection
	over       atomic.Bool // what still has its context has outlived it
}

type attemptKey struct{}

// attempts returns the attempts that a context belongs to, the innermost first.
func attempts(ctx context.Context) iter.Seq[*attempt] {
	return func(yield func(*attempt) bool) {
		a, _ := ctx.Value(attemptKey{}).(*attempt)
		for ; a != nil; a = a.outer {
			if !a.over.Load() && !yield(a) {
				return
			}
		}
	}
}

// attemptOn returns the attempt on db that a context belongs to, or nil.
func attemptOn(ctx context.Context, db *sql.DB) *attempt {
	for a := range attempts(ctx) {
		if db != nil && a.db == db {
			return a
		}
	}
	return nil
}

// attemptIn returns the attempt on whose transaction q works, or nil.
func attemptIn(ctx context.Context, q Querier) *attempt {
	tx := beneath[*sql.Tx](q)
	for a := range attempts(ctx) {
		if tx != nil && a.tx == tx {
			return a
		}
	}
	return nil
}

// doom keeps q's transaction from being committed, where it is that of a Run:
// the function may not return the error.
func doom(ctx context.Context, q Querier, err error) {
	if a := attemptIn(ctx, q); a != nil && a.doomed == nil {
		a.doomed = err
	}
}

// suspect remembers an error that the function may not return, either. Not 1205, which
// mostly leaves the transaction open: the function may go on, and then end it by DDL.
func suspect(ctx context.Context, q Querier, err error) {
	if !mayEndTransaction(err) || hasNumber(err, errLockWaitTimeout) {
		return
	}
	if a := attemptIn(ctx, q); a != nil {
		a.suspect = err
	}
}

// once runs fn in one transaction on conn, and tells whether it may run again after
// an error. The connection comes out of it as it went in, or closed.
func (s *settings) once(ctx context.Context, db *sql.DB, conn session, fn func(context.Context, *sql.Tx) error) (again bool, err error) {
	outer, _ := ctx.Value(attemptKey{}).(*attempt)
	a := &attempt{outer: outer, db: db, conn: conn, opts: s}
	defer a.settle(ctx)
	returned := false
	defer func() {
		if !returned { // a panic, or the end of the goroutine
			_ = a.rollback(ctx, nil, false)
		}
	}()
	err = a.run(ctx, fn)
	again = err != nil && a.repeatable(err)
	returned = true
	if err == nil {
		return false, nil
	}
	reason := a.rollback(ctx, err, again)
	if again && reason != nil {
		return false, &unrepeatableError{err: err, reason: reason}
	}
	return again, err
}

// repeatable tells whether all may run again after an error.
func (a *attempt) repeatable(err error) bool {
	if a.committing && isAmbiguous(err) {
		return a.opts.idempotent
	}
	return a.agreed || a.opts.retryable(err)
}

// run begins the transaction, runs fn and commits.
func (a *attempt) run(ctx context.Context, fn func(context.Context, *sql.Tx) error) (err error) {
	if a.opts.contained {
		if _, err := a.conn.ExecContext(ctx, autocommitOff); err != nil {
			return err
		}
	}
	if a.tx, err = a.conn.BeginTx(ctx, &a.opts.tx); err != nil {
		return err
	}
	if a.opts.watched {
		if _, err := a.tx.ExecContext(ctx, "SAVEPOINT "+sentinel); err != nil {
			return err
		}
	}
	if err := fn(context.WithValue(ctx, attemptKey{}, a), a.tx); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return notCommitted(ctx)
	case a.doomed != nil && (isFinal(a.doomed) || a.opts.retryable(a.doomed)):
		return a.doomed
	case a.doomed != nil:
		return fmt.Errorf("%w: %w", ErrTransactionLost, a.doomed)
	}
	if a.opts.watched {
		if err := release(ctx, a.tx, sentinel); err != nil {
			return a.explain(ctx, err)
		}
	}
	return a.commit(ctx)
}

func notCommitted(ctx context.Context) error {
	return fmt.Errorf("mysqltx: Run did not commit: %w", endOf(ctx))
}

// endOf says why a context has ended, with its cause.
func endOf(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return context.Cause(ctx)
}

// explain says why a transaction has been ended already, where that is an error's
// meaning.
func (a *attempt) explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrTransactionLost) && a.suspect != nil:
		return a.suspect
	case !errors.Is(err, sql.ErrTxDone):
		return err
	case ctx.Err() != nil: // database/sql rolls it back
		return notCommitted(ctx)
	}
	return errEndedByFn
}

// commit is not bounded by the context once the statement is sent, for then the
// answer is what matters.
func (a *attempt) commit(ctx context.Context) error {
	a.committing = true
	err := a.tx.Commit()
	switch {
	case err == nil:
		a.clean = true
		return nil
	case errors.Is(err, sql.ErrTxDone): // before it was sent
		a.committing = false
		return a.explain(ctx, err)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()) && a.tx.Rollback() == nil: // the same
		a.clean = true
		return notCommitted(ctx)
	case rolledBack(err):
		return err
	case number(err) != 0 && a.opts.retryIf != nil && a.opts.retryIf(err):
		a.agreed = true
		return err
	}
	return &AmbiguousCommitError{Err: err}
}

// rollback rolls back what is open after a failure. Where fn is to run again, it
// returns the reason why it must not.
func (a *attempt) rollback(ctx context.Context, cause error, again bool) (reason error) {
	if a.tx == nil || a.clean { // not begun, or nobody knows; or done
		return nil
	}
	lostConnection := needsOtherConnection(cause)
	if again && a.opts.watched && !a.committing && !lostConnection && !mayEndTransaction(cause) && a.doomed == nil {
		// Did fn end the transaction before this error?
		if err := release(ctx, a.tx, sentinel); errors.Is(err, ErrTransactionLost) {
			reason = err
		}
	}
	err := a.tx.Rollback()
	done := errors.Is(err, sql.ErrTxDone)
	switch {
	case lostConnection || needsOtherConnection(err):
	case err == nil:
		a.clean = true
	case done && (a.committing || ctx.Err() == nil):
		// It is done for database/sql, but a COMMIT may have failed.
		cleanup, cancel := cleanupContext(ctx)
		defer cancel()
		_, err := a.conn.ExecContext(cleanup, "ROLLBACK")
		a.clean = err == nil
	}
	// Otherwise the context has ended, and database/sql rolls back when the statements
	// that still run have ended: nothing that is sent here comes surely after them.
	if done && !a.committing && ctx.Err() == nil {
		return errEndedByFn
	}
	if again && a.clean && reason == nil {
		cleanup, cancel := cleanupContext(ctx)
		defer cancel()
		if err := wholly(cleanup, a.conn); errors.Is(err, errMixed) {
			reason = errMixed
		}
	}
	return reason
}

// settle leaves the connection to the next user as it was, and closes one that
// cannot be.
func (a *attempt) settle(ctx context.Context) {
	a.over.Store(true)
	if a.clean && a.opts.contained {
		cleanup, cancel := cleanupContext(ctx)
		defer cancel()
		_, err := a.conn.ExecContext(cleanup, autocommitOn)
		a.clean = err == nil
	}
	if !a.clean {
		_ = a.conn.Raw(func(any) error { return driver.ErrBadConn }) // which closes it
	}
}
