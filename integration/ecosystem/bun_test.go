//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/mysqldialect"

	"github.com/mysqlinit/mysqlinit/mysqltx"
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
	testGetOrCreate(t, func(t *testing.T, pool *sql.DB) recipe {
		db := bun.NewDB(pool, mysqldialect.New())
		return recipe{
			getOrCreate: func(ctx context.Context, q mysqltx.Querier, email, name string) (row, error) {
				user, _, err := bunGetOrCreate(ctx, db, q, email, name)
				return newRow(user.ID, user.Email, user.Name, user.CreatedAt), err
			},
			rename: func(ctx context.Context, tx *sql.Tx, id uint64, name string) error {
				_, err := db.NewUpdate().Conn(tx).Model(&bunUser{ID: id, Name: name}).Column("name").WherePK().Exec(ctx)
				return err
			},
			transact: func(ctx context.Context, fn func(mysqltx.Querier) error) error {
				return db.RunInTx(ctx, nil, func(_ context.Context, tx bun.Tx) error { return fn(tx) })
			},
		}
	})
}

type bunUser struct {
	bun.BaseModel `bun:"users"`

	ID        uint64 `bun:",pk,autoincrement"`
	Email     string
	Name      string
	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt time.Time `bun:",soft_delete,nullzero"`
}

func bunGetOrCreate(ctx context.Context, db *bun.DB, q mysqltx.Querier, email, name string) (bunUser, bool, error) {
	get := func(ctx context.Context, q mysqltx.Querier, lock string) (user bunUser, err error) {
		find := db.NewSelect().Model(&user).Where("email = ?", email)
		err = db.NewRaw("?"+lock, find).Conn(q).Scan(ctx, &user)
		return user, err
	}
	create := func(ctx context.Context, q mysqltx.Querier) (bunUser, error) {
		user := bunUser{Email: email, Name: name, CreatedAt: time.Now(), UpdatedAt: time.Now()}
		_, err := db.NewInsert().Conn(q).Model(&user).Exec(ctx)
		return user, err
	}
	return mysqltx.GetOrCreate(ctx, q, get, create)
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
