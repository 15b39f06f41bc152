package integration

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"testing"

	xsam "github.com/XSAM/otelsql"
	"github.com/go-sql-driver/mysql"
	"github.com/ngrok/sqlmw"
	nhat "go.nhat.io/otelsql"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// way is one way to combine a middleware with this driver.
type way struct {
	name string
	open func(dsn string) (*sql.DB, error)
	sees func() int // how many calls the middleware has seen
}

// counter is a sqlmw interceptor that counts queries.
type counter struct {
	sqlmw.NullInterceptor
	queries *int
}

func (c counter) ConnQueryContext(ctx context.Context, conn driver.QueryerContext, query string, args []driver.NamedValue) (context.Context, driver.Rows, error) {
	*c.queries++
	return c.NullInterceptor.ConnQueryContext(ctx, conn, query, args)
}

// connectorOf returns a connector for the DSN from a driver that has OpenConnector.
func connectorOf(d driver.Driver, dsn string) (driver.Connector, error) {
	return d.(driver.DriverContext).OpenConnector(dsn)
}

func openDB(c driver.Connector, err error) (*sql.DB, error) {
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// legacy connects with Driver.Open, as programs did before there was DriverContext.
type legacy struct {
	driver driver.Driver
	dsn    string
}

func (l legacy) Connect(context.Context) (driver.Conn, error) { return l.driver.Open(l.dsn) }
func (l legacy) Driver() driver.Driver                        { return l.driver }

func ways(t *testing.T) []way {
	recorder := tracetest.NewSpanRecorder()
	traces := trace.NewTracerProvider(trace.WithSpanProcessor(recorder))
	spans := func() (n int) {
		for _, span := range recorder.Ended() {
			if name := span.Name(); strings.Contains(name, "query") { // sql.conn.query; sql:query
				n++
			}
		}
		return n
	}
	queries := 0
	counted := func() int { return queries }
	i := counter{queries: &queries}
	xsamOption, nhatOption := xsam.WithTracerProvider(traces), nhat.WithTracerProvider(traces)
	nhatRoot := nhat.AllowRoot()

	xsamName, err := xsam.Register("mysqlinit", xsamOption)
	if err != nil {
		t.Fatal(err)
	}
	nhatName, err := nhat.Register("mysqlinit", nhatOption, nhatRoot)
	if err != nil {
		t.Fatal(err)
	}
	sqlmwDriver := sqlmw.Driver(&mysqlinit.Driver{}, i)
	wrap := func(c driver.Connector, err error) (*sql.DB, error) {
		if err != nil {
			return nil, err
		}
		ours, err := mysqlinit.Wrap(c)
		return openDB(ours, err)
	}
	return []way{
		// The middleware is outside.
		{"sqlmw.Driver over ours", func(dsn string) (*sql.DB, error) { return openDB(connectorOf(sqlmwDriver, dsn)) }, counted},
		{"sqlmw.Driver over ours, legacy Open", func(dsn string) (*sql.DB, error) { return openDB(legacy{sqlmwDriver, dsn}, nil) }, counted},
		{"XSAM Register", func(dsn string) (*sql.DB, error) { return sql.Open(xsamName, dsn) }, spans},
		{"XSAM Open", func(dsn string) (*sql.DB, error) { return xsam.Open("mysqlinit", dsn, xsamOption) }, spans},
		{"XSAM OpenDB", func(dsn string) (*sql.DB, error) {
			c, err := connectorOf(&mysqlinit.Driver{}, dsn)
			if err != nil {
				return nil, err
			}
			return xsam.OpenDB(c, xsamOption), nil
		}, spans},
		{"XSAM WrapDriver over ours, legacy Open", func(dsn string) (*sql.DB, error) {
			return openDB(legacy{xsam.WrapDriver(&mysqlinit.Driver{}, xsamOption), dsn}, nil)
		}, spans},
		{"nhat Register", func(dsn string) (*sql.DB, error) { return sql.Open(nhatName, dsn) }, spans},
		{"nhat Wrap over ours", func(dsn string) (*sql.DB, error) {
			return openDB(connectorOf(nhat.Wrap(&mysqlinit.Driver{}, nhatOption, nhatRoot), dsn))
		}, spans},
		// The middleware is inside.
		{"Wrap of sqlmw over MySQL", func(dsn string) (*sql.DB, error) {
			return wrap(connectorOf(sqlmw.Driver(&mysql.MySQLDriver{}, i), dsn))
		}, counted},
		{"Wrap of XSAM over MySQL", func(dsn string) (*sql.DB, error) {
			return wrap(connectorOf(xsam.WrapDriver(&mysql.MySQLDriver{}, xsamOption), dsn))
		}, spans},
		{"Wrap of nhat over MySQL", func(dsn string) (*sql.DB, error) {
			return wrap(connectorOf(nhat.Wrap(&mysql.MySQLDriver{}, nhatOption, nhatRoot), dsn))
		}, spans},
		// An interceptor is inside and the middleware is outside.
		{"XSAM OpenDB over WithInterceptor", func(dsn string) (*sql.DB, error) {
			d, err := mysqlinit.NewDriver(mysqlinit.WithInterceptor(i))
			if err != nil {
				return nil, err
			}
			c, err := d.OpenConnector(dsn)
			if err != nil {
				return nil, err
			}
			return xsam.OpenDB(c, xsamOption), nil
		}, func() int { return min(spans(), counted()) }},
	}
}

// session reads the settings of a prepared connection.
func session(db *sql.DB) (isolation, binlog string, err error) {
	err = db.QueryRowContext(context.Background(), "SELECT @@SESSION.tx_isolation, @@SESSION.binlog_format").Scan(&isolation, &binlog)
	return isolation, binlog, err
}

func TestEveryMiddlewareGetsPreparedConnections(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "MIXED"})
	for _, w := range ways(t) {
		t.Run(w.name, func(t *testing.T) {
			db, err := w.open(s.DSN(testserver.Root, ""))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxIdleConns(0) // each query on a new connection
			before := w.sees()
			for range 3 {
				if isolation, binlog, err := session(db); err != nil || isolation != "READ-COMMITTED" || binlog != "ROW" {
					t.Errorf("got %s, %s, %v", isolation, binlog, err)
				}
			}
			if n := w.sees() - before; n < 3 {
				t.Errorf("the middleware has seen %d queries, want at least 3", n)
			}
		})
	}
}

// The guard works inside every middleware. It works outside a middleware whose connections
// have all methods of the driver's connections. Otherwise Connect's error names the missing
// method.
func TestGuardUnderAndOverMiddleware(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "MIXED"})
	d, err := mysqlinit.NewDriver(mysqlinit.WithGuard(true))
	if err != nil {
		t.Fatal(err)
	}
	dsn := s.DSN(testserver.Root, "")
	ours, err := d.OpenConnector(dsn)
	if err != nil {
		t.Fatal(err)
	}
	guard := func(c driver.Connector, err error) (*sql.DB, error) {
		if err != nil {
			return nil, err
		}
		over, err := mysqlinit.Wrap(c, mysqlinit.WithGuard(true))
		return openDB(over, err)
	}
	for _, test := range []struct {
		name    string
		open    func() (*sql.DB, error)
		missing string
	}{
		{"under sqlmw", func() (*sql.DB, error) { return openDB(connectorOf(sqlmw.Driver(d, sqlmw.NullInterceptor{}), dsn)) }, ""},
		{"under XSAM", func() (*sql.DB, error) { return xsam.OpenDB(ours), nil }, ""},
		{"under nhat", func() (*sql.DB, error) { return openDB(connectorOf(nhat.Wrap(d), dsn)) }, ""},
		{"over sqlmw", func() (*sql.DB, error) {
			return guard(connectorOf(sqlmw.Driver(&mysql.MySQLDriver{}, sqlmw.NullInterceptor{}), dsn))
		}, ""},
		{"over XSAM", func() (*sql.DB, error) { return guard(connectorOf(xsam.WrapDriver(&mysql.MySQLDriver{}), dsn)) }, ""},
		{"over nhat", func() (*sql.DB, error) { return guard(connectorOf(nhat.Wrap(&mysql.MySQLDriver{}), dsn)) }, "IsValid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			db, err := test.open()
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			if test.missing != "" {
				if err := db.Ping(); err == nil || !strings.Contains(err.Error(), "WithGuard") || !strings.Contains(err.Error(), test.missing) {
					t.Errorf("got %v, want an error that names %s", err, test.missing)
				}
				return
			}
			for _, statement := range []string{"SET SESSION tx_isolation = 'SERIALIZABLE'", "BEGIN", "USE mysql"} {
				if _, err := db.Exec(statement); err != nil {
					t.Fatal(err)
				}
				var got string
				err := db.QueryRow("SELECT CONCAT_WS(' ', @@SESSION.tx_isolation, @@SESSION.binlog_format, @@in_transaction, DATABASE())").Scan(&got)
				if err != nil || got != "READ-COMMITTED ROW 0 test" {
					t.Errorf("after %s: got %s, %v", statement, got, err)
				}
			}
		})
	}
}
