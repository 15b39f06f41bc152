package mysqlinit_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"log"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
)

// firstOf connects to the first server that answers.
type firstOf []driver.Connector

func (servers firstOf) Connect(ctx context.Context) (driver.Conn, error) {
	var errs []error
	for _, server := range servers {
		conn, err := server.Connect(ctx)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (firstOf) Driver() driver.Driver { return &mysql.MySQLDriver{} }

func ExampleWrap() {
	var otherConnector firstOf
	for _, address := range []string{"db-1:3306", "db-2:3306"} {
		server, err := mysql.MySQLDriver{}.OpenConnector("user:password@tcp(" + address + ")/app?timeout=2s")
		if err != nil {
			log.Fatal(err)
		}
		otherConnector = append(otherConnector, server)
	}
	connector, err := mysqlinit.Wrap(otherConnector) // any driver.Connector that speaks MySQL
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}
