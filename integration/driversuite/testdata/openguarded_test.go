package mysql

import (
	"database/sql"
	"database/sql/driver"
)

// Guarded puts a guard on a connector's connections. The tests outside of this package
// set it, because mysqlinit imports this package.
var Guarded func(driver.Connector) driver.Connector

func openGuarded(c driver.Connector) *sql.DB { return sql.OpenDB(Guarded(c)) }
