package mysqltx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
)

// The sentinel. A server may end a transaction under a statement whose error
// nobody returned. Most then run what follows with autocommit (MySQL 9.7,
// MariaDB 10.11 and 11.8), some in a new transaction (MySQL 5.6, MariaDB 10.5), and all
// answer COMMIT with OK. With autocommit switched off it is a new transaction
// everywhere, and can be rolled back; and a savepoint made at the beginning that is gone
// at the end tells that it is one.
const (
	autocommitOff = "SET autocommit = 0"
	autocommitOn  = "SET autocommit = 1" // commits what is open
	sentinel      = "mysqltx"
)

// attempt is one run of a function in a transaction.
type attempt struct {
	outer *attempt // that of another database which this one runs in, or nil
	db    *sql.DB  // nil where that is not known
	conn  session
	opts  *settings
	tx    *sql.Tx
	lost  error // why the server ended the transaction, where that was seen

	committing bool        // COMMIT may have been sent
	over       atomic.Bool // what still has its context has outlived it
}

type attemptKey struct{}

// attemptIn returns the attempt on db that a context belongs to, or nil.
func attemptIn(ctx context.Context, db *sql.DB) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	for a != nil && (a.db != db || a.over.Load()) {
		a = a.outer
	}
	return a
}

// noteLost keeps the error under which the server ended the transaction, for the
// function may not return it.
func noteLost(ctx context.Context, err error) {
	if a, _ := ctx.Value(attemptKey{}).(*attempt); a != nil && a.lost == nil {
		a.lost = err
	}
}

// once runs fn in one transaction on conn. The connection comes out of it as it
// went in, or closed.
func (s *settings) once(ctx context.Context, db *sql.DB, conn session, fn func(context.Context, *sql.Tx) error) error {
	outer, _ := ctx.Value(attemptKey{}).(*attempt)
	a := &attempt{outer: outer, db: db, conn: conn, opts: s}
	defer a.over.Store(true)
	returned := false
	defer func() {
		if !returned { // fn panicked, or ended its goroutine
			_ = a.undo(ctx, nil)
		}
	}()
	err := a.run(ctx, fn)
	returned = true
	if err == nil {
		a.restore(ctx)
		return nil
	}
	undoErr := a.undo(ctx, err)
	if undoErr != nil && s.retryable(err) {
		return &unrepeatableError{err: err, reason: undoErr}
	}
	return err
}

// run begins the transaction, runs fn and commits.
func (a *attempt) run(ctx context.Context, fn func(context.Context, *sql.Tx) error) (err error) {
	if a.opts.sentinel {
		if _, err := a.conn.ExecContext(ctx, autocommitOff); err != nil {
			return err
		}
	}
	if a.tx, err = a.conn.BeginTx(ctx, &a.opts.tx); err != nil {
		return err
	}
	if a.opts.sentinel {
		if _, err := a.tx.ExecContext(ctx, "SAVEPOINT "+sentinel); err != nil {
			return err
		}
	}
	if err := fn(context.WithValue(ctx, attemptKey{}, a), a.tx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return notCommitted(ctx)
	}
	if a.opts.sentinel {
		if err := a.stillThere(ctx); err != nil {
			return err
		}
	}
	return a.commit(ctx)
}

func notCommitted(ctx context.Context) error {
	return fmt.Errorf("mysqltx: not committed: %w", context.Cause(ctx))
}

// stillThere returns nil where the transaction is the one that was begun.
func (a *attempt) stillThere(ctx context.Context) error {
	err := release(ctx, a.tx, sentinel)
	if errors.Is(err, ErrTransactionLost) && a.lost != nil && a.opts.retryable(a.lost) {
		return a.lost
	}
	return a.ended(ctx, err)
}

// ended explains the error of a transaction that has been ended already.
func (a *attempt) ended(ctx context.Context, err error) error {
	switch {
	case !errors.Is(err, sql.ErrTxDone):
		return err
	case ctx.Err() != nil: // database/sql has rolled it back
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
		return nil
	case errors.Is(err, sql.ErrTxDone):
		a.committing = false
		return a.ended(ctx, err)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()): // before it was sent
		return notCommitted(ctx)
	case rolledBack(err), number(err) != 0 && a.opts.retryIf != nil && a.opts.retryIf(err):
		return err
	}
	return &AmbiguousCommitError{Err: err}
}

// undo rolls back what is open after a failure, and returns why fn must not run
// again, or nil. A connection that cannot be brought in order is closed.
func (a *attempt) undo(ctx context.Context, cause error) error {
	if a.tx == nil { // it has not begun, or nobody knows
		discard(a.conn)
		return nil
	}
	err := a.tx.Rollback()
	if needsOtherConnection(cause) || needsOtherConnection(err) {
		discard(a.conn)
		return nil
	}
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	if err != nil {
		// COMMIT has failed; or database/sql is rolling back on a goroutine of its own
		// and may not have done so yet, and switching autocommit on would commit.
		if _, err := a.conn.ExecContext(cleanup, "ROLLBACK"); err != nil {
			discard(a.conn)
			return nil
		}
	}
	var reason error
	switch {
	case !a.opts.retryable(cause): // then it does not run again anyway
	case errors.Is(err, sql.ErrTxDone) && !a.committing && ctx.Err() == nil:
		reason = errEndedByFn
	default:
		if err := wholly(cleanup, a.conn); errors.Is(err, errMixed) {
			reason = errMixed
		}
	}
	a.restore(ctx)
	return reason
}

// restore switches autocommit on again.
func (a *attempt) restore(ctx context.Context) {
	if !a.opts.sentinel {
		return
	}
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	if _, err := a.conn.ExecContext(cleanup, autocommitOn); err != nil {
		discard(a.conn)
	}
}

// discard closes a connection instead of returning it to its pool.
func discard(conn session) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}
