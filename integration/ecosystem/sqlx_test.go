//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jmoiron/sqlx"
)

func openSqlx(dsn string) (*sqlx.DB, error) {
	return sqlx.Connect("mysqlinit", dsn) // was "mysql"
}

func openSqlxNewDb(dsn string) (*sqlx.DB, error) {
	pool, err := sql.Open("mysqlinit", dsn)
	if err != nil {
		return nil, err
	}
	return sqlx.NewDb(pool, "mysql"), nil // the name of the bind style, not of a driver
}

func TestSqlx(t *testing.T) {
	covers(t, "github.com/jmoiron/sqlx")
	l := library[*sqlx.DB]{
		plain:    func(dsn string) (*sqlx.DB, error) { return sqlx.Connect("mysql", dsn) },
		prepared: map[string]func(string) (*sqlx.DB, error){"Connect": openSqlx, "NewDb": openSqlxNewDb},
		begin: func(ctx context.Context, db *sqlx.DB) (transaction, error) {
			tx, err := db.BeginTxx(ctx, nil)
			if err != nil {
				return transaction{}, err
			}
			return transaction{
				read: func(expr string) (value string, err error) {
					err = tx.GetContext(ctx, &value, "SELECT "+expr)
					return value, err
				},
				get: func(name string) (bool, error) {
					// sqlx chooses the bind style of named parameters by the driver's name.
					query, args, err := tx.BindNamed("SELECT name FROM names WHERE name = :name", Name{name})
					if err != nil {
						return false, err
					}
					err = tx.GetContext(ctx, &Name{}, query, args...)
					return found(err, sql.ErrNoRows)
				},
				insert: func(name string) error {
					_, err := tx.NamedExecContext(ctx, "INSERT INTO names (name) VALUES (:name)", Name{name})
					return err
				},
				rollback: tx.Rollback,
				commit:   tx.Commit,
			}, nil
		},
		close: (*sqlx.DB).Close,
	}
	l.race(t)
	t.Run("guard", func(t *testing.T) { l.guard(t, openSqlx) })
}
