package mysqltx

import (
	"context"
	"database/sql"
	"reflect"
)

// Querier is what [GetOrCreate] works on: a *sql.DB, *sql.Conn or *sql.Tx, or a type
// that embeds one of these, such as sqlx's types. Its methods are those of sqlc's DBTX
// and of GORM's ConnPool.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

var _, _, _ Querier = (*sql.DB)(nil), (*sql.Conn)(nil), (*sql.Tx)(nil)

// The methods of a Querier show which of the three it is.
type (
	transaction interface {
		Commit() error
		Rollback() error
	}
	pool interface {
		Conn(context.Context) (*sql.Conn, error)
	}
	session interface {
		Querier
		BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
		Raw(func(driverConn any) error) error
	}
)

var (
	_ transaction = (*sql.Tx)(nil)
	_ pool        = (*sql.DB)(nil)
	_ session     = (*sql.Conn)(nil)
)

// beneath returns the *sql.DB or *sql.Tx that q is or embeds, at any depth, or nil.
func beneath[T *sql.DB | *sql.Tx](q Querier) T {
	return embedded[T](reflect.ValueOf(q))
}

func embedded[T *sql.DB | *sql.Tx](v reflect.Value) T {
	if v.IsValid() && v.CanInterface() {
		if found, ok := v.Interface().(T); ok {
			return found
		}
	}
	for v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() == reflect.Struct {
		for i := range v.NumField() {
			if v.Type().Field(i).Anonymous {
				if found := embedded[T](v.Field(i)); found != nil {
					return found
				}
			}
		}
	}
	return nil
}
