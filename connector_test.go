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

// openConfig opens a pool with the Config of a DSN. edit can change the Config, and
// can be nil.
func openConfig(t *testing.T, dsn string, edit func(*mysql.Config)) *sql.DB {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(cfg)
	}
	c, err := mysqlinit.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { db.Close() })
	return db
}

// apply is Config.Apply for options that cannot fail.
func apply(t *testing.T, cfg *mysql.Config, opt mysql.Option) {
	t.Helper()
	if err := cfg.Apply(opt); err != nil {
		t.Fatal(err)
	}
}

// wantSession reads a session's isolation level and binlog format.
func wantSession(t *testing.T, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, isolation, binlog string) {
	t.Helper()
	var gotIsolation, gotBinlog string
	var err error
	for _, name := range []string{"tx_isolation", "transaction_isolation"} { // no one name works on all servers
		err = q.QueryRowContext(t.Context(), "SELECT @@SESSION."+name+", @@SESSION.binlog_format").Scan(&gotIsolation, &gotBinlog)
		if err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if gotIsolation != isolation || gotBinlog != binlog {
		t.Errorf("session is %s and %s, want %s and %s", gotIsolation, gotBinlog, isolation, binlog)
	}
}

// onBoth runs a test on a server of either kind: MariaDB, which knows
// tx_isolation, and MySQL, which knows only transaction_isolation.
func onBoth(t *testing.T, cfg testserver.Config, test func(t *testing.T, s *testserver.Server)) {
	for name, mysql := range map[string]bool{"MariaDB": false, "MySQL": true} {
		cfg.MySQL = mysql
		t.Run(name, func(t *testing.T) { test(t, testserver.Borrow(t, cfg)) })
	}
}

func TestHundredConnectionsArePrepared(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, hundredConnections)
}

func hundredConnections(t *testing.T, s *testserver.Server) {
	for _, test := range []struct{ account, want string }{
		{testserver.Root, "ROW"},
		{testserver.App, "MIXED"},
	} {
		t.Run(test.account, func(t *testing.T) {
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
	onBoth(t, testserver.Config{Binlog: "STATEMENT"}, statementFormat)
	// If the binary log is off, the format does not matter.
	onBoth(t, testserver.Config{Args: []string{"--binlog-format=STATEMENT"}}, func(t *testing.T, off *testserver.Server) {
		wantSession(t, open(t, off.DSN(testserver.App, "")), "READ-COMMITTED", "STATEMENT")
	})
}

// smallestPrivilege returns the smallest privilege that lets an account set
// binlog_format.
func smallestPrivilege(s *testserver.Server) string {
	if s.MySQL {
		return "SESSION_VARIABLES_ADMIN"
	}
	return "BINLOG ADMIN"
}

func statementFormat(t *testing.T, s *testserver.Server) {
	err := open(t, s.DSN(testserver.App, "")).PingContext(t.Context())
	initErr, ok := errors.AsType[*mysqlinit.InitError](err)
	if !ok {
		t.Fatalf("got %v, want an InitError", err)
	}
	rest := initErr.Error()
	for _, want := range []string{"1665", "is not allowed to change", "binlog_format = ROW (or MIXED)", "isolation=server", "binlog=server", "GRANT " + smallestPrivilege(s), "it can then", "binlog_format = 'ROW'"} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("the error lacks %q, or has it in another place: %v", want, err)
		}
		rest = after
	}
	if strings.Contains(initErr.Cure, "SUPER") {
		t.Errorf("the cure proposes SUPER: %v", err)
	}
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != 1227 {
		t.Errorf("got %v, want error 1227 within", err)
	}
	db := open(t, s.DSN(testserver.Root, ""))
	wantSession(t, db, "READ-COMMITTED", "ROW")
}

func TestEveryWayInPrepares(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, everyWayIn)
}

func everyWayIn(t *testing.T, s *testserver.Server) {
	dsn := s.DSN(testserver.Root, "")
	for name, c := range waysIn(t, dsn) {
		t.Run(name, func(t *testing.T) {
			db := sql.OpenDB(c)
			defer db.Close()
			wantSession(t, db, "READ-COMMITTED", "ROW")
		})
	}
	// Each way is also tried with options, and by opening its Driver() again.
	options := []mysqlinit.Option{mysqlinit.WithIsolation(sql.LevelSerializable), mysqlinit.WithInitCommand("SET @x = 7")}
	ways := waysIn(t, dsn, options...)
	name := "mysqlinit-test-" + rand.Text() // a process can register a name once
	mysqlinit.Register(name, options...)
	registered, err := sql.Open(name, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer registered.Close()
	pools := map[string]*sql.DB{"Register": registered, "Open": open(t, dsn, options...)}
	for name, c := range ways {
		pools[name] = sql.OpenDB(c)
		defer pools[name].Close()
	}
	for name, db := range pools {
		t.Run(name+" with options", func(t *testing.T) {
			wantSession(t, db, "SERIALIZABLE", "ROW")
			if got := readVariable(t, db, "@x"); got != "7" {
				t.Errorf("the init command has not run: @x is %s", got)
			}
		})
	}
}

// waysIn returns a connector from each way in.
func waysIn(t *testing.T, dsn string, opts ...mysqlinit.Option) map[string]driver.Connector {
	t.Helper()
	must := func(c driver.Connector, err error) driver.Connector {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	d, err := mysqlinit.NewDriver(opts...)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	connector := must(mysqlinit.NewConnector(cfg, opts...))
	return map[string]driver.Connector{
		"OpenConnector":          must(d.OpenConnector(dsn)),
		"the legacy Driver.Open": legacy{d, dsn},
		"NewConnector":           connector,
		"Driver of a connector":  must(connector.Driver().(driver.DriverContext).OpenConnector(dsn)),
		"Wrap":                   wrap(t, must(mysql.NewConnector(cfg)), opts...),
	}
}

// legacy connects with a driver's Open, as programs did before DriverContext.
type legacy struct {
	d   driver.Driver
	dsn string
}

func (l legacy) Connect(context.Context) (driver.Conn, error) { return l.d.Open(l.dsn) }
func (l legacy) Driver() driver.Driver                        { return l.d }
