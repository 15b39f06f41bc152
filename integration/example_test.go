package integration

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"log"
	"log/slog"
	"time"

	xsam "github.com/XSAM/otelsql"
	"github.com/go-sql-driver/mysql"
	"github.com/ngrok/sqlmw"
	nhat "go.nhat.io/otelsql"

	"github.com/mysqlinit/mysqlinit"
)

// This is the code of docs/interceptors.md. TestDocsCodeCompiles compares the two.

const dsn = "user:password@tcp(db:3306)/app"

// slowQueries logs statements that take long.
type slowQueries struct {
	sqlmw.NullInterceptor // all that is not overridden passes through
}

func (slowQueries) ConnExecContext(ctx context.Context, conn driver.ExecerContext, query string, args []driver.NamedValue) (driver.Result, error) {
	start := time.Now()
	result, err := conn.ExecContext(ctx, query, args)
	if took := time.Since(start); took > time.Second {
		slog.WarnContext(ctx, "slow statement", "query", query, "took", took)
	}
	return result, err
}

func Example_interceptor() {
	db, err := mysqlinit.Open(dsn, mysqlinit.WithInterceptor(slowQueries{}))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// readAhead warms up each connection.
type readAhead struct{ sqlmw.NullInterceptor }

func (readAhead) ConnectorConnect(ctx context.Context, connector driver.Connector) (driver.Conn, error) {
	conn, err := connector.Connect(ctx) // prepared
	if err != nil {
		return nil, err
	}
	// On an error the connection is closed for you.
	_, err = conn.(driver.ExecerContext).ExecContext(ctx, "DO 1", nil)
	return conn, err
}

func Example_connect() {
	mysqlinit.Register("mysql-warm", mysqlinit.WithInterceptor(readAhead{}))
}

func Example_unwrap() {
	db, err := mysqlinit.Open(dsn+"?multiStatements=true", mysqlinit.WithInterceptor(slowQueries{}))
	if err != nil {
		log.Fatal(err)
	}
	conn, err := db.Conn(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	err = conn.Raw(func(raw any) error {
		below := raw.(interface{ Unwrap() driver.Conn }).Unwrap() // the MySQL driver's own
		result, err := below.(driver.ExecerContext).ExecContext(context.Background(), "DELETE FROM a; DELETE FROM b", nil)
		if err != nil {
			return err
		}
		log.Print(result.(mysql.Result).AllRowsAffected())
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
}

func Example_sqlmw() {
	sql.Register("mysql-logged", sqlmw.Driver(&mysqlinit.Driver{}, slowQueries{})) // was &mysql.MySQLDriver{}
}

func Example_otelsql() {
	db, err := xsam.Open("mysqlinit", dsn) // was "mysql"
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

func Example_otelsqlRegister() {
	name, err := nhat.Register("mysqlinit") // was "mysql"; XSAM's Register does the same
	if err != nil {
		log.Fatal(err)
	}
	db, err := sql.Open(name, dsn)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

func Example_otelsqlOpenDB() {
	d, err := mysqlinit.NewDriver(mysqlinit.WithGuard(true))
	if err != nil {
		log.Fatal(err)
	}
	connector, err := d.OpenConnector(dsn)
	if err != nil {
		log.Fatal(err)
	}
	db := xsam.OpenDB(connector)
	defer db.Close()
}

func Example_wrap() {
	traced, err := xsam.WrapDriver(&mysql.MySQLDriver{}).(driver.DriverContext).OpenConnector(dsn)
	if err != nil {
		log.Fatal(err)
	}
	connector, err := mysqlinit.Wrap(traced, mysqlinit.WithGuard(true))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}
