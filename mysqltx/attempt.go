package mysqltx

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
	"github.com/mysqlinit/mysqlinit/internal/txlost"
)

// How an attempt notices that its transaction is lost. An error that nobody
// returned can have ended the transaction on the server. Most servers then run the
// next statements with autocommit (MySQL 9.7, MariaDB 10.11 and 11.8), some run them
// in a new transaction (MySQL 5.6, MariaDB 10.5), and all answer COMMIT with OK.
//
// A connection with mysqlinit's guard refuses those statements and the COMMIT, and
// nothing else is needed. On another connection, autocommit is off: all servers then
// begin a new transaction, which can be rolled back. And if the sentinel, a savepoint that is set at the beginning, is gone at the
// end, this has happened.
const sentinel = "mysqltx_sentinel"

// attempt is one run of a function in its own transaction.
type attempt struct {
	enclosing // what calls inside the function see
	settings  *settings
	state     state
	contained bool // autocommit is off, so that what follows a lost transaction is not committed
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
		enclosing: enclosing{outer: innermost(ctx), db: db, conn: conn, opts: s.tx},
		settings:  s,
	}
	defer a.settle(ctx)
	returned := false
	defer func() {
		if !returned { // a panic or runtime.Goexit
			a.rollback(ctx, nil)
		}
	}()
	v, err := a.run(ctx, fn)
	returned = true
	if err != nil {
		return a.undo(ctx, v, err)
	}
	return false, nil
}

// run begins the transaction, runs fn and commits. If that fails, the verdict is on
// its error.
func (a *attempt) run(ctx context.Context, fn func(context.Context, *sql.Tx) error) (verdict, error) {
	err := a.begin(ctx)
	if err == nil {
		err = fn(context.WithValue(ctx, enclosingKey{}, &a.enclosing), a.tx)
	}
	if err == nil {
		err = a.mayCommit(ctx)
	}
	if err != nil {
		return a.settings.judge(err), err
	}
	return a.commit(ctx)
}

func (a *attempt) begin(ctx context.Context) (err error) {
	if a.tx, err = a.conn.BeginTx(ctx, &a.opts); err != nil {
		return err
	}
	a.state = begun
	if !a.settings.sentinel {
		return nil
	}
	a.watched, err = watchedByGuard(ctx, a.conn)
	if a.watched || err != nil {
		return err
	}
	a.watched, a.contained = true, true
	if _, err = a.tx.ExecContext(ctx, sysvar.AutocommitOff); err != nil {
		return err
	}
	member, err := isGroupMember(ctx, a.db, a.tx)
	if err == nil && member {
		_, err = a.tx.ExecContext(ctx, txlost.TouchInnoDB)
	}
	if err == nil {
		_, err = a.tx.ExecContext(ctx, "SAVEPOINT "+sentinel)
	}
	return err
}

// mayCommit returns an error if the transaction must not be committed although fn
// returned nil.
func (a *attempt) mayCommit(ctx context.Context) error {
	doomed := a.close()
	switch {
	case ctx.Err() != nil:
		return notCommitted(ctx)
	case doomed == nil:
	case isFinal(doomed), errors.Is(doomed, errInFlight), errors.Is(doomed, errOtherGoroutine), a.settings.retryable(doomed):
		return doomed
	default:
		return fmt.Errorf("%w: %w", ErrTransactionLost, doomed)
	}
	if !a.contained {
		return nil
	}
	if !isUsable(a.conn) {
		return errRowsOpen
	}
	if err := release(ctx, a.tx, sentinel); err != nil {
		return a.explain(ctx, err)
	}
	return nil
}

// explain returns the reason if err only shows that the transaction has already
// ended.
func (a *attempt) explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrTransactionLost):
		if suspect := a.notedSuspect(); suspect != nil {
			return suspect
		}
		return err
	case !errors.Is(err, sql.ErrTxDone):
		return err
	case ctx.Err() != nil: // database/sql rolls it back
		return notCommitted(ctx)
	}
	return errEndedByFn
}

// commit isn't bounded by the context once COMMIT is sent, because then the answer
// is what matters.
func (a *attempt) commit(ctx context.Context) (verdict, error) {
	a.state = commitSent
	err := a.tx.Commit()
	switch {
	case err == nil:
		a.state = ended
		return notAgain, nil
	case errors.Is(err, sql.ErrTxDone), err == context.Canceled, err == context.DeadlineExceeded:
		// database/sql returns these, unwrapped, without sending COMMIT.
		a.state = begun
		if ctx.Err() != nil {
			return notAgain, notCommitted(ctx)
		}
		return notAgain, a.explain(ctx, err)
	case errors.Is(err, ErrTransactionLost): // the guard sent ROLLBACK instead
		return a.settings.judge(err), err
	}
	return a.settings.judgeCommit(err)
}

// undo rolls everything back after err. It reports whether to run fn again, and
// returns the reason too if fn must not: if something that fn did stays.
func (a *attempt) undo(ctx context.Context, v verdict, err error) (again bool, _ error) {
	again = v != notAgain
	if !a.mayBeOpen() {
		return again, err
	}
	lost := again && a.lostBefore(ctx, err)
	endedByFn := a.rollback(ctx, err)
	alive := a.state == ended
	if again || errors.Is(err, ErrTransactionLost) {
		// What no ROLLBACK takes back ends with the connection: a temporary table,
		// which the next attempt would meet, and LOCK TABLES, which has committed.
		a.state = unknown
	}
	switch {
	case !again:
		return false, err
	case endedByFn:
		return false, &unrepeatableError{err: err, reason: errEndedByFn}
	case lost:
		return false, &unrepeatableError{err: err, reason: errSavepointGone}
	case !alive:
		return true, err
	case v == ifLost:
		return false, err // it is another connection that was lost
	}
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	if errors.Is(wholly(cleanup, a.conn), errMixed) {
		return false, &unrepeatableError{err: err, reason: errMixed}
	}
	return true, err
}

// lostBefore reports whether the transaction had ended before the error that fn
// returned. A connection with a guard has refused to go on then.
func (a *attempt) lostBefore(ctx context.Context, err error) bool {
	if !a.contained || a.state != begun || needsOtherConnection(err) {
		return false
	}
	if hasNumber(err, errLockWaitTimeout) {
		// With this option the error itself has ended the transaction.
		var ends bool
		if a.conn.QueryRowContext(ctx, "SELECT @@innodb_rollback_on_timeout").Scan(&ends) != nil || ends {
			return false
		}
	} else if mayEndTransaction(err) || a.close() != nil {
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
	a.end()
	sent := a.state == commitSent
	a.state = unknown
	err := a.tx.Rollback()
	done := errors.Is(err, sql.ErrTxDone)
	endedByFn = done && !sent && ctx.Err() == nil
	switch {
	case needsOtherConnection(err) || hasNumber(cause, errWSREPNotReady):
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
	a.end()
	if a.state == ended && a.contained {
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
