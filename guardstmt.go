package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
)

// resultWatch puts statements and rows under the watch of a transaction's guard.
type resultWatch struct {
	tx         *txGuard
	spareStmts supply[guardedStmt]
	spareRows  supply[guardedRows]
}

// supply hands out values that are allocated many at a time, which keeps the
// guard's price below one allocation a query. None is handed out twice, because
// its last user can close it again.
type supply[T any] struct{ spare []T }

const allocatedAtOnce = 16

func (s *supply[T]) next() *T {
	if len(s.spare) == 0 {
		s.spare = make([]T, allocatedAtOnce)
	}
	v := &s.spare[0]
	s.spare = s.spare[1:]
	return v
}

// stmt returns a prepared statement under watch: it can run in any later
// transaction.
func (w *resultWatch) stmt(query string, stmt driver.Stmt) driver.Stmt {
	s := w.spareStmts.next()
	*s = guardedStmt{Stmt: stmt, results: w, query: query}
	return s
}

// guardedStmt is a prepared statement on a guarded connection.
type guardedStmt struct {
	driver.Stmt
	results *resultWatch
	query   string
}

func (s *guardedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	withContext, ok := s.Stmt.(driver.StmtExecContext)
	if !ok {
		values, err := positional(args)
		if err != nil {
			return nil, err
		}
		return s.Exec(values)
	}
	if err := s.results.tx.mayRun(ctx, s.query); err != nil {
		return nil, err
	}
	result, err := withContext.ExecContext(ctx, args)
	return resultOf(result, s.results.tx.ran(s.query, err))
}

func (s *guardedStmt) Exec(args []driver.Value) (driver.Result, error) {
	if err := s.results.tx.mayRun(context.Background(), s.query); err != nil {
		return nil, err
	}
	//lint:ignore SA1019 programs that use a driver without database/sql call it
	result, err := s.Stmt.Exec(args)
	return resultOf(result, s.results.tx.ran(s.query, err))
}

func (s *guardedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	withContext, ok := s.Stmt.(driver.StmtQueryContext)
	if !ok {
		values, err := positional(args)
		if err != nil {
			return nil, err
		}
		return s.Query(values)
	}
	if err := s.results.tx.mayRun(ctx, s.query); err != nil {
		return nil, err
	}
	rows, err := withContext.QueryContext(ctx, args)
	return s.results.rows(s.query, rows, err)
}

func (s *guardedStmt) Query(args []driver.Value) (driver.Rows, error) {
	if err := s.results.tx.mayRun(context.Background(), s.query); err != nil {
		return nil, err
	}
	//lint:ignore SA1019 programs that use a driver without database/sql call it
	rows, err := s.Stmt.Query(args)
	return s.results.rows(s.query, rows, err)
}

// CheckNamedValue is the statement's own. Without one, database/sql checks.
func (s *guardedStmt) CheckNamedValue(value *driver.NamedValue) error {
	if checker, ok := s.Stmt.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(value)
	}
	return driver.ErrSkip
}

// ColumnConverter is the statement's own, or the default one.
func (s *guardedStmt) ColumnConverter(column int) driver.ValueConverter {
	//lint:ignore SA1019 the MySQL driver's statements have it
	if converter, ok := s.Stmt.(driver.ColumnConverter); ok {
		return converter.ColumnConverter(column)
	}
	return driver.DefaultParameterConverter
}

// positional returns arguments for a wrapped driver that takes no context.
func positional(args []driver.NamedValue) ([]driver.Value, error) {
	values := make([]driver.Value, len(args))
	for i, arg := range args {
		if arg.Name != "" {
			return nil, errors.New("mysqlinit: the wrapped driver does not support named arguments")
		}
		values[i] = arg.Value
	}
	return values, nil
}

func resultOf(result driver.Result, err error) (driver.Result, error) {
	if err != nil {
		return nil, err
	}
	return result, nil
}

// guardedRows are the rows of a query in a transaction. An error can come with
// any of them, or at the end.
type guardedRows struct {
	driver.Rows
	tx    *txGuard
	query string
	ended bool
}

func (w *resultWatch) rows(query string, rows driver.Rows, err error) (driver.Rows, error) {
	if err != nil {
		return nil, w.tx.ran(query, err)
	}
	if w.tx.watch == watchNothing {
		return rows, nil
	}
	r := w.spareRows.next()
	*r = guardedRows{Rows: rows, tx: w.tx, query: query}
	return r, nil
}

// end notes once how the query has ended.
func (r *guardedRows) end(err error) error {
	if r.ended {
		return err
	}
	r.ended = true
	return r.tx.ran(r.query, err)
}

func (r *guardedRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	switch {
	case err == nil:
		return nil
	case err != io.EOF:
		return r.end(err)
	case r.HasNextResultSet():
		return err
	}
	return orEOF(r.end(nil))
}

func (r *guardedRows) Close() error { return r.end(r.Rows.Close()) }

func (r *guardedRows) HasNextResultSet() bool {
	results, ok := r.Rows.(driver.RowsNextResultSet)
	return ok && results.HasNextResultSet()
}

func (r *guardedRows) NextResultSet() error {
	results, ok := r.Rows.(driver.RowsNextResultSet)
	if !ok {
		return io.EOF
	}
	switch err := results.NextResultSet(); err {
	case nil:
		return nil
	case io.EOF:
		return orEOF(r.end(nil))
	default:
		return r.end(err)
	}
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// The types of columns are those of the rows below. If they have none, the answer
// is the one that database/sql assumes.

func (r *guardedRows) ColumnTypeDatabaseTypeName(column int) string {
	if types, ok := r.Rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
		return types.ColumnTypeDatabaseTypeName(column)
	}
	return ""
}

func (r *guardedRows) ColumnTypeNullable(column int) (nullable, ok bool) {
	if types, ok := r.Rows.(driver.RowsColumnTypeNullable); ok {
		return types.ColumnTypeNullable(column)
	}
	return false, false
}

func (r *guardedRows) ColumnTypePrecisionScale(column int) (precision, scale int64, ok bool) {
	if types, ok := r.Rows.(driver.RowsColumnTypePrecisionScale); ok {
		return types.ColumnTypePrecisionScale(column)
	}
	return 0, 0, false
}

func (r *guardedRows) ColumnTypeScanType(column int) reflect.Type {
	if types, ok := r.Rows.(driver.RowsColumnTypeScanType); ok {
		return types.ColumnTypeScanType(column)
	}
	return reflect.TypeFor[any]()
}
