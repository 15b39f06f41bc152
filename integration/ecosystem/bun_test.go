//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"testing"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/mysqldialect"
)

func openBun(dsn string) (*bun.DB, error) {
	pool, err := sql.Open("mysqlinit", dsn) // was "mysql"
	if err != nil {
		return nil, err
	}
	return bun.NewDB(pool, mysqldialect.New()), nil
}

func TestBun(t *testing.T) {
	covers(t, "github.com/uptrace/bun", "github.com/uptrace/bun/dialect/mysqldialect")
	l := library[*bun.DB]{
		plain: func(dsn string) (*bun.DB, error) {
			pool, err := openPlain(dsn)
			if err != nil {
				return nil, err
			}
			return bun.NewDB(pool, mysqldialect.New()), nil
		},
		prepared: map[string]func(string) (*bun.DB, error){"NewDB": openBun},
		begin: func(ctx context.Context, db *bun.DB) (transaction, error) {
			tx, err := db.BeginTx(ctx, nil)
			return bunTransaction(ctx, tx), err
		},
		transact: func(ctx context.Context, db *bun.DB, fn func(transaction) error) error {
			return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { return fn(bunTransaction(ctx, tx)) })
		},
		nests: true,
		close: (*bun.DB).Close,
	}
	l.race(t)
	t.Run("guard", func(t *testing.T) { l.guard(t, openBun) })
}

func bunTransaction(ctx context.Context, tx bun.Tx) transaction {
	return transaction{
		read: func(expr string) (value string, err error) {
			err = tx.NewSelect().ColumnExpr(expr).Scan(ctx, &value)
			return value, err
		},
		get: func(name string) (bool, error) {
			err := tx.NewSelect().Model(&Name{name}).WherePK().Scan(ctx)
			return found(err, sql.ErrNoRows)
		},
		insert: func(name string) error {
			_, err := tx.NewInsert().Model(&Name{name}).Exec(ctx)
			return err
		},
		rollback: tx.Rollback,
		nested: func(fn func(transaction) error) error {
			return tx.RunInTx(ctx, nil, func(ctx context.Context, inner bun.Tx) error { return fn(bunTransaction(ctx, inner)) })
		},
	}
}
