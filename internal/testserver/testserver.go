// Package testserver starts private throwaway servers, MariaDB or MySQL, for tests
// and for the race command. A server lives in a temporary folder and listens on a
// free loopback port. When the process that started it ends, in whatever way, the
// server is ended and the folder removed.
package testserver

import (
	"bytes"
	"context"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"
)

// EnvDSN names the environment variable with the DSN of a user's server. Tests to
// which the server's flags do not matter use that server instead of a throwaway one.
const EnvDSN = "MYSQLINIT_TEST_DSN"

// ErrNoServer is what Start returns if it finds no MariaDB server program.
var ErrNoServer = errors.New(`no MariaDB server program (mariadbd) was found, so no server can be started.
Get one, then run the same command again:
  Debian, Ubuntu   sudo apt-get install --no-install-recommends mariadb-server-core
  macOS            brew install mariadb
It need not be running: a private server is started and removed each time.
Or use your own server: for the tests set ` + EnvDSN + ` to its DSN, for the demo give the DSN:
  go run ./cmd/mysqlinit race 'user:password@tcp(127.0.0.1:3306)/database'`)

// ErrNoMySQL is what Start returns for Config.MySQL if it finds no MySQL server
// program.
var ErrNoMySQL = errors.New(`no MySQL server program (mysqld) was found. On Debian
  sh internal/testserver/fetch.sh mysql
fetches one into your cache folder, as make test does. Elsewhere put one on the PATH`)

// Accounts of every server. None has a password.
const (
	Root = "root" // has all privileges
	App  = "app"  // has all privileges on the database test, so it cannot set binlog_format
)

// Config says how a server should run. The zero Config is a MariaDB server with
// its defaults: the binary log is off.
type Config struct {
	MySQL   bool                    // MySQL instead of MariaDB
	Program Program                 // this program instead of the one that Start finds
	Binlog  string                  // the binary log's format (ROW, MIXED, STATEMENT); "": no binary log
	TLS     bool                    // accept TLS connections too, with a certificate that Server.Trusted verifies
	Args    []string                // further arguments of the server
	Env     []string                // added to this process's environment
	Prepare func(data string) error // changes the data folder before the server's first start
}

// Server is a running server.
type Server struct {
	MySQL   bool
	Addr    string         // host:port, on loopback
	Socket  string         // the Unix socket's path
	Trusted *x509.CertPool // with Config.TLS, verifies the server's certificate
	*Process
	program Program
}

// TB is the part of testing.TB that New needs. The command starts a server too, and
// should not link the testing package.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Error(...any)
	Fatal(...any)
	Skip(...any)
}

// AnyDSN returns the DSN of the user's server from MYSQLINIT_TEST_DSN. If that is
// not set, it returns the DSN of a borrowed throwaway server.
func AnyDSN(tb TB) string {
	tb.Helper()
	if dsn := os.Getenv(EnvDSN); dsn != "" {
		return dsn
	}
	return Borrow(tb, Config{Binlog: "MIXED"}).DSN(App, "")
}

// Exec runs statements on a pool, a connection or a transaction. If one fails, it
// fails the test.
func Exec(tb TB, on interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, statements ...string) {
	tb.Helper()
	for _, statement := range statements {
		if _, err := on.ExecContext(tb.Context(), statement); err != nil {
			tb.Fatal(statement+":", err)
		}
	}
}

// Variables returns the names of a server's system variables.
func Variables(tb TB, db *sql.DB) (names []string) {
	tb.Helper()
	rows, err := db.QueryContext(tb.Context(), "SHOW VARIABLES")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			tb.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	return names
}

// New starts a server that ends with the test. If the server cannot be started,
// New fails the test. It skips the test instead, but never in CI, if
//
//   - there is no MariaDB program and MYSQLINIT_TEST_DSN names a server,
//   - there is no MySQL program, since not every system has a package of it.
func New(tb TB, cfg Config) *Server {
	tb.Helper()
	s := startFor(tb, cfg)
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// startFor starts a server, and fails or skips the test if it cannot.
func startFor(tb TB, cfg Config) *Server {
	tb.Helper()
	s, err := Start(tb.Context(), cfg)
	mayBeMissing := errors.Is(err, ErrNoServer) && os.Getenv(EnvDSN) != "" || errors.Is(err, ErrNoMySQL)
	if mayBeMissing && os.Getenv("CI") == "" {
		tb.Skip("this test needs its own server: " + err.Error())
	}
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// DSN returns a DSN for an account of the server, with the database test. The
// parameters, such as "parseTime=true", can be empty.
func (s *Server) DSN(account, params string) string {
	if params != "" {
		params = "?" + params
	}
	return account + "@tcp(" + s.Addr + ")/test" + params
}

// Start starts a server and waits until it answers.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	program := cfg.Program
	if program.Path == "" {
		var err error
		if program, err = findProgram(cfg.MySQL); err != nil {
			return nil, err
		}
	}
	template, err := program.template(ctx)
	if err != nil {
		return nil, err
	}
	// Two servers can pick the same free port. Then only one of them starts.
	for range 5 {
		var s *Server
		if s, err = program.start(ctx, template, cfg); err == nil {
			return s, nil
		}
		if !strings.Contains(err.Error(), "in use") {
			break
		}
	}
	return nil, err
}

func (p Program) start(ctx context.Context, template string, cfg Config) (*Server, error) {
	folder, err := os.MkdirTemp("", "mysqlinit-")
	if err != nil {
		return nil, err
	}
	s := &Server{MySQL: p.MySQL, Socket: filepath.Join(folder, "socket"), program: p}
	args, err := s.prepare(folder, template, cfg)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if s.Process, err = StartProcess(folder, cfg.Env, append([]string{p.Path}, args...)...); err != nil {
		return nil, err
	}
	if err := s.await(ctx, p.accounts()...); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// prepare fills the server's folder, and returns the server's arguments.
func (s *Server) prepare(folder, template string, cfg Config) (args []string, err error) {
	data := filepath.Join(folder, "data")
	if err := os.CopyFS(data, os.DirFS(template)); err != nil {
		return nil, err
	}
	if cfg.Prepare != nil {
		if err := cfg.Prepare(data); err != nil {
			return nil, err
		}
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	args = s.program.arguments(data, "--bind-address=127.0.0.1", "--port="+strconv.Itoa(port), "--socket="+s.Socket,
		"--pid-file="+filepath.Join(folder, "pid"), "--skip-name-resolve", "--max-connections=500",
		// MariaDB starts by removing the temporary tables in this folder, even those of other servers.
		"--tmpdir="+folder,
		// The data has to survive Kill, but not a crash of the machine.
		"--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0")
	if cfg.Binlog != "" {
		args = append(args, "--log-bin=binlog", "--server-id=1", "--binlog-format="+cfg.Binlog)
	} else {
		args = append(args, "--skip-log-bin") // MySQL's default is on
	}
	if cfg.TLS {
		tlsArgs, trusted, err := certificate(folder)
		if err != nil {
			return nil, err
		}
		args, s.Trusted = append(args, tlsArgs...), trusted
	}
	return append(args, cfg.Args...), nil
}

// accounts returns the statements that create the accounts and their database.
// Each server runs them for itself, so they are not in the binary log.
func (p Program) accounts() []string {
	create := []string{
		"CREATE USER IF NOT EXISTS '" + Root + "'@'127.0.0.1'", // MySQL makes one for localhost only
		"CREATE USER IF NOT EXISTS '" + App + "'@'%'",
	}
	if p.MySQL && p.Share != "" {
		// MySQL 5.6 has no CREATE USER IF NOT EXISTS, but its GRANT creates the account. It
		// has an account without a name.
		create = []string{"DELETE FROM mysql.user WHERE User = ''", "FLUSH PRIVILEGES"}
	}
	return slices.Concat([]string{"SET sql_log_bin = 0", "CREATE DATABASE IF NOT EXISTS test"}, create, []string{
		"GRANT ALL ON *.* TO '" + Root + "'@'127.0.0.1' WITH GRANT OPTION",
		"GRANT ALL ON test.* TO '" + App + "'@'%'",
	})
}

// await waits until the server answers and has run the statements.
func (s *Server) await(ctx context.Context, statements ...string) error {
	db, err := s.admin()
	if err != nil {
		return err
	}
	defer db.Close()
	return s.Await(ctx, func(ctx context.Context) error {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		return execAll(ctx, conn, statements)
	})
}

// admin returns a pool that connects as Root through the server's socket.
func (s *Server) admin() (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.Logger = Root, "unix", s.Socket, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func execAll(ctx context.Context, conn *sql.Conn, statements []string) error {
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// Restart starts the server again, with the same address and data, and with more
// arguments after those of the first start. If the server still runs, it is killed
// before.
func (s *Server) Restart(ctx context.Context, more ...string) error {
	if err := s.Process.Restart(more...); err != nil {
		return err
	}
	return s.await(ctx)
}

// FreePort returns a free loopback port. It is below the range of ports that the
// system uses for outgoing connections, since one of those could take the port
// before the server listens.
func FreePort() (int, error) {
	l, err := Listen()
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// Listen listens on a free port as FreePort returns it.
func Listen() (net.Listener, error) {
	for range 100 {
		port := 15000 + rand.IntN(17000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return l, nil
		}
	}
	return nil, errors.New("testserver: no free port between 15000 and 32000 on 127.0.0.1")
}

// Serve calls handle for each connection, on its own goroutine, until the listener
// is closed. Then it waits for the goroutines.
func Serve(l net.Listener, handle func(net.Conn)) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		all.Go(func() { handle(conn) })
	}
}

// tail returns the last lines of a log.
func tail(log []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-10):], []byte("\n"))
}
