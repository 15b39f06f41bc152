//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/mysqlinit/mysqlinit/mysqltx"
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
	testGetOrCreate(t, func(t *testing.T, pool *sql.DB) recipe {
		db := sqlx.NewDb(pool, "mysql")
		return recipe{
			getOrCreate: func(ctx context.Context, q mysqltx.Querier, email, name string) (row, error) {
				if q == pool {
					q = db
				}
				user, _, err := sqlxGetOrCreate(ctx, db, q, email, name)
				return newRow(user.ID, user.Email, user.Name, user.CreatedAt), err
			},
			rename: func(ctx context.Context, tx *sql.Tx, id uint64, name string) error {
				_, err := sqlx.NamedExecContext(ctx, onSqlx(db, tx), "UPDATE users SET name = :name WHERE id = :id", sqlxUser{ID: id, Name: name})
				return err
			},
			transact: func(ctx context.Context, fn func(mysqltx.Querier) error) error {
				tx, err := db.BeginTxx(ctx, nil)
				if err != nil {
					return err
				}
				return end(tx, fn(tx))
			},
		}
	})
}

type sqlxUser struct {
	ID        uint64
	Email     string
	Name      string
	CreatedAt time.Time    `db:"created_at"`
	UpdatedAt time.Time    `db:"updated_at"`
	DeletedAt sql.NullTime `db:"deleted_at"`
}

// onSqlx gives sqlx's methods to what mysqltx passes.
func onSqlx(db *sqlx.DB, q mysqltx.Querier) sqlx.ExtContext {
	if tx, ok := q.(*sql.Tx); ok { // of mysqltx.Run
		return &sqlx.Tx{Tx: tx, Mapper: db.Mapper}
	}
	return q.(sqlx.ExtContext) // *sqlx.DB or *sqlx.Tx
}

func sqlxGetOrCreate(ctx context.Context, db *sqlx.DB, q mysqltx.Querier, email, name string) (sqlxUser, bool, error) {
	get := func(ctx context.Context, q mysqltx.Querier, lock string) (user sqlxUser, err error) {
		err = sqlx.GetContext(ctx, onSqlx(db, q), &user, "SELECT * FROM users WHERE email = ? AND deleted_at IS NULL"+lock, email)
		return user, err
	}
	create := func(ctx context.Context, q mysqltx.Querier) (sqlxUser, error) {
		user := sqlxUser{Email: email, Name: name, CreatedAt: time.Now(), UpdatedAt: time.Now()}
		_, err := sqlx.NamedExecContext(ctx, onSqlx(db, q),
			"INSERT INTO users (email, name, created_at, updated_at) VALUES (:email, :name, :created_at, :updated_at)", user)
		return user, err
	}
	return mysqltx.GetOrCreate(ctx, q, get, create)
}
