package mysqltx

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"
)

// release ends a savepoint. If there is no such savepoint, the transaction has ended
// since it was set, and the error is ErrTransactionLost.
func release(ctx context.Context, q Querier, name string) error {
	_, err := q.ExecContext(ctx, "RELEASE SAVEPOINT "+name)
	switch {
	case hasNumber(err, errNoSuchSavepoint):
		return errSavepointGone
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrBusyBuffer):
		// Under a context that can end, the driver closes a connection that has an
		// open result set when the next statement comes. The two causes then look
		// the same.
		return fmt.Errorf("mysqltx: the function has left a result set open (close its Rows), or the connection was lost: %w", err)
	}
	return err
}

// wholly returns errMixed if the rollback just before could not undo everything,
// which the server reports in a warning. On MariaDB the list can be that of an earlier
// statement, or of a closed session whose max_error_count was 0.
func wholly(ctx context.Context, q Querier) (err error) {
	var count int
	err = q.QueryRowContext(ctx, "SHOW COUNT(*) WARNINGS").Scan(&count)
	counted := !hasNumber(err, errUnknown) // vtgate does not know the statement
	if counted && (err != nil || count == 0) {
		return err
	}
	rows, err := q.QueryContext(ctx, "SHOW WARNINGS")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if counted {
		err = errNoWarnings
	}
	for rows.Next() {
		var level, message string
		var code int
		if err := rows.Scan(&level, &code, &message); err != nil {
			return err
		}
		if code == errNotRolledBack {
			return errMixed
		}
		err = nil
	}
	return errors.Join(rows.Err(), err)
}

// inTransaction asks the server whether q is a connection with an open transaction.
// Outside a transaction, a savepoint is gone at the next statement. This also works
// if q isn't known to be a single connection.
func inTransaction(ctx context.Context, q Querier) (bool, error) {
	const probe = "mysqltx_probe"
	if _, err := q.ExecContext(ctx, "SAVEPOINT "+probe); err != nil {
		return false, err
	}
	_, err := q.ExecContext(ctx, "RELEASE SAVEPOINT "+probe)
	if hasNumber(err, errNoSuchSavepoint) {
		return false, nil
	}
	return err == nil, err
}
