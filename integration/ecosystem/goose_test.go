//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"
)

func openGoose(dsn string, migrations fs.FS) (*goose.Provider, error) {
	pool, err := sql.Open("mysqlinit", dsn) // was "mysql"
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectMySQL, pool, migrations)
}

func openGoosePlain(dsn string, migrations fs.FS) (*goose.Provider, error) {
	pool, err := openPlain(dsn)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectMySQL, pool, migrations)
}

// goose runs each migration in a transaction. A migration in SQL records its session, and a
// migration in Go loses the race.
func TestGoose(t *testing.T) {
	covers(t, "github.com/pressly/goose/v3")
	for _, s := range servers {
		for _, test := range []struct {
			name, session string
			open          func(string, fs.FS) (*goose.Provider, error)
		}{
			{"plain", "REPEATABLE-READ MIXED", openGoosePlain},
			{"prepared", "READ-COMMITTED ROW", openGoose},
		} {
			t.Run(s.name+"/"+test.name, func(t *testing.T) {
				database := s.database(t)
				migrate := func(fsys fs.FS) error {
					p, err := test.open(s.dsn(database), fsys)
					if err != nil {
						t.Fatal(err)
					}
					defer p.Close()
					_, err = p.Up(t.Context())
					return err
				}
				var duplicate error
				goose.ResetGlobalMigrations()
				defer goose.ResetGlobalMigrations()
				err := goose.SetGlobalMigrations(goose.NewGoMigration(2, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
					sqlTransaction(ctx, tx, nil).lose(t, s, database, test.session, func(t *testing.T, err error) {
						wantServerError(t, err)
						duplicate = err
					}, test.name == "prepared")
					return duplicate
				}}, nil))
				if err != nil {
					t.Fatal(err)
				}
				err = migrate(fstest.MapFS{"00001_session.sql": {Data: []byte(`-- +goose Up
CREATE TABLE session AS SELECT ` + s.session() + ` AS was;`)}})
				// If a migration fails, goose's error names what was applied and wraps the server's.
				if partial, ok := errors.AsType[*goose.PartialError](err); duplicate != nil && (!ok || len(partial.Applied) != 1 || number(err) != errDuplicateEntry) {
					t.Errorf("got %v, want a PartialError that wraps error 1062", err)
				}
				s.want(t, "SELECT was FROM "+database+".session", test.session)
			})
		}
	}
}
