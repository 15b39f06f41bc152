package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/inspect"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

var update = flag.Bool("update", false, "write the golden files of check")

func runCheck(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"check"}, args...), &out, &errs)
	return code, out.String(), unwrapped(t, &errs)
}

// unwrapped returns an error's text in one line. The screen wraps it.
func unwrapped(t *testing.T, errs *bytes.Buffer) string {
	t.Helper()
	checkWidth(t, errs.String(), 80)
	return strings.Join(strings.Fields(errs.String()), " ")
}

// golden compares an output with a file. It ignores what differs from run to run.
func golden(t *testing.T, name, got string) {
	t.Helper()
	for _, variable := range []struct{ match, instead string }{
		{`127\.0\.0\.1:[0-9]+`, "localhost:PORT"},
		{`[0-9-]+T[0-9:]+Z`, "TIME"},
		{`mysqlinit (\(devel\)|v[^ "\n]+)`, "mysqlinit TOOL"},
		{`[0-9]+\.[0-9]+\.[0-9]+[^, "\n]*`, "VERSION"},
		{`"comment": "[^"]*"`, `"comment": "COMMENT"`},
	} {
		got = regexp.MustCompile(variable.match).ReplaceAllString(got, variable.instead)
	}
	got = strings.ReplaceAll(got, "@VERSION", "@HOST") // the host of an account also looks like a version
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestCheck(t *testing.T) {
	t.Run("MariaDB", func(t *testing.T) {
		s := testserver.New(t, testserver.Config{Binlog: "MIXED"})
		checkGolden(t, s.DSN(testserver.App, ""), exitOK, "mariadb-app")
		checkGolden(t, s.DSN(testserver.Root, ""), exitFindings, "mariadb-root")
		logStatements(t, s)
		checkGolden(t, s.DSN(testserver.App, ""), exitFindings, "mariadb-statement-app")
	})
	t.Run("MySQL", func(t *testing.T) {
		s := testserver.New(t, testserver.Config{MySQL: true, Binlog: "ROW"})
		checkGolden(t, s.DSN(testserver.App, ""), exitOK, "mysql-app")
		logStatements(t, s)
		checkGolden(t, s.DSN(testserver.Root, ""), exitFindings, "mysql-statement-root")
	})
}

// checkGolden runs a check, with text and with JSON, and compares both outputs
// with golden files.
func checkGolden(t *testing.T, dsn string, wantCode int, name string) {
	t.Helper()
	code, stdout, stderr := runCheck(t, dsn)
	if code != wantCode || stderr != "" {
		t.Errorf("%s: exit code %d, %s", name, code, stderr)
	}
	golden(t, name+".txt", stdout)
	checkWidth(t, stdout, 80)
	t.Setenv("COLUMNS", "60")
	_, narrow, _ := runCheck(t, dsn)
	t.Setenv("COLUMNS", "80")
	for line := range strings.Lines(narrow) {
		if !strings.HasPrefix(line, "  http") && !strings.HasPrefix(line, "        ") { // links and lines to copy are not wrapped
			checkWidth(t, line, 60)
		}
	}

	code, stdout, stderr = runCheck(t, dsn, "--json")
	if code != wantCode || stderr != "" {
		t.Errorf("%s: exit code %d, %s", name, code, stderr)
	}
	golden(t, name+".json", stdout)
	var c checked
	if err := json.Unmarshal([]byte(stdout), &c); err != nil || c.Version != checkVersion || len(c.Findings) == 0 {
		t.Errorf("%s: %+v, %v", name, c, err)
	}
}

// If both drivers' sessions are alike, nothing is said about the plain driver's.
func TestCheckIfBothAreRepeatableRead(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	for params, want := range map[string]bool{"": true, "isolation=server": false, "tx_isolation=%27READ-COMMITTED%27": false} {
		_, stdout, stderr := runCheck(t, s.DSN(testserver.App, params))
		if strings.Contains(stdout, "Through the plain driver sessions are REPEATABLE READ") != want {
			t.Errorf("%q: %s%s", params, stdout, stderr)
		}
	}
}

// logStatements makes a server's new sessions log in STATEMENT format.
func logStatements(t *testing.T, s *testserver.Server) {
	t.Helper()
	db, err := sql.Open("mysql", s.DSN(testserver.Root, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	testserver.Exec(t, db, "SET GLOBAL binlog_format = 'STATEMENT'")
}

// The cures of the STATEMENT format that stand in the DSN end the finding's
// severity. One cause is one finding.
func TestCheckIfStatementIsCured(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "STATEMENT"})
	for params, want := range map[string]struct {
		code     int
		severity inspect.Severity
		text     string
	}{
		"":                                     {exitFindings, inspect.Error, "refuses to connect"},
		"isolation=server":                     {exitOK, inspect.Info, "can write because it is REPEATABLE-READ"},
		"binlog=server":                        {exitOK, inspect.Info, "can only read"},
		"isolation=serializable&binlog=server": {exitOK, inspect.Info, "can write because it is SERIALIZABLE"},
	} {
		code, stdout, stderr := runCheck(t, "-json", s.DSN(testserver.App, params))
		var c checked
		if err := json.Unmarshal([]byte(stdout), &c); err != nil {
			t.Fatalf("%v: exit code %d, %s", err, code, stderr)
		}
		i := slices.IndexFunc(c.Findings, func(f inspect.Finding) bool { return f.ID == "binlog-statement" })
		if i < 0 || code != want.code || c.Findings[i].Severity != want.severity || !strings.Contains(c.Findings[i].What, want.text) {
			t.Errorf("%q: exit code %d, %s", params, code, stdout)
		}
		if slices.ContainsFunc(c.Findings, func(f inspect.Finding) bool { return f.ID == "driver-refuses" }) {
			t.Errorf("%q: a second finding for the same cause: %s", params, stdout)
		}
	}
	dsn := s.DSN(testserver.App, "")
	for _, test := range []struct {
		args []string
		code int
	}{
		{[]string{"-fail-on=error", dsn}, exitFindings},
		{[]string{"-fail-on=never", dsn}, exitOK},
		{[]string{"-ignore=wait-timeout, binlog-statement", dsn}, exitOK},
		{[]string{"-ignore=wait-timeout", dsn}, exitFindings},
		{[]string{"-fail-on=info", dsn}, exitError},
	} {
		code, stdout, stderr := runCheck(t, test.args...)
		if code != test.code {
			t.Errorf("%q: exit code %d, %s%s", test.args, code, stdout, stderr)
		}
		if strings.Contains(test.args[0], "wait-timeout") && strings.Contains(stdout, "[wait-timeout]") {
			t.Errorf("%q: not ignored: %s", test.args, stdout)
		}
	}
	code, stdout, _ := runCheck(t, "-fail-on=error", s.DSN(testserver.Root, ""))
	if code != exitOK || !strings.Contains(stdout, "[account-privileges]") {
		t.Errorf("a warning with -fail-on=error: exit code %d, %s", code, stdout)
	}
}

// The DSN sets a variable under a name that this server does not know: the plain
// driver cannot connect.
func TestCheckIfPlainCannotConnect(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "MIXED"})
	code, stdout, stderr := runCheck(t, "-json", s.DSN(testserver.App, "transaction_isolation='SERIALIZABLE'"))
	var c checked
	if err := json.Unmarshal([]byte(stdout), &c); err != nil {
		t.Fatalf("%v: exit code %d, %s", err, code, stderr)
	}
	if code != exitOK || c.Plain != nil || c.Mysqlinit == nil || c.Mysqlinit.Isolation != "SERIALIZABLE" {
		t.Errorf("exit code %d, %s", code, stdout)
	}
	seen := false
	for _, f := range c.Findings {
		seen = seen || f.ID == "plain-refuses" && f.Severity == inspect.Info && strings.Contains(f.Why, "1193")
	}
	if !seen {
		t.Errorf("%+v", c.Findings)
	}
}

// A check has one connection at a time: an account can be allowed few.
func TestCheckTakesOneConnectionAtATime(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	var open, most, all atomic.Int32
	mysql.RegisterDialContext("counted", func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		all.Add(1)
		most.Store(max(most.Load(), open.Add(1)))
		return &countedConn{TCPConn: conn.(*net.TCPConn), open: &open}, nil
	})
	defer mysql.DeregisterDialContext("counted")
	code, stdout, stderr := runCheck(t, "app@counted("+s.Addr+")/test")
	if code != exitOK || most.Load() != 1 || all.Load() < 2 {
		t.Errorf("exit code %d, %d connections, %d at a time, %s%s", code, all.Load(), most.Load(), stdout, stderr)
	}
}

// countedConn is the network's connection, except that it notes when it is closed.
type countedConn struct {
	*net.TCPConn
	open *atomic.Int32
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.TCPConn.Close()
}

// A wrong password is tried once: servers lock an account after a few.
func TestCheckTriesAPasswordOnce(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	root, err := sql.Open("mysql", s.DSN(testserver.Root, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	// The server counts these before it answers, unlike Aborted_connects.
	denied := func() (n int) {
		var name string
		if err := root.QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Access_denied_errors'").Scan(&name, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := denied()
	code, _, stderr := runCheck(t, "app:hunter2@tcp("+s.Addr+")/test")
	if n := denied() - before; code != exitError || n != 1 {
		t.Errorf("exit code %d, %d logins, %s", code, n, stderr)
	}
}

// A session that is not what the DSN asks for is an error, even if the DSN does
// not ask to verify it. This driver cannot see what a prepared statement does.
func TestCheckIfSessionDiffers(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "MIXED"})
	drift := "initCommand=PREPARE+s+FROM+%27SET+SESSION+TRANSACTION+ISOLATION+LEVEL+SERIALIZABLE%27&initCommand=EXECUTE+s"
	for _, params := range []string{drift, "verify=false&" + drift} {
		code, stdout, stderr := runCheck(t, "-json", s.DSN(testserver.App, params))
		var c checked
		if err := json.Unmarshal([]byte(stdout), &c); err != nil {
			t.Fatalf("%v: exit code %d, %s", err, code, stderr)
		}
		f := c.Findings[0]
		if code != exitFindings || c.Mysqlinit.Isolation != "SERIALIZABLE" || f.ID != "session-differs" || f.Severity != inspect.Error ||
			!strings.Contains(f.Why, "SERIALIZABLE instead of READ-COMMITTED") || f.Cure == "" {
			t.Errorf("%s: exit code %d, %s", params, code, stdout)
		}
	}
}

func TestCheckErrors(t *testing.T) {
	s := testserver.New(t, testserver.Config{})
	for _, test := range []struct {
		args []string
		text string
	}{
		{nil, "want one DSN"},
		{[]string{"a", "b"}, "want one DSN"},
		{[]string{"-nonsense", "a"}, "nonsense"},
		{[]string{"app:hunter2@tcp(" + s.Addr + ")/test"}, "1045"},
		{[]string{"app:hunter2@tcp(" + s.Addr + ")/test?binlog=wrong"}, "binlog"},
		{[]string{"app:hunter2@tcp(127.0.0.1:1)/test"}, "refused"},
		{[]string{"app:hunter2@nonsense"}, "DSN"},
	} {
		code, stdout, stderr := runCheck(t, test.args...)
		if code != exitError || stdout != "" || !strings.Contains(stderr, test.text) || strings.Contains(stderr, "hunter2") {
			t.Errorf("%q: exit code %d, %q, %q", test.args, code, stdout, stderr)
		}
	}
}

// A server that accepts and stays silent ends with connectTimeout. The error says
// where, doing what, and for how long; JSON is an object with the same.
func TestCheckOnASilentServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	addr := listener.Addr().String()
	dsn := "app:hunter2@tcp(" + addr + ")/test?connectTimeout=200ms"
	start := time.Now()
	code, stdout, stderr := runCheck(t, "-json", dsn)
	var c checked
	if err := json.Unmarshal([]byte(stdout), &c); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if code != exitError || c.Failure == nil || c.Failure.Seconds < 0.2 || c.Failure.Step != "connecting with the driver mysqlinit" ||
		c.Host != addr || c.Time.IsZero() || c.Findings == nil || !strings.Contains(c.Verdict, "no result") || strings.Contains(stdout, "hunter2") {
		t.Fatalf("exit code %d, %s", code, stdout)
	}
	failed := fmt.Sprintf("mysqlinit check: connecting with the driver mysqlinit failed after %.1f s", c.Failure.Seconds)
	for _, want := range []string{failed, "checked " + addr + " as app at 20", "by mysqlinit ", "error connectTimeout of 200ms"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in %s", want, stderr)
		}
	}
	plain, _, err := openPlain(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := plain.PingContext(t.Context()); err == nil || !strings.Contains(err.Error(), "connectTimeout of 200ms ended") {
		t.Errorf("the plain driver: %v", err)
	}
	if elapsed := time.Since(start); elapsed > 10*time.Second {
		t.Errorf("it took %v", elapsed)
	}
}

// A broken DSN is an object in JSON, too.
func TestCheckOfABrokenDSN(t *testing.T) {
	code, stdout, stderr := runCheck(t, "-json", "app:hunter2@nonsense")
	var c checked
	if err := json.Unmarshal([]byte(stdout), &c); err != nil || code != exitError || c.Failure == nil || c.Failure.Step != "reading the DSN" {
		t.Errorf("%v: exit code %d, %s%s", err, code, stdout, stderr)
	}
	if strings.Contains(stdout+stderr, "hunter2") {
		t.Errorf("the password is shown: %s%s", stdout, stderr)
	}
}
