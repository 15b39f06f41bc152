//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/mysqlinit/mysqlinit/integration/ecosystem/internal/sqlc"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

func openSqlc(dsn string) (*sql.DB, *sqlc.Queries, error) {
	pool, err := sql.Open("mysqlinit", dsn) // was "mysql"
	if err != nil {
		return nil, nil, err
	}
	return pool, sqlc.New(pool), nil
}

// queries is the generated code together with the pool that begins its transactions.
type queries struct {
	*sqlc.Queries
	pool *sql.DB
}

func TestSqlc(t *testing.T) {
	covers(t, "github.com/sqlc-dev/sqlc")
	library[queries]{
		plain: func(dsn string) (queries, error) {
			pool, err := openPlain(dsn)
			return queries{sqlc.New(pool), pool}, err
		},
		prepared: map[string]func(string) (queries, error){"New": func(dsn string) (queries, error) {
			pool, q, err := openSqlc(dsn)
			return queries{q, pool}, err
		}},
		begin: func(ctx context.Context, q queries) (transaction, error) {
			tx, err := q.pool.BeginTx(ctx, nil)
			if err != nil {
				return transaction{}, err
			}
			in := q.WithTx(tx)
			return transaction{
				read: func(expr string) (string, error) { // the generated code has one expression for each kind of server
					if strings.Contains(expr, "tx_isolation") {
						return in.MariaDBSession(ctx)
					}
					return in.MySQLSession(ctx)
				},
				get: func(name string) (bool, error) {
					_, err := in.GetName(ctx, name)
					return found(err, sql.ErrNoRows)
				},
				insert:   func(name string) error { return in.CreateName(ctx, name) },
				rollback: tx.Rollback,
			}, nil
		},
		close: func(q queries) error { return q.pool.Close() },
	}.race(t)
	testGetOrCreate(t, func(t *testing.T, pool *sql.DB) recipe {
		return recipe{
			getOrCreate: func(ctx context.Context, q mysqltx.Querier, email, name string) (row, error) {
				user, _, err := sqlcGetOrCreate(ctx, q, email, name)
				return newRow(user.ID, user.Email, user.Name, user.CreatedAt), err
			},
			rename: func(ctx context.Context, tx *sql.Tx, id uint64, name string) error {
				return sqlc.New(tx).RenameUser(ctx, sqlc.RenameUserParams{ID: id, Name: name})
			},
		}
	})
}

func sqlcGetOrCreate(ctx context.Context, q mysqltx.Querier, email, name string) (sqlc.User, bool, error) {
	get := func(ctx context.Context, q mysqltx.Querier, lock string) (sqlc.User, error) {
		if lock != "" {
			return sqlc.New(q).GetUserShared(ctx, email) // the same query with LOCK IN SHARE MODE
		}
		return sqlc.New(q).GetUser(ctx, email)
	}
	create := func(ctx context.Context, q mysqltx.Querier) (sqlc.User, error) {
		return sqlc.User{}, sqlc.New(q).CreateUser(ctx, sqlc.CreateUserParams{Email: email, Name: name})
	}
	return mysqltx.GetOrCreate(ctx, q, get, create)
}
