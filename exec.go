package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"runtime"
)

// This file runs statements on a connection as database/sql would, for a wrapped
// driver's connection may have no more than Prepare.

var errMalformed = errors.New("the driver panicked, as it does when the server's answer is malformed")

// recoverMalformed makes an error of a panic that an answer has caused: the MySQL
// driver reads packets as if each were as long as it should be. database/sql
// also connects on a goroutine of its own, where nobody could recover it.
func recoverMalformed(err *error) {
	switch p := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("%w: %w", errMalformed, p)
	default:
		panic(p)
	}
}

// exec runs one statement and drains its results. An empty one is none.
func exec(ctx context.Context, conn driver.Conn, query string) (err error) {
	defer recoverMalformed(&err)
	if query == "" {
		return nil
	}
	if execer, ok := conn.(driver.ExecerContext); ok {
		if _, err := execer.ExecContext(ctx, query, nil); err != driver.ErrSkip {
			return err
		}
	}
	stmt, err := prepareStmt(ctx, conn, query)
	if err != nil {
		return err
	}
	defer stmt.Close()
	if execer, ok := stmt.(driver.StmtExecContext); ok {
		_, err = execer.ExecContext(ctx, nil)
	} else {
		//lint:ignore SA1019 a wrapped driver may have nothing else
		_, err = stmt.Exec(nil)
	}
	return err
}

func prepareStmt(ctx context.Context, conn driver.Conn, query string) (driver.Stmt, error) {
	if preparer, ok := conn.(driver.ConnPrepareContext); ok {
		return preparer.PrepareContext(ctx, query)
	}
	return conn.Prepare(query)
}

// queryRow returns the only row of a result, as text. Where it fails, the rows stay
// open, and the connection has to be closed: the MySQL driver's Close reads all
// that is left, and no context ends that.
func queryRow(ctx context.Context, conn driver.Conn, query string, columns int) (row []string, err error) {
	defer recoverMalformed(&err)
	rows, closeStmt, err := queryRows(ctx, conn, query)
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

func queryRows(ctx context.Context, conn driver.Conn, query string) (driver.Rows, func(), error) {
	if queryer, ok := conn.(driver.QueryerContext); ok {
		if rows, err := queryer.QueryContext(ctx, query, nil); err != driver.ErrSkip {
			return rows, func() {}, err
		}
	}
	stmt, err := prepareStmt(ctx, conn, query)
	if err != nil {
		return nil, nil, err
	}
	var rows driver.Rows
	if queryer, ok := stmt.(driver.StmtQueryContext); ok {
		rows, err = queryer.QueryContext(ctx, nil)
	} else {
		//lint:ignore SA1019 a wrapped driver may have nothing else
		rows, err = stmt.Query(nil)
	}
	if err != nil {
		stmt.Close()
		return nil, nil, err
	}
	return rows, func() { stmt.Close() }, nil
}
