// Package driverconn runs statements on a driver's connection as database/sql
// would. A wrapped driver's connection is not required to have more than Prepare.
package driverconn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"runtime"
)

// ErrMalformed says that the driver panicked on an answer.
var ErrMalformed = errors.New("the driver panicked, as it does when the server's answer is malformed")

// RecoverMalformed turns a panic that an answer has caused into an error that is
// ErrMalformed. The MySQL driver reads packets without checking that they are as
// long as they should be, and database/sql also connects on its own goroutine,
// where nobody else could recover.
func RecoverMalformed(err *error) {
	switch p := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("%w: %w", ErrMalformed, p)
	default:
		panic(p)
	}
}

// Exec runs one statement and drains its results. It does nothing if the
// statement is "".
func Exec(ctx context.Context, conn driver.Conn, statement string) (err error) {
	defer RecoverMalformed(&err)
	if statement == "" {
		return nil
	}
	if direct, ok := conn.(driver.ExecerContext); ok {
		if _, err := direct.ExecContext(ctx, statement, nil); err != driver.ErrSkip {
			return err
		}
	}
	stmt, err := prepare(ctx, conn, statement)
	if err != nil {
		return err
	}
	defer stmt.Close()
	if withContext, ok := stmt.(driver.StmtExecContext); ok {
		_, err = withContext.ExecContext(ctx, nil)
	} else {
		//lint:ignore SA1019 a wrapped driver need not have anything else
		_, err = stmt.Exec(nil)
	}
	return err
}

func prepare(ctx context.Context, conn driver.Conn, statement string) (driver.Stmt, error) {
	if preparer, ok := conn.(driver.ConnPrepareContext); ok {
		return preparer.PrepareContext(ctx, statement)
	}
	return conn.Prepare(statement)
}

// QueryRow returns the only row of a result, as text. If it fails, the rows stay
// open and the connection has to be closed: the MySQL driver's Close reads all
// that is left, and no context ends that.
func QueryRow(ctx context.Context, conn driver.Conn, statement string, columns int) (row []string, err error) {
	defer RecoverMalformed(&err)
	rows, closeStmt, err := query(ctx, conn, statement)
	if err != nil {
		return nil, err
	}
	defer closeStmt()
	if n := len(rows.Columns()); n != columns {
		return nil, fmt.Errorf("the server returned %d columns instead of %d", n, columns)
	}
	values := make([]driver.Value, columns)
	if err := rows.Next(values); err == io.EOF {
		return nil, errors.New("the server returned no row")
	} else if err != nil {
		return nil, err
	}
	for _, v := range values {
		switch v := v.(type) {
		case []byte:
			row = append(row, string(v))
		default:
			row = append(row, fmt.Sprint(v))
		}
	}
	err = rows.Next(values)
	if results, ok := rows.(driver.RowsNextResultSet); err == nil || err == io.EOF && ok && results.HasNextResultSet() {
		return nil, errors.New("the server returned more than one row")
	} else if err != io.EOF {
		return nil, err
	}
	return row, rows.Close()
}

func query(ctx context.Context, conn driver.Conn, statement string) (driver.Rows, func(), error) {
	if direct, ok := conn.(driver.QueryerContext); ok {
		if rows, err := direct.QueryContext(ctx, statement, nil); err != driver.ErrSkip {
			return rows, func() {}, err
		}
	}
	stmt, err := prepare(ctx, conn, statement)
	if err != nil {
		return nil, nil, err
	}
	var rows driver.Rows
	if withContext, ok := stmt.(driver.StmtQueryContext); ok {
		rows, err = withContext.QueryContext(ctx, nil)
	} else {
		//lint:ignore SA1019 a wrapped driver need not have anything else
		rows, err = stmt.Query(nil)
	}
	if err != nil {
		stmt.Close()
		return nil, nil, err
	}
	return rows, func() { stmt.Close() }, nil
}
