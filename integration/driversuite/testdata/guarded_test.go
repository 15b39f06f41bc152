package mysql_test

import (
	"database/sql"
	"database/sql/driver"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
)

func init() {
	guarded, err := mysqlinit.NewDriver(mysqlinit.WithGuard(true))
	if err != nil {
		panic(err)
	}
	sql.Register("guarded", guarded)
	mysql.Guarded = func(c driver.Connector) driver.Connector {
		wrapped, err := mysqlinit.Wrap(c, mysqlinit.WithGuard(true))
		if err != nil {
			panic(err)
		}
		return wrapped
	}
}
