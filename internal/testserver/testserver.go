// Package testserver starts private, throwaway servers, of MariaDB or MySQL, for
// tests and for the race command. A server lives in a temporary folder, listens on a free
// loopback port, and goes, folder and all, with the process that started it,
// however that ends.
package testserver

import (
	"bytes"
	"context"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// EnvDSN names the environment variable whose DSN tests use instead of a
// throwaway server, where the server's flags do not matter to them.
const EnvDSN = "MYSQLINIT_TEST_DSN"

// ErrNoServer is what Start returns where no server program is found.
var ErrNoServer = errors.New(`no MariaDB server program (mariadbd) is found, so none can be started.
Get one, then run the same command again:
  Debian, Ubuntu   sudo apt-get install --no-install-recommends mariadb-server-core
  macOS            brew install mariadb
It need not be running: a private server is started and removed each time.
Or use a server of yours: for the tests set ` + EnvDSN + ` to its DSN, for the demo name the DSN:
  go run ./cmd/mysqlinit race 'user:password@tcp(127.0.0.1:3306)/database'`)

// ErrNoMySQL is the same for Config.MySQL.
var ErrNoMySQL = errors.New(`no MySQL server program (mysqld) is found. On Debian
  sh internal/testserver/fetch-mysql.sh
fetches one into your cache folder, as make test does; elsewhere put one on the PATH`)

// Accounts of every server. None has a password.
const (
	Root = "root" // may do anything
	App  = "app"  // may use the database test, and not set binlog_format
)

// Config says how a server shall run. The zero Config is MariaDB's defaults: the
// binary log is off.
type Config struct {
	MySQL  bool     // instead of MariaDB
	Binlog string   // the binary log's format (ROW, MIXED, STATEMENT); "": no binary log
	TLS    bool     // take connections with TLS too, under a certificate that Server.Trusted knows
	Args   []string // further arguments of the server
}

// Server is a running server.
type Server struct {
	MySQL   bool
	Addr    string         // host:port, on loopback
	Socket  string         // the Unix socket's path
	Trusted *x509.CertPool // with Config.TLS, what the server's certificate is verified with
	folder  string
	keeper  *exec.Cmd
	alive   io.Closer // closing it ends the server
	ended   io.Reader // ends with the server
}

// TB is what New needs of a testing.TB, named here so that the command, which
// starts a server as well, does not carry the testing package.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Error(...any)
	Fatal(...any)
	Skip(...any)
}

// AnyDSN returns the DSN of the user's server, from MYSQLINIT_TEST_DSN, and
// that of a throwaway server where it is not set.
func AnyDSN(tb TB) string {
	tb.Helper()
	if dsn := os.Getenv(EnvDSN); dsn != "" {
		return dsn
	}
	return New(tb, Config{Binlog: "MIXED"}).DSN(App, "")
}

// New starts a server that ends with the test, and fails the test where it
// cannot. A test is skipped, never in CI, for somebody who tests with a server of
// their own and has no program to start another, and where there is no MySQL,
// which not every system has a package of.
func New(tb TB, cfg Config) *Server {
	tb.Helper()
	s, err := Start(tb.Context(), cfg)
	mayBeMissing := errors.Is(err, ErrNoServer) && os.Getenv(EnvDSN) != "" || errors.Is(err, ErrNoMySQL)
	if mayBeMissing && os.Getenv("CI") == "" {
		tb.Skip("this test wants a server of its own: " + err.Error())
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// DSN returns a DSN for an account of the server, in the database test. The
// parameters, such as "parseTime=true", may be empty.
func (s *Server) DSN(account, params string) string {
	if params != "" {
		params = "?" + params
	}
	return account + "@tcp(" + s.Addr + ")/test" + params
}

// keep starts the server in the background of a shell that waits for the end
// of its standard input, which comes when this process ends in whatever way,
// and then kills the server and removes the folder.
// The server holds the shell's standard output open: its end shows there.
const keep = `trap '' INT TERM HUP
folder=$1; shift
"$@" 3>&1 </dev/null >"$folder/log" 2>&1 &
exec >/dev/null
read -r _
kill -9 $! 2>/dev/null
wait 2>/dev/null
rm -rf "$folder"`

// Start starts a server and waits until it answers.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	program, err := findProgram(cfg.MySQL)
	if err != nil {
		return nil, err
	}
	template, err := program.template(ctx)
	if err != nil {
		return nil, err
	}
	// Two servers may pick the same free port: then one cannot start.
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

func (p program) start(ctx context.Context, template string, cfg Config) (*Server, error) {
	folder, err := os.MkdirTemp("", "mysqlinit-")
	if err != nil {
		return nil, err
	}
	kept := false // by the keeper, which then removes it
	defer func() {
		if !kept {
			os.RemoveAll(folder)
		}
	}()
	data := filepath.Join(folder, "data")
	if err := os.CopyFS(data, os.DirFS(template)); err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	s := &Server{MySQL: p.mysql, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Socket: filepath.Join(folder, "socket"), folder: folder}
	args := p.arguments(data, "--bind-address=127.0.0.1", "--port="+strconv.Itoa(port), "--socket="+s.Socket,
		"--pid-file="+filepath.Join(folder, "pid"), "--skip-name-resolve", "--max-connections=500",
		// A throwaway server has nothing to keep through a crash.
		"--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0")
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
	args = append(args, cfg.Args...)
	s.keeper = exec.Command("/bin/sh", append([]string{"-c", keep, "keep", folder, p.path}, args...)...)
	detach(s.keeper)
	if s.alive, err = s.keeper.StdinPipe(); err != nil {
		return nil, err
	}
	if s.ended, err = s.keeper.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := s.keeper.Start(); err != nil {
		return nil, err
	}
	kept = true
	if err := s.await(ctx); err != nil {
		log, _ := os.ReadFile(filepath.Join(folder, "log"))
		return nil, errors.Join(fmt.Errorf("%s did not start: %w\n%s", p.path, err, tail(log)), s.Stop())
	}
	return s, nil
}

// await waits for the server's first answer, and makes the accounts.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("no answer within 30 s"))
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	go func() {
		_, _ = io.Copy(io.Discard, s.ended)
		giveUp(errors.New("it has ended"))
	}()
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.Logger = Root, "unix", s.Socket, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	for db.PingContext(ctx) != nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
	for _, statement := range []string{
		"SET sql_log_bin = 0",
		"CREATE DATABASE IF NOT EXISTS test",
		"CREATE USER IF NOT EXISTS '" + Root + "'@'127.0.0.1'", // MySQL makes one for localhost only
		"GRANT ALL ON *.* TO '" + Root + "'@'127.0.0.1' WITH GRANT OPTION",
		"CREATE USER IF NOT EXISTS '" + App + "'@'%'",
		"GRANT ALL ON test.* TO '" + App + "'@'%'",
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends the server and removes its folder.
func (s *Server) Stop() error {
	return errors.Join(s.alive.Close(), s.keeper.Wait())
}

// FreePort returns a free loopback port below the range that the system hands
// out for outgoing connections, one of which might take it in between.
func FreePort() (int, error) {
	l, err := Listen()
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// Listen listens on such a port.
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

// tail returns the last lines of a log.
func tail(log []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-10):], []byte("\n"))
}
