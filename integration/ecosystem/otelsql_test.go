//go:build ecosystem

package ecosystem

import (
	"database/sql"
	"database/sql/driver"
	"testing"

	xsam "github.com/XSAM/otelsql"
	"github.com/go-sql-driver/mysql"
	nhat "go.nhat.io/otelsql"

	"github.com/mysqlinit/mysqlinit"
)

// TestEveryMiddlewareGetsPreparedConnections, in the folder above, tests that there are
// spans, and all other ways to combine these libraries with this driver.

func TestXSAMOtelsql(t *testing.T) {
	covers(t, "github.com/XSAM/otelsql")
	library[*sql.DB]{
		plain: func(dsn string) (*sql.DB, error) { return xsam.Open("mysql", dsn) },
		prepared: map[string]func(string) (*sql.DB, error){
			"outside": func(dsn string) (*sql.DB, error) { return xsam.Open("mysqlinit", dsn) },
			"inside":  func(dsn string) (*sql.DB, error) { return openWrapped(xsam.WrapDriver(&mysql.MySQLDriver{}), dsn) },
		},
		begin: beginSQL,
		close: (*sql.DB).Close,
	}.race(t)
}

func TestNhatOtelsql(t *testing.T) {
	covers(t, "go.nhat.io/otelsql")
	open := func(name string) func(string) (*sql.DB, error) {
		return func(dsn string) (*sql.DB, error) {
			traced, err := nhat.Register(name)
			if err != nil {
				return nil, err
			}
			return sql.Open(traced, dsn)
		}
	}
	library[*sql.DB]{
		plain: open("mysql"),
		prepared: map[string]func(string) (*sql.DB, error){
			"outside": open("mysqlinit"),
			"inside":  func(dsn string) (*sql.DB, error) { return openWrapped(nhat.Wrap(&mysql.MySQLDriver{}), dsn) },
		},
		begin: beginSQL,
		close: (*sql.DB).Close,
	}.race(t)
}

// openWrapped opens a pool that prepares the connections of a traced MySQL driver.
func openWrapped(traced driver.Driver, dsn string) (*sql.DB, error) {
	inner, err := traced.(driver.DriverContext).OpenConnector(dsn)
	if err != nil {
		return nil, err
	}
	connector, err := mysqlinit.Wrap(inner)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}
