package mysqltx

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
)

// cleanupTimeout bounds a statement that puts things in order after the caller's
// context has ended.
const cleanupTimeout = 5 * time.Second

func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
}

// depthKey is the context key of the number of savepoints around a call.
type depthKey struct{}

// inSavepoint runs f between SAVEPOINT and RELEASE SAVEPOINT, or ROLLBACK TO
// SAVEPOINT where f fails or panics. Its error is f's. intact tells whether the transaction
// is as it was before f, or with what f did where f succeeded.
//
// The savepoints are named by their depth, for one of the same name would
// replace the outer; not by a running number, for the server's statement statistics keep
// an entry for each text.
func inSavepoint(ctx context.Context, q Querier, f func(context.Context) error) (intact bool, err error) {
	depth, _ := ctx.Value(depthKey{}).(int)
	depth++
	name := fmt.Sprintf("mysqltx_%d", depth)
	if _, err := q.ExecContext(ctx, "SAVEPOINT "+name); err != nil {
		return false, err
	}
	returned := false
	defer func() {
		if !returned { // f panicked, or ended its goroutine
			_ = rollbackTo(ctx, q, name)
		}
	}()
	err = f(context.WithValue(ctx, depthKey{}, depth))
	returned = true
	if err == nil {
		err = release(ctx, q, name)
		return err == nil, err
	}
	undoErr := rollbackTo(ctx, q, name)
	switch {
	case undoErr == nil:
		return true, err
	case number(undoErr) == errNoSuchSavepoint:
		noteLost(ctx, err)
		if IsDuplicateKey(err) { // which ends no transaction
			err = fmt.Errorf("%w; before that: %w", err, ErrTransactionLost)
		}
	case errors.Is(undoErr, errMixed):
		err = &unrepeatableError{err: err, reason: undoErr}
	}
	return false, err
}

// release ends a savepoint. That there is none is how a transaction is known to
// have ended since.
func release(ctx context.Context, q Querier, name string) error {
	_, err := q.ExecContext(ctx, "RELEASE SAVEPOINT "+name)
	switch {
	case number(err) == errNoSuchSavepoint:
		return ErrTransactionLost
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrBusyBuffer):
		// Under a context that can end, the driver closes a connection with an open
		// result set when the next statement comes: then nobody can tell the two.
		return fmt.Errorf("mysqltx: the function has left a result set open (close its Rows), or the connection was lost: %w", err)
	}
	return err
}

// rollbackTo undoes what was done since a savepoint, also after the context has
// ended: the caller may go on in the transaction under another.
func rollbackTo(ctx context.Context, q Querier, name string) error {
	ctx, cancel := cleanupContext(ctx)
	defer cancel()
	if _, err := q.ExecContext(ctx, "ROLLBACK TO SAVEPOINT "+name); err != nil {
		return err
	}
	return wholly(ctx, q)
}

// wholly returns errMixed where the rollback just before could not undo
// everything. The server tells so in a warning.
func wholly(ctx context.Context, q Querier) (err error) {
	rows, err := q.QueryContext(ctx, "SHOW WARNINGS")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close(), rows.Err()) }()
	for rows.Next() {
		var level, message string
		var code int
		if err := rows.Scan(&level, &code, &message); err != nil {
			return err
		}
		if code == errNotRolledBack {
			return errMixed
		}
	}
	return nil
}
