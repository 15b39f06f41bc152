package mysqlinit_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// The tests in this file are about the answers of real servers.

// No system variable of a real server is taken for a misspelt key.
func TestServersVariablesAreNoMisspellings(t *testing.T) {
	onBoth(t, testserver.Config{}, func(t *testing.T, s *testserver.Server) {
		plain, err := sql.Open("mysql", s.DSN(testserver.Root, ""))
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		names := testserver.Variables(t, plain)
		for _, name := range names {
			if _, err := (&mysqlinit.Driver{}).OpenConnector("/?" + name + "=1"); err != nil {
				t.Error(err)
			}
		}
		if len(names) < 300 {
			t.Errorf("read %d variables", len(names))
		}
	})
}

func readVariable(t *testing.T, db *sql.DB, expr string) (value string) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT "+expr).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func wantServerError(t *testing.T, err error, number uint16, texts ...string) {
	t.Helper()
	if _, ok := errors.AsType[*mysqlinit.InitError](err); !ok {
		t.Fatalf("got %v, want an InitError", err)
	}
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != number {
		t.Errorf("got %v, want error %d within", err, number)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q lacks %q", err, text)
		}
	}
}

func TestEitherNameOfTheIsolationVariable(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, eitherName)
}

func eitherName(t *testing.T, s *testserver.Server) {
	for _, params := range []string{"tx_isolation=%27SERIALIZABLE%27", "transaction_isolation=%27SERIALIZABLE%27", "SESSION tx_isolation='SERIALIZABLE'", "isolation=serializable"} {
		wantSession(t, open(t, s.DSN(testserver.Root, params)), "SERIALIZABLE", "ROW")
	}
	wantSession(t, open(t, s.DSN(testserver.Root, "tx_isolation=DEFAULT")), "REPEATABLE-READ", "ROW")
	wantSession(t, open(t, s.DSN(testserver.Root, "isolation=server&binlog=server")), "REPEATABLE-READ", "MIXED")
	wantSession(t, open(t, s.DSN(testserver.Root, "binlog=assert")), "READ-COMMITTED", "MIXED")
	wantSession(t, open(t, s.DSN(testserver.Root, "binlog_format=MIXED")), "READ-COMMITTED", "MIXED")
	for _, name := range []string{"tx_isolation", "transaction_isolation"} {
		wantSession(t, openConfig(t, s.DSN(testserver.Root, name+"='SERIALIZABLE'"), nil), "SERIALIZABLE", "ROW")
	}
}

// Under utf16 MySQL reads the bytes of a plain 'READ-COMMITTED' as other letters.
func TestConnectionInUTF16(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		for _, account := range []string{testserver.Root, testserver.App} {
			dsn := s.DSN(account, "guard=true&character_set_connection=utf16")
			for _, db := range []*sql.DB{open(t, dsn), openConfig(t, dsn, nil)} {
				db.SetMaxOpenConns(1)
				before := readVariable(t, db, "CONNECTION_ID()")
				testserver.Exec(t, db, "SET @x = 1")
				wantSession(t, db, "READ-COMMITTED", map[string]string{testserver.Root: "ROW", testserver.App: "MIXED"}[account])
				if after := readVariable(t, db, "CONNECTION_ID()"); after != before {
					t.Errorf("%s: the session could not be restored", account)
				}
			}
		}
	})
}

func TestVariablesOfTheDSNAndOursBothHold(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	db := open(t, s.DSN(testserver.Root, "time_zone="+url.QueryEscape("'+03:00' -- utc")+"&sql_mode=%27ANSI%27"))
	wantSession(t, db, "READ-COMMITTED", "ROW")
	if got := readVariable(t, db, "CONCAT(@@time_zone, @@sql_mode)"); !strings.HasPrefix(got, "+03:00") || !strings.Contains(got, "ANSI_QUOTES") {
		t.Errorf("got %s", got)
	}
	fromConfig := openConfig(t, s.DSN(testserver.Root, "isolation=serializable&time_zone=%27%2B04:00%27&initCommand=SET+@x=1"), func(cfg *mysql.Config) {
		cfg.Params["sql_mode"] = "'ANSI'"
	})
	wantSession(t, fromConfig, "SERIALIZABLE", "ROW")
	if got := readVariable(t, fromConfig, "CONCAT(@@time_zone, @x)"); got != "+04:001" {
		t.Errorf("got %s", got)
	}
}

func TestRefusalsNameTheFault(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, refusals)
}

func refusals(t *testing.T, s *testserver.Server) {
	ping := func(account, params string, opts ...mysqlinit.Option) error {
		return open(t, s.DSN(account, params), opts...).PingContext(t.Context())
	}
	wantServerError(t, ping(testserver.App, "binlog=require-row"), 1227, "require-row", "GRANT "+smallestPrivilege(s)+" ON *.* TO 'app'@'%'")
	wantServerError(t, ping(testserver.App, "binlog_format=ROW"), 1227, "binlog_format, which the DSN sets", "take binlog_format out")
	wantServerError(t, ping(testserver.Root, "GLOBAL hostname='x'"), 1238, "refused GLOBAL hostname")
	wantServerError(t, ping(testserver.App, "sql_log_bin=0"), 1227, "sql_log_bin")
	wantServerError(t, ping(testserver.Root, "sql_mode=%27BOGUS%27"), 1231, "refused sql_mode", "DSN")
	wantServerError(t, ping(testserver.App, "sql_mode=%27BOGUS%27"), 1231, "refused sql_mode", "DSN")
	wantServerError(t, ping(testserver.Root, "no_such_variable=1"), 1193, "refused no_such_variable")
	// A text value needs quotes. The error names that key, not the check of binlog_format.
	for _, params := range []string{"", "&binlog=assert"} {
		err := ping(testserver.App, "lock_wait_timeout=60&sql_mode=ANSI,TRADITIONAL"+params)
		wantServerError(t, err, 1064, "the value of sql_mode", "sql_mode=%27…%27")
		if strings.Contains(err.Error(), "lock_wait_timeout=%27") {
			t.Errorf("%v: the error blames a number", err)
		}
		if err := ping(testserver.App, "no\nname=%2B02:00"+params); strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %q", err)
		}
		wantServerError(t, ping(testserver.App, "time_zone=Europe%2FBerlin"+params), 1054, "the value of time_zone", "time_zone=%27…%27")
	}
	err := ping(testserver.Root, "", mysqlinit.WithInitCommand("SET @a = 1"), mysqlinit.WithInitCommand("CALL nowhere('hunter2')"))
	wantServerError(t, err, 1305, "init command 2", "CALL nowhere")
	err = errors.Join(err, ping(testserver.Root, "", mysqlinit.WithInitCommand("SELECT hunter2x FROM 'hunter2' WHERE")))
	if strings.Contains(strings.ReplaceAll(err.Error(), "hunter2x", ""), "hunter2") {
		t.Errorf("the error shows a literal: %v", err)
	}
}

func TestTranslatedServer(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "STATEMENT", Args: []string{"--lc-messages=de_DE"}}, func(t *testing.T, s *testserver.Server) {
		wantServerError(t, open(t, s.DSN(testserver.App, "")).PingContext(t.Context()), 1227, "1665", "GRANT "+smallestPrivilege(s))
		wantServerError(t, open(t, s.DSN(testserver.Root, "sql_mode=%27BOGUS%27")).PingContext(t.Context()), 1231, "refused sql_mode", "kann nicht")
		wantSession(t, open(t, s.DSN(testserver.Root, "")), "READ-COMMITTED", "ROW")
	})
}

func TestGrantWhileThePoolRuns(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "STATEMENT"}, grantWhileThePoolRuns)
}

func grantWhileThePoolRuns(t *testing.T, s *testserver.Server) {
	root := open(t, s.DSN(testserver.Root, ""))
	db := open(t, s.DSN(testserver.App, ""))
	initErr, ok := errors.AsType[*mysqlinit.InitError](db.PingContext(t.Context()))
	if !ok {
		t.Fatal("no error on STATEMENT")
	}
	// The statements of its cure work as they are printed.
	grant := regexp.MustCompile(`GRANT [A-Z_ ]+ ON \*\.\* TO '[^']+'@'[^']+'`).FindString(initErr.Cure)
	testserver.Exec(t, root, grant)
	wantSession(t, db, "READ-COMMITTED", "ROW")
	testserver.Exec(t, root, strings.NewReplacer("GRANT", "REVOKE", " TO ", " FROM ").Replace(grant))
	setGlobal := regexp.MustCompile(`SET GLOBAL binlog_format = '[A-Z]+'`).FindString(initErr.Cure)
	testserver.Exec(t, root, setGlobal)
	wantSession(t, open(t, s.DSN(testserver.App, "")), "READ-COMMITTED", "ROW")
	testserver.Exec(t, root, "SET GLOBAL binlog_format = MIXED")
	db.SetMaxIdleConns(0) // from here on each query opens a connection
	wantSession(t, db, "READ-COMMITTED", "MIXED")
	// The pool has learned that this account can only assert the format. Now the
	// format becomes STATEMENT again, and the account gets the privilege.
	testserver.Exec(t, root, "SET GLOBAL binlog_format = STATEMENT", "GRANT "+smallestPrivilege(s)+" ON *.* TO 'app'@'%'")
	wantSession(t, db, "READ-COMMITTED", "ROW")
}

// A BeforeConnect callback can give each connection another account.
func TestEachAccountGetsTheFormatThatItCanSet(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		var account string
		db := openConfig(t, s.DSN(testserver.Root, ""), func(cfg *mysql.Config) {
			apply(t, cfg, mysql.BeforeConnect(func(_ context.Context, c *mysql.Config) error {
				c.User = account
				return nil
			}))
		})
		db.SetMaxIdleConns(0)
		for i, want := range []string{"ROW", "MIXED", "MIXED", "ROW", "ROW", "MIXED", "ROW"} {
			account = map[string]string{"ROW": testserver.Root, "MIXED": testserver.App}[want]
			if got := readVariable(t, db, "@@SESSION.binlog_format"); got != want {
				t.Errorf("connection %d, of %s, has %s, want %s", i+1, account, got, want)
			}
		}
	})
}

func TestVerify(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, verify)
}

func verify(t *testing.T, s *testserver.Server) {
	for _, account := range []string{testserver.Root, testserver.App} {
		for _, params := range []string{"", "&isolation=serializable", "&tx_isolation=DEFAULT", "&binlog=server", "&isolation=server&binlog=server", "&sql_select_limit=0",
			"&initCommand=SET+SESSION+TRANSACTION+ISOLATION+LEVEL+SERIALIZABLE", "&initCommand=SET+SESSION+TRANSACTION+READ+ONLY,+ISOLATION+LEVEL+SERIALIZABLE",
			"&initCommand=SET+" + isolationVariable(s) + "%3D%27SERIALIZABLE%27", "&initCommand=SET+SESSION+TRANSACTION+ISOLATION+LEVEL+READ+UNCOMMITTED,READ+WRITE",
			"&multiStatements=true&initCommand=SET+sql_mode=''%3BSET+SESSION+TRANSACTION+ISOLATION+LEVEL+SERIALIZABLE%3B"} {
			if err := open(t, s.DSN(account, "verify=true"+params)).PingContext(t.Context()); err != nil {
				t.Errorf("%s, %s: %v", account, params, err)
			}
		}
	}
	root := open(t, s.DSN(testserver.Root, ""))
	testserver.Exec(t, root, "CREATE PROCEDURE test.drift() BEGIN SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET binlog_format = 'STATEMENT'; END")
	err := open(t, s.DSN(testserver.Root, "verify=true&initCommand=CALL+drift()")).PingContext(t.Context())
	if initErr, ok := errors.AsType[*mysqlinit.InitError](err); !ok ||
		!strings.Contains(initErr.Error(), "SERIALIZABLE instead of READ-COMMITTED and binlog_format STATEMENT instead of ROW") {
		t.Errorf("got %v", err)
	}
	err = open(t, s.DSN(testserver.Root, "verify=true&initCommand=SET+binlog_format='MIXED'")).PingContext(t.Context())
	if err != nil {
		t.Errorf("verify has to accept what an init command chose: %v", err)
	}
}

func isolationVariable(s *testserver.Server) string {
	if s.MySQL {
		return "transaction_isolation"
	}
	return "tx_isolation"
}

// One address leads to servers of either kind in turn.
func TestFailoverBetweenDialects(t *testing.T) {
	var to string
	maria, other := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"}), testserver.Borrow(t, testserver.Config{MySQL: true, Binlog: "MIXED"})
	for account, format := range map[string]string{testserver.Root: "ROW", testserver.App: "MIXED"} {
		db := openConfig(t, maria.DSN(account, "time_zone=%27%2B03:00%27"), func(cfg *mysql.Config) {
			cfg.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, to)
			}
		})
		db.SetMaxIdleConns(0)
		for _, s := range []*testserver.Server{maria, other, maria, other, other} {
			to = s.Addr
			wantSession(t, db, "READ-COMMITTED", format)
		}
	}
}

func TestFailedAndCancelledConnectsLeakNothing(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	root := open(t, s.DSN(testserver.Root, ""))
	testserver.Exec(t, root, "DO 1") // root's connection has a goroutine too
	before := runtime.NumGoroutine()
	bad := open(t, s.DSN(testserver.App, "sql_mode=%27BOGUS%27"))
	slow := open(t, s.DSN(testserver.App, "initCommand=DO+SLEEP(1)"))
	for range 50 {
		if bad.PingContext(t.Context()) == nil {
			t.Fatal("no error")
		}
	}
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
			defer cancel()
			if err := slow.PingContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	bad.Close()
	slow.Close()
	// The server notices a closed connection only after its statement has ended.
	deadline := time.Now().Add(30 * time.Second)
	for {
		var threads int
		if err := root.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'").Scan(&threads); err != nil {
			t.Fatal(err)
		}
		goroutines := runtime.NumGoroutine() - before
		if threads == 0 && goroutines <= 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d server threads and %d goroutines are left", threads, goroutines)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestDialFuncBeforeConnectAndSocketSurvive(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	dialed := 0
	db := openConfig(t, s.DSN("wrong", ""), func(cfg *mysql.Config) {
		cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialed++
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		apply(t, cfg, mysql.BeforeConnect(func(_ context.Context, c *mysql.Config) error {
			c.User = testserver.Root
			return nil
		}))
	})
	wantSession(t, db, "READ-COMMITTED", "ROW")
	if dialed != 1 {
		t.Errorf("DialFunc was called %d times", dialed)
	}
	wantSession(t, open(t, testserver.Root+"@unix("+filepath.ToSlash(s.Socket)+")/test"), "READ-COMMITTED", "ROW")
}

func TestTLSSurvives(t *testing.T) {
	s := testserver.New(t, testserver.Config{TLS: true, Args: []string{"--require-secure-transport=ON"}})
	verified := openConfig(t, s.DSN(testserver.Root, ""), func(cfg *mysql.Config) { cfg.TLS = &tls.Config{RootCAs: s.Trusted} })
	for _, db := range []*sql.DB{verified, open(t, s.DSN(testserver.Root, "tls=skip-verify"))} {
		wantSession(t, db, "READ-COMMITTED", "ROW")
		var cipher string
		if err := db.QueryRow("SHOW STATUS LIKE 'Ssl_cipher'").Scan(new(string), &cipher); err != nil || cipher == "" {
			t.Errorf("cipher %q, %v", cipher, err)
		}
	}
	if err := open(t, s.DSN(testserver.Root, "tls=true")).Ping(); err == nil {
		t.Error("an unknown certificate is trusted")
	}
}

// The code of a TLS config can hang: it might ask a vault for a certificate, or
// a remote service for a signature.
func TestConnectTimeoutEndsCodeInTLSConfig(t *testing.T) {
	s := testserver.New(t, testserver.Config{TLS: true})
	hang := make(chan struct{})
	defer close(hang)
	hanging := &tls.Config{RootCAs: s.Trusted, VerifyConnection: func(tls.ConnectionState) error { <-hang; return errors.New("too late") }}
	if err := mysql.RegisterTLSConfig("hanging", hanging); err != nil {
		t.Fatal(err)
	}
	defer mysql.DeregisterTLSConfig("hanging")
	for name, db := range map[string]*sql.DB{
		"Config":         openConfig(t, s.DSN(testserver.Root, "connectTimeout=200ms"), func(cfg *mysql.Config) { cfg.TLS = hanging }),
		"Config by name": openConfig(t, s.DSN(testserver.Root, "connectTimeout=200ms"), func(cfg *mysql.Config) { cfg.TLSConfig = "hanging" }),
		"DSN":            open(t, s.DSN(testserver.Root, "connectTimeout=200ms&tls=hanging")),
	} {
		ended := make(chan error, 1)
		go func() { ended <- db.Ping() }()
		select {
		case err := <-ended:
			if timeout, ok := err.(interface{ Timeout() bool }); !ok || !timeout.Timeout() {
				t.Errorf("%s: got %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: still connecting after 100 × connectTimeout", name)
		}
	}
}

func TestThePlainDriverLosesTheRaceAndThisOneDoesNot(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) { playTheRace(t, s.DSN(testserver.App, "")) })
	if dsn := os.Getenv(testserver.EnvDSN); dsn != "" {
		playTheRace(t, dsn)
	}
}

func playTheRace(t *testing.T, dsn string) {
	plain, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	table := "mysqlinit_test_" + strings.ToLower(rand.Text()[:8])
	testserver.Exec(t, plain, "CREATE TABLE "+table+" (name VARCHAR(20) PRIMARY KEY) ENGINE=InnoDB")
	defer func() {
		if _, err := plain.Exec("DROP TABLE " + table); err != nil {
			t.Error(err)
		}
	}()
	// B reads, A inserts and commits, B inserts and reads again.
	lost := func(db *sql.DB, name string) bool {
		t.Helper()
		b, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = b.Rollback() }()
		get := func() error {
			return b.QueryRow("SELECT name FROM "+table+" WHERE name = ?", name).Scan(new(string))
		}
		if err := get(); !errors.Is(err, sql.ErrNoRows) {
			t.Fatalf("B's first read: %v", err)
		}
		testserver.Exec(t, db, "INSERT INTO "+table+" VALUES ('"+name+"')")
		_, err = b.Exec("INSERT INTO "+table+" VALUES (?)", name)
		duplicate, ok := err.(*mysql.MySQLError)
		if ok && duplicate.Number == 1020 {
			return true // MariaDB 11.6 and later ends the whole transaction
		}
		if !ok || duplicate.Number != 1062 {
			t.Fatalf("B's insert: %v", err)
		}
		err = get()
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			t.Fatalf("B's second read: %v", err)
		}
		return err != nil
	}
	if !lost(plain, "plain") {
		t.Error("the plain driver found the row: the race shows nothing")
	}
	if lost(open(t, dsn), "prepared") {
		t.Error("this driver did not find the row")
	}
}

func TestThePoolHoldsTheDriversOwnConnection(t *testing.T) {
	dsn := testserver.AnyDSN(t)
	plain, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	prepared := open(t, dsn)
	var types [2]string
	var allocs [2]float64
	for i, db := range []*sql.DB{plain, prepared} {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.Raw(func(raw any) error { types[i] = typeName(raw); return nil })
		allocs[i] = testing.AllocsPerRun(200, func() {
			if err := conn.QueryRowContext(context.Background(), "SELECT 1").Scan(new(int)); err != nil {
				t.Fatal(err)
			}
		})
	}
	if types[0] != types[1] {
		t.Errorf("Raw shows %s, with the plain driver %s", types[1], types[0])
	}
	if allocs[1] > allocs[0] {
		t.Errorf("%v allocations a query, with the plain driver %v", allocs[1], allocs[0])
	}
}

// Preparing a connection allocates about as much as the same variables in a
// plain driver's DSN.
func TestConnectAllocations(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "ROW"})
	allocations := func(db *sql.DB) float64 {
		db.SetMaxIdleConns(0)
		return testing.AllocsPerRun(100, func() {
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	plain, err := sql.Open("mysql", s.DSN(testserver.Root, "tx_isolation='READ-COMMITTED'&binlog_format='ROW'"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	inDSN, prepared := allocations(plain), allocations(open(t, s.DSN(testserver.Root, "")))
	t.Logf("%.0f, with variables in a plain DSN %.0f", prepared, inDSN)
	if prepared > inDSN+10 {
		t.Errorf("%.0f allocations a connection, with variables in a plain DSN %.0f", prepared, inDSN)
	}
}
