//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"testing"

	"xorm.io/xorm"
	"xorm.io/xorm/core"
	"xorm.io/xorm/dialects"
)

func init() {
	dialects.RegisterDriver("mysqlinit", dialects.QueryDriver("mysql"))
}

func openXorm(dsn string) (*xorm.Engine, error) {
	return xorm.NewEngine("mysqlinit", dsn) // was "mysql"
}

func openXormWithDB(dsn string) (*xorm.Engine, error) {
	pool, err := sql.Open("mysqlinit", dsn)
	if err != nil {
		return nil, err
	}
	return xorm.NewEngineWithDB("mysql", dsn, core.FromDB(pool))
}

func TestXorm(t *testing.T) {
	covers(t, "xorm.io/xorm")
	library[*xorm.Engine]{
		plain:    func(dsn string) (*xorm.Engine, error) { return xorm.NewEngine("mysql", dsn) },
		prepared: map[string]func(string) (*xorm.Engine, error){"RegisterDriver": openXorm, "NewEngineWithDB": openXormWithDB},
		begin: func(ctx context.Context, engine *xorm.Engine) (transaction, error) {
			session := engine.NewSession().Context(ctx)
			return transaction{
				read: func(expr string) (value string, err error) {
					_, err = session.SQL("SELECT " + expr).Get(&value)
					return value, err
				},
				get: func(name string) (bool, error) { return session.Get(&Name{name}) },
				insert: func(name string) error {
					_, err := session.Insert(&Name{name})
					return err
				},
				rollback: session.Close, // which rolls back
			}, session.Begin()
		},
		close: (*xorm.Engine).Close,
	}.race(t)
}
