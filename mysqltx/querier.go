package mysqltx

import (
	"context"
	"database/sql"
	"reflect"
)

// Querier is what [GetOrCreate] works on: a *sql.DB, *sql.Conn or *sql.Tx, or a type
// that embeds one of these, such as sqlx's types. Its methods are those of sqlc's DBTX
// and of GORM's ConnPool. get and create are given it as it is; statements of this
// package's own, such as SAVEPOINT, go to what it embeds.
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

// isTransaction and isPool also look at what q embeds, because the methods of a library's
// type can differ. A *sql.Conn is neither, and so is a type that hides what it is.
func isTransaction(q Querier) bool {
	_, ok := q.(transaction)
	return ok || beneath[*sql.Tx](q) != nil
}

func isPool(q Querier) bool {
	_, ok := q.(pool)
	return ok || beneath[*sql.DB](q) != nil
}

// plain returns the *sql.Tx or *sql.Conn that q is or embeds, or q. This package's own
// statements go there: a type that prepares all statements, such as GORM's with PrepareStmt,
// would prepare SAVEPOINT, which MySQL refuses.
func plain(q Querier) Querier {
	if tx := beneath[*sql.Tx](q); tx != nil {
		return tx
	}
	if conn := beneath[*sql.Conn](q); conn != nil {
		return conn
	}
	return q
}

// beneath returns the *sql.DB, *sql.Tx or *sql.Conn that q is or embeds, at any depth, or
// nil.
func beneath[T *sql.DB | *sql.Tx | *sql.Conn](q Querier) T {
	return embedded[T](reflect.ValueOf(q))
}

func embedded[T *sql.DB | *sql.Tx | *sql.Conn](v reflect.Value) T {
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
