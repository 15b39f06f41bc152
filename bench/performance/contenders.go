package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net/url"
	"slices"

	"github.com/XSAM/otelsql"
	"github.com/go-sql-driver/mysql"
	"github.com/ngrok/sqlmw"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/mysqlinit/mysqlinit"
)

// contender is one way to open a pool that a user can choose.
type contender struct {
	name     string
	prepares bool // sessions are READ COMMITTED and, if the account can set it, ROW
	open     func(s server) (*sql.DB, error)
}

// server is what contenders connect to.
type server struct {
	addr      string
	isolation string // the name of the isolation level's variable
}

func (s server) dsn(account, params string) string {
	return account + "@tcp(" + s.addr + ")/test?" + params
}

// variables returns DSN parameters that set the isolation level and the binlog format.
func (s server) variables() string {
	return s.isolation + "=" + url.QueryEscape("'READ-COMMITTED'") + "&binlog_format=" + url.QueryEscape("'ROW'")
}

// sets returns the statements that do the same.
func (s server) sets() []string {
	return []string{"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET SESSION binlog_format = 'ROW'"}
}

// connecting are the contenders for opening a connection.
var connecting = []contender{
	{"plain driver", false, openPlain("")},
	{"plain driver, variables in the DSN", true, func(s server) (*sql.DB, error) { return sql.Open("mysql", s.dsn("root", s.variables())) }},
	{"two SETs after connecting", true, openAfterConnect(server.sets)},
	{"your own AfterConnect, one SET", true, openAfterConnect(func(s server) []string {
		return []string{"SET " + s.isolation + " = 'READ-COMMITTED', binlog_format = 'ROW'"}
	})},
	{"sqlmw, ConnectorConnect with two SETs", true, openSqlmw(true)},
	{"GORM, variables in the DSN", true, openGORM},
	{"mysqlinit", true, openOurs("root", "")},
	{"mysqlinit, connectTimeout=0", true, openOurs("root", "connectTimeout=0")},
	{"mysqlinit, a variable in the DSN", true, openOurs("root", "time_zone="+url.QueryEscape("'+03:00'"))},
	{"mysqlinit, ordinary account", true, openOurs("app", "")},
	{"mysqlinit, verify", true, openOurs("root", "verify=true")},
	{"mysqlinit, 1 init command", true, openOurs("root", "initCommand=DO+1")},
	{"mysqlinit, 2 init commands", true, openOurs("root", "initCommand=DO+1&initCommand=DO+2")},
	{"mysqlinit, 3 init commands", true, openOurs("root", "initCommand=DO+1&initCommand=DO+2&initCommand=DO+3")},
	{"mysqlinit, guard", true, openOurs("root", "guard=true")},
}

// querying are the contenders for queries. The others are compared with the first.
var querying = []contender{
	{"plain driver", false, openPlain("")},
	{"mysqlinit", true, openOurs("root", "")},
	{"mysqlinit, guard", true, openOurs("root", "guard=true")},
	{"mysqlinit, interceptor", true, openOurs("root", "", mysqlinit.WithInterceptor(sqlmw.NullInterceptor{}))},
	{"sqlmw", false, openSqlmw(false)},
	{"otelsql", false, func(s server) (*sql.DB, error) { return otelsql.Open("mysql", s.dsn("root", "")) }},
}

// transacting are the contenders for queries in a transaction, which the guard watches.
var transacting = querying[:3]

// named returns the contenders of those names.
func named(all []contender, names ...string) (found []contender) {
	for _, name := range names {
		found = append(found, all[slices.IndexFunc(all, func(c contender) bool { return c.name == name })])
	}
	return found
}

func namesOf(all []contender) (names []string) {
	for _, c := range all {
		names = append(names, c.name)
	}
	return names
}

func openPlain(params string) func(server) (*sql.DB, error) {
	return func(s server) (*sql.DB, error) { return sql.Open("mysql", s.dsn("root", params)) }
}

func openOurs(account, params string, opts ...mysqlinit.Option) func(server) (*sql.DB, error) {
	return func(s server) (*sql.DB, error) { return mysqlinit.Open(s.dsn(account, params), opts...) }
}

// afterConnect is a connector as programs write it by hand, modelled on pgx's
// AfterConnect.
type afterConnect struct {
	driver.Connector
	statements []string
}

func (a afterConnect) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := a.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return conn, execAll(ctx, conn, a.statements)
}

// execAll runs the statements. If one fails, it closes the connection.
func execAll(ctx context.Context, conn driver.Conn, statements []string) error {
	for _, statement := range statements {
		if _, err := conn.(driver.ExecerContext).ExecContext(ctx, statement, nil); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	return nil
}

func openAfterConnect(statements func(server) []string) func(server) (*sql.DB, error) {
	return func(s server) (*sql.DB, error) {
		cfg, err := mysql.ParseDSN(s.dsn("root", ""))
		if err != nil {
			return nil, err
		}
		connector, err := mysql.NewConnector(cfg)
		if err != nil {
			return nil, err
		}
		return sql.OpenDB(afterConnect{connector, statements(s)}), nil
	}
}

// setter prepares connections with an interceptor of sqlmw.
type setter struct {
	sqlmw.NullInterceptor
	statements []string
}

func (i setter) ConnectorConnect(ctx context.Context, connector driver.Connector) (driver.Conn, error) {
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return conn, execAll(ctx, conn, i.statements)
}

func openSqlmw(prepares bool) func(server) (*sql.DB, error) {
	return func(s server) (*sql.DB, error) {
		var interceptor setter
		if prepares {
			interceptor.statements = s.sets()
		}
		connector, err := sqlmw.Driver(mysql.MySQLDriver{}, interceptor).(driver.DriverContext).OpenConnector(s.dsn("root", ""))
		if err != nil {
			return nil, err
		}
		return sql.OpenDB(connector), nil
	}
}

func openGORM(s server) (*sql.DB, error) {
	db, err := gorm.Open(gormmysql.Open(s.dsn("root", "charset=utf8mb4&parseTime=True&loc=Local&"+s.variables())), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return nil, err
	}
	return db.DB()
}
