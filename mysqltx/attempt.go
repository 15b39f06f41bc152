package mysqltx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// How an attempt notices that its transaction is lost. An error that nobody
// returned can have ended the transaction on the server. Most servers then run the
// next statements with autocommit (MySQL 9.7, MariaDB 10.11 and 11.8), some run them
// in a new transaction (MySQL 5.6, MariaDB 10.5), and all answer COMMIT with OK.
//
// With autocommit off, all of them begin a new transaction, which can be rolled
// back. And if the sentinel, a savepoint that is set at the beginning, is gone at the
// end, this has happened.
const sentinel = "mysqltx_sentinel"

// attempt is one run of a function in its own transaction.
type attempt struct {
	enclosing // what calls inside the function see
	settings  *settings
	conn      session
	state     state
}

// state is what is known about the transaction on an attempt's connection.
type state int

const (
	unknown    state = iota // something might be open: the connection can only be closed
	begun                   // BEGIN succeeded, and COMMIT has not been sent
	commitSent              // COMMIT was sent, or was about to be, and has not succeeded
	ended                   // nothing is open
)

// attempt runs fn once, in a transaction on conn. If that fails, again reports
// whether to run fn again. conn is left unchanged, or closed.
func (s *settings) attempt(ctx context.Context, db *sql.DB, conn session, fn func(context.Context, *sql.Tx) error) (again bool, err error) {
	a := &attempt{
		enclosing: enclosing{outer: innermost(ctx), db: db, opts: s.tx},
		settings:  s,
		conn:      conn,
	}
	defer a.settle(ctx)
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit
			a.rollback(ctx, nil)
		}
	}()
	again, err = a.run(ctx, fn)
	returned = true
	switch {
	case err == nil:
		return false, nil
	case !again:
		a.rollback(ctx, err)
		return false, err
	}
	if reason := a.undo(ctx, err); reason != nil {
		return false, &unrepeatableError{err: err, reason: reason}
	}
	return true, err
}

// run begins the transaction, runs fn and commits.
func (a *attempt) run(ctx context.Context, fn func(context.Context, *sql.Tx) error) (again bool, err error) {
	err = a.begin(ctx)
	if err == nil {
		err = fn(context.WithValue(ctx, enclosingKey{}, &a.enclosing), a.tx)
	}
	if err == nil {
		err = a.mayCommit(ctx)
	}
	if err != nil {
		return a.settings.retryable(err), err
	}
	return a.commit(ctx)
}

func (a *attempt) begin(ctx context.Context) (err error) {
	if a.settings.contained {
		if _, err := a.conn.ExecContext(ctx, sysvar.AutocommitOff); err != nil {
			return err
		}
	}
	if a.tx, err = a.conn.BeginTx(ctx, &a.opts); err != nil {
		return err
	}
	a.state = begun
	if a.settings.watched {
		_, err = a.tx.ExecContext(ctx, "SAVEPOINT "+sentinel)
	}
	return err
}

// mayCommit returns an error if the transaction must not be committed although fn
// returned nil.
func (a *attempt) mayCommit(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return notCommitted(ctx)
	case a.doomed != nil && (isFinal(a.doomed) || a.settings.retryable(a.doomed)):
		return a.doomed
	case a.doomed != nil:
		return fmt.Errorf("%w: %w", ErrTransactionLost, a.doomed)
	}
	if a.settings.watched {
		if err := release(ctx, a.tx, sentinel); err != nil {
			return a.explain(ctx, err)
		}
	}
	return nil
}

// explain returns the reason if err only shows that the transaction has already
// ended.
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

// commit isn't bounded by the context once COMMIT is sent, because then the answer
// is what matters.
func (a *attempt) commit(ctx context.Context) (again bool, err error) {
	a.state = commitSent
	err = a.tx.Commit()
	switch {
	case err == nil:
		a.state = ended
		return false, nil
	case errors.Is(err, sql.ErrTxDone): // it was not sent
		a.state = begun
		err = a.explain(ctx, err)
		return a.settings.retryable(err), err
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		// database/sql returns this without sending COMMIT. Then its transaction
		// is still there to roll back.
		if rollbackErr := a.tx.Rollback(); rollbackErr == nil {
			a.state = ended
			err = notCommitted(ctx)
			return a.settings.retryable(err), err
		}
	}
	return a.settings.judgeCommit(err)
}

// undo rolls everything back, so that fn can run again after cause. It returns the
// reason if fn must not: if something that fn did stays.
func (a *attempt) undo(ctx context.Context, cause error) (reason error) {
	if !a.mayBeOpen() {
		return nil
	}
	lost := a.lostBefore(ctx, cause)
	switch endedByFn := a.rollback(ctx, cause); {
	case endedByFn:
		return errEndedByFn
	case lost:
		return ErrTransactionLost
	case a.state == ended:
		cleanup, cancel := cleanupContext(ctx)
		defer cancel()
		if err := wholly(cleanup, a.conn); errors.Is(err, errMixed) {
			return errMixed
		}
	}
	return nil
}

// lostBefore reports whether the transaction had ended before the error that fn
// returned.
func (a *attempt) lostBefore(ctx context.Context, err error) bool {
	if !a.settings.watched || a.state != begun || a.doomed != nil || mayEndTransaction(err) || needsOtherConnection(err) {
		return false
	}
	return errors.Is(release(ctx, a.tx, sentinel), ErrTransactionLost)
}

func (a *attempt) mayBeOpen() bool { return a.state == begun || a.state == commitSent }

// rollback rolls back whatever is open after a failure. It reports whether fn had
// ended the transaction itself.
func (a *attempt) rollback(ctx context.Context, cause error) (endedByFn bool) {
	if !a.mayBeOpen() {
		return false
	}
	sent := a.state == commitSent
	a.state = unknown
	err := a.tx.Rollback()
	done := errors.Is(err, sql.ErrTxDone)
	endedByFn = done && !sent && ctx.Err() == nil
	switch {
	case needsOtherConnection(cause) || needsOtherConnection(err):
		return endedByFn
	case endedByFn, done && sent:
		// database/sql considers it done, but it can be open if a COMMIT failed.
		cleanup, cancel := cleanupContext(ctx)
		defer cancel()
		_, err = a.conn.ExecContext(cleanup, "ROLLBACK")
	case done:
		// The context has ended. database/sql rolls back when the statements that
		// still run have ended. A statement sent from here might run before that.
	}
	if err == nil {
		a.state = ended
	}
	return endedByFn
}

// settle restores the connection's autocommit, or closes the connection.
func (a *attempt) settle(ctx context.Context) {
	a.over.Store(true)
	if a.state == ended && a.settings.contained {
		cleanup, cancel := cleanupContext(ctx)
		defer cancel()
		if _, err := a.conn.ExecContext(cleanup, sysvar.AutocommitOn); err != nil {
			a.state = unknown
		}
	}
	if a.state != ended {
		_ = a.conn.Raw(func(any) error { return driver.ErrBadConn }) // closes it
	}
}
