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

// inSavepoint runs f between SAVEPOINT and RELEASE SAVEPOINT, and undoes what f
// did where it fails or panics. intact tells whether that went as it should; where the
// transaction was lost, or is in doubt, a Run around it commits nothing.
//
// The savepoints are named by their depth, for one of the same name would
// replace the outer; not by a running number, for the server's statement statistics keep
// an entry for each text. Each is released in the end, so that one which was replaced all
// the same, under a context that does not know the depth, is missed.
func inSavepoint(ctx context.Context, q Querier, f func(context.Context) error) (intact bool, err error) {
	depth, _ := ctx.Value(depthKey{}).(int)
	depth++
	name := fmt.Sprintf("mysqltx_%d", depth)
	if _, err := q.ExecContext(ctx, "SAVEPOINT "+name); err != nil {
		suspect(ctx, q, err)
		return false, err
	}
	returned := false
	defer func() {
		if !returned { // a panic, or the end of the goroutine
			if err := rollbackTo(ctx, q, name); err != nil {
				doom(ctx, q, err)
			}
		}
	}()
	err = f(context.WithValue(ctx, depthKey{}, depth))
	returned = true
	if err == nil {
		if err = release(ctx, q, name); err == nil {
			return true, nil
		}
		if errors.Is(err, ErrTransactionLost) || mayEndTransaction(err) {
			doom(ctx, q, err)
			return false, err
		}
	}
	undoErr := rollbackTo(ctx, q, name)
	switch {
	case undoErr == nil:
		return true, err
	case errors.Is(undoErr, errMixed): // which no rollback of the whole undoes either
		return false, &unrepeatableError{err: err, reason: undoErr}
	case errors.Is(undoErr, ErrTransactionLost) && mayEndTransaction(err): // which says it all
	case needsOtherConnection(undoErr) && endedByContext(err): // for which the driver has closed it: no reason to run again
	default:
		err = fmt.Errorf("%w; then: %w", err, undoErr)
	}
	doom(ctx, q, err)
	return false, err
}

func endedByContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// release ends a savepoint. That there is none is how a transaction is known to
// have ended since.
func release(ctx context.Context, q Querier, name string) error {
	_, err := q.ExecContext(ctx, "RELEASE SAVEPOINT "+name)
	switch {
	case hasNumber(err, errNoSuchSavepoint):
		return ErrTransactionLost
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrBusyBuffer):
		// Under a context that can end, the driver closes a connection with an open
		// result set when the next statement comes: then nobody can tell the two.
		return fmt.Errorf("mysqltx: the function has left a result set open (close its Rows), or the connection was lost: %w", err)
	}
	return err
}

// rollbackTo undoes what was done since a savepoint, also after the context has
// ended, for the caller may go on in the transaction under another.
func rollbackTo(ctx context.Context, q Querier, name string) error {
	ctx, cancel := cleanupContext(ctx)
	defer cancel()
	_, err := q.ExecContext(ctx, "ROLLBACK TO SAVEPOINT "+name)
	switch {
	case hasNumber(err, errNoSuchSavepoint):
		return ErrTransactionLost
	case err != nil:
		return err
	}
	if err := wholly(ctx, q); err != nil {
		return err
	}
	return release(ctx, q, name)
}

// wholly returns errMixed where the rollback just before could not undo
// everything. The server tells so in a warning.
func wholly(ctx context.Context, q Querier) (err error) {
	rows, err := q.QueryContext(ctx, "SHOW WARNINGS")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
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
	return rows.Err()
}
