//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/mysqlinit/mysqlinit/integration/ecosystem/internal/ent"
	"github.com/mysqlinit/mysqlinit/integration/ecosystem/internal/ent/user"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

func openEnt(dsn string) (*ent.Client, error) {
	pool, err := sql.Open("mysqlinit", dsn)
	if err != nil {
		return nil, err
	}
	return ent.NewClient(ent.Driver(entsql.OpenDB(dialect.MySQL, pool))), nil // was ent.Open("mysql", dsn)
}

func TestEnt(t *testing.T) {
	covers(t, "entgo.io/ent")
	l := library[*ent.Client]{
		plain:    func(dsn string) (*ent.Client, error) { return ent.Open("mysql", dsn) },
		prepared: map[string]func(string) (*ent.Client, error){"OpenDB": openEnt},
		begin: func(ctx context.Context, client *ent.Client) (transaction, error) {
			tx, err := client.Tx(ctx)
			if err != nil {
				return transaction{}, err
			}
			return transaction{
				read: func(expr string) (value string, err error) {
					rows, err := tx.QueryContext(ctx, "SELECT "+expr)
					if err != nil {
						return "", err
					}
					defer rows.Close()
					return value, entsql.ScanOne(rows, &value)
				},
				get: func(name string) (bool, error) {
					_, err := tx.Name.Get(ctx, name)
					if ent.IsNotFound(err) {
						return false, nil
					}
					return err == nil, err
				},
				insert:   func(name string) error { return tx.Name.Create().SetID(name).Exec(ctx) },
				rollback: tx.Rollback,
				commit:   tx.Commit,
			}, nil
		},
		close: (*ent.Client).Close,
		duplicate: func(t *testing.T, err error) {
			if !ent.IsConstraintError(err) || number(err) != errDuplicateEntry {
				t.Errorf("got %v, want ent's ConstraintError that wraps error 1062", err)
			}
		},
	}
	l.race(t)
	t.Run("guard", func(t *testing.T) { l.guard(t, openEnt) })
	testGetOrCreate(t, func(t *testing.T, pool *sql.DB) recipe {
		return recipe{
			getOrCreate: func(ctx context.Context, q mysqltx.Querier, email, name string) (row, error) {
				user, _, err := entGetOrCreate(ctx, q, email, name)
				if err != nil {
					return row{}, err
				}
				return newRow(user.ID, user.Email, user.Name, user.CreatedAt), nil
			},
			rename: func(ctx context.Context, tx *sql.Tx, id uint64, name string) error {
				return onEnt(tx).User.UpdateOneID(id).SetName(name).Exec(ctx)
			},
		}
	})
}

// onEnt returns a client that works on what mysqltx passes.
func onEnt(q mysqltx.Querier) *ent.Client {
	return ent.NewClient(ent.Driver(onQuerier{entsql.NewDriver(dialect.MySQL, entsql.Conn{ExecQuerier: q})}))
}

// onQuerier begins no transactions of its own. ent's driver can do so only on a *sql.DB.
type onQuerier struct{ dialect.Driver }

func (d onQuerier) Tx(context.Context) (dialect.Tx, error) { return dialect.NopTx(d.Driver), nil }

func entGetOrCreate(ctx context.Context, q mysqltx.Querier, email, name string) (*ent.User, bool, error) {
	get := func(ctx context.Context, q mysqltx.Querier, lock string) (*ent.User, error) {
		return onEnt(q).User.Query().Where(user.Email(email), user.DeletedAtIsNil(), func(s *entsql.Selector) {
			if lock != "" {
				s.ForShare(entsql.WithLockClause(strings.TrimSpace(lock)))
			}
		}).Only(ctx)
	}
	create := func(ctx context.Context, q mysqltx.Querier) (*ent.User, error) {
		return onEnt(q).User.Create().SetEmail(email).SetName(name).Save(ctx)
	}
	return mysqltx.GetOrCreate(ctx, q, get, create, mysqltx.WithNotFoundIf(ent.IsNotFound))
}

func TestEntOpenRefusesMysqlinit(t *testing.T) {
	covers(t, "entgo.io/ent")
	if client, err := ent.Open("mysqlinit", servers[0].dsn("test")); err == nil {
		client.Close()
		t.Error("ent.Open accepts mysqlinit: the recipe can be shorter")
	}
}
