//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/mysqlinit/mysqlinit/integration/ecosystem/internal/ent"
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
}

func TestEntOpenRefusesMysqlinit(t *testing.T) {
	covers(t, "entgo.io/ent")
	if client, err := ent.Open("mysqlinit", servers[0].dsn("test")); err == nil {
		client.Close()
		t.Error("ent.Open accepts mysqlinit: the recipe can be shorter")
	}
}
