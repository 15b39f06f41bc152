package mysqlinit_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// open opens a pool that ends with the test.
func open(t *testing.T, dsn string, opts ...mysqlinit.Option) *sql.DB {
	t.Helper()
	db, err := mysqlinit.Open(dsn, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// wantSession reads a session's isolation level and binlog format.
func wantSession(t *testing.T, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, isolation, binlog string) {
	t.Helper()
	var gotIsolation, gotBinlog string
	// The name that MariaDB has in every version.
	err := q.QueryRowContext(t.Context(), "SELECT @@SESSION.tx_isolation, @@SESSION.binlog_format").Scan(&gotIsolation, &gotBinlog)
	if err != nil {
		t.Fatal(err)
	}
	if gotIsolation != isolation || gotBinlog != binlog {
		t.Errorf("session is %s and %s, want %s and %s", gotIsolation, gotBinlog, isolation, binlog)
	}
}

func TestHundredConnectionsArePrepared(t *testing.T) {
	for _, test := range []struct{ account, format, want string }{
		{testserver.Root, "MIXED", "ROW"},
		{testserver.App, "MIXED", "MIXED"},
	} {
		t.Run(test.account, func(t *testing.T) {
			s := testserver.New(t, testserver.Config{Binlog: test.format})
			db, err := sql.Open("mysqlinit", s.DSN(test.account, ""))
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var all sync.WaitGroup
			conns := make([]*sql.Conn, 100)
			for i := range conns {
				all.Go(func() {
					conn, err := db.Conn(t.Context())
					if err != nil {
						t.Error(err)
					}
					conns[i] = conn
				})
			}
			all.Wait()
			for _, conn := range conns {
				if conn != nil {
					wantSession(t, conn, "READ-COMMITTED", test.want)
					conn.Close()
				}
			}
		})
	}
}

func TestStatementFormatIsAnInitErrorWithTheCures(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "STATEMENT"})
	err := open(t, s.DSN(testserver.App, "")).PingContext(t.Context())
	initErr, ok := errors.AsType[*mysqlinit.InitError](err)
	if !ok {
		t.Fatalf("got %v, want an InitError", err)
	}
	for _, want := range []string{"1665", "binlog_format = ROW", "isolation=server", "binlog=server", "GRANT BINLOG ADMIN"} {
		if !strings.Contains(initErr.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != 1227 {
		t.Errorf("got %v, want error 1227 within", err)
	}
	db := open(t, s.DSN(testserver.Root, ""))
	wantSession(t, db, "READ-COMMITTED", "ROW")
	// With the binary log off the format does not matter.
	off := testserver.New(t, testserver.Config{Args: []string{"--binlog-format=STATEMENT"}})
	wantSession(t, open(t, off.DSN(testserver.App, "")), "READ-COMMITTED", "STATEMENT")
}

func TestEveryWayInPrepares(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "MIXED"})
	dsn := s.DSN(testserver.Root, "")
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	parent, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	name := "mysqlinit-test-" + rand.Text() // a name is taken once a process
	mysqlinit.Register(name, mysqlinit.WithIsolation(sql.LevelSerializable))
	serializable, err := sql.Open(name, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer serializable.Close()
	wantSession(t, serializable, "SERIALIZABLE", "ROW")

	must := func(c driver.Connector, err error) driver.Connector {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	connector := must(mysqlinit.NewConnector(cfg))
	for name, c := range map[string]driver.Connector{
		"OpenConnector":          must((&mysqlinit.Driver{}).OpenConnector(dsn)),
		"NewConnector":           connector,
		"Wrap":                   must(mysqlinit.Wrap(parent)),
		"Driver of a connector":  must(connector.Driver().(driver.DriverContext).OpenConnector(dsn)),
		"the legacy Driver.Open": legacy{&mysqlinit.Driver{}, dsn},
	} {
		t.Run(name, func(t *testing.T) {
			db := sql.OpenDB(c)
			defer db.Close()
			wantSession(t, db, "READ-COMMITTED", "ROW")
		})
	}
}

// legacy connects with a driver's Open, as programs from before DriverContext do.
type legacy struct {
	d   driver.Driver
	dsn string
}

func (l legacy) Connect(context.Context) (driver.Conn, error) { return l.d.Open(l.dsn) }
func (l legacy) Driver() driver.Driver                        { return l.d }
