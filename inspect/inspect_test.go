package inspect_test

import (
	"database/sql"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/inspect"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

func open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// withDSN is WithConfig for a DSN.
func withDSN(t *testing.T, dsn string) inspect.Option {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return inspect.WithConfig(cfg)
}

// findings returns the IDs of what Session finds.
func findings(t *testing.T, db *sql.DB, opts ...inspect.Option) (all []string) {
	t.Helper()
	report, err := inspect.Session(t.Context(), db, opts...)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		if f.What == "" || f.Why == "" || f.Source == "" {
			t.Errorf("%+v", f)
		}
		all = append(all, f.ID)
	}
	return all
}

// hasFinding reports whether a report has a finding with this ID.
func hasFinding(report *inspect.Report, id string) bool {
	return slices.ContainsFunc(report.Findings, func(f inspect.Finding) bool { return f.ID == id })
}

// A server that is set up for many findings.
func TestSession(t *testing.T) {
	for name, isMySQL := range map[string]bool{"MariaDB": false, "MySQL": true} {
		t.Run(name, func(t *testing.T) {
			s := testserver.New(t, testserver.Config{MySQL: isMySQL, Binlog: "STATEMENT", Args: []string{
				"--innodb-rollback-on-timeout=ON", "--innodb-deadlock-detect=OFF", "--max-binlog-cache-size=4194304", "--read-only=ON",
				"--init-connect=SET SESSION sql_mode=''", "--wait-timeout=20", "--binlog-do-db=test"}})
			root := open(t, s.DSN(testserver.Root, ""))
			testserver.Exec(t, root, "CREATE TABLE keyless (n INT) ENGINE=InnoDB", "CREATE TABLE old (id INT PRIMARY KEY) ENGINE=MyISAM",
				"CREATE TABLE good (id INT PRIMARY KEY) ENGINE=InnoDB")
			dsn := s.DSN(testserver.App, "autocommit=0&sql_mode='ANSI'")
			got := findings(t, open(t, dsn), withDSN(t, dsn))
			want := []string{"binlog-statement", "autocommit-off", "binlog-cache-small", "deadlock-detect-off", "init-connect", "no-primary-key", "not-innodb",
				"read-only", "rollback-on-timeout", "wait-timeout", "read-timeout-unset", "server-repeatable-read", "sql-mode-not-strict"}
			if isMySQL {
				want = append(want, "replicas-unknown")
			}
			if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
				t.Errorf("the application's account got %q", got)
			}
			// An administrator is allowed to see more.
			got = findings(t, root)
			for _, id := range []string{"replication-filters", "account-privileges", "binlog-statement"} {
				if !slices.Contains(got, id) {
					t.Errorf("no %s among %q", id, got)
				}
			}
		})
	}
}

// Servers as they are installed, with the binary log in ROW format. The tests of
// one kind share a server; the last of them change it.
func TestStockServer(t *testing.T) {
	t.Run("MariaDB", func(t *testing.T) {
		s := testserver.New(t, testserver.Config{Binlog: "ROW"})
		t.Run("errors are returned unchanged", func(t *testing.T) { testErrorsUnchanged(t, s) })
		t.Run("no database", func(t *testing.T) { testNoDatabase(t, s) })
		// MariaDB 10.11 does not know SHOW BINARY LOG STATUS, and is asked once more. It is
		// also asked once more about replication, which this account is not allowed to see.
		t.Run("round trips", func(t *testing.T) { testRoundTrips(t, s, 10) })
		t.Run("accepted variables", func(t *testing.T) { testAcceptedVariables(t, s) })
		t.Run("read-only account", func(t *testing.T) { testReadOnlyAccount(t, s) })
		t.Run("versioned tables", func(t *testing.T) { testVersionedTables(t, s) })
		t.Run("a replica's named connection", func(t *testing.T) {
			testReplica(t, s, false, "CHANGE MASTER 'other' TO master_host='127.0.0.1', master_port=1")
		})
	})
	t.Run("MySQL", func(t *testing.T) {
		s := testserver.New(t, testserver.Config{MySQL: true, Binlog: "ROW"})
		t.Run("accepted variables", func(t *testing.T) { testAcceptedVariables(t, s) })
		t.Run("read-only account", func(t *testing.T) { testReadOnlyAccount(t, s) })
		t.Run("tables refused", func(t *testing.T) { testTablesRefused(t, s) })
		t.Run("a replica's channels", func(t *testing.T) {
			testReplica(t, s, true,
				"CHANGE REPLICATION SOURCE TO source_host='127.0.0.1', source_port=1 FOR CHANNEL 'a'",
				"CHANGE REPLICATION SOURCE TO source_host='127.0.0.1', source_port=1 FOR CHANNEL 'b'",
				"CHANGE REPLICATION FILTER REPLICATE_DO_DB=(app) FOR CHANNEL 'b'")
		})
	})
}

func testErrorsUnchanged(t *testing.T, s *testserver.Server) {
	_, err := inspect.Session(t.Context(), open(t, "nobody@tcp("+s.Addr+")/test"))
	if serverErr, ok := err.(*mysql.MySQLError); !ok || serverErr.Number != 1045 && serverErr.Number != 1698 {
		t.Errorf("got %v", err)
	}
}

func testNoDatabase(t *testing.T, s *testserver.Server) {
	report, err := inspect.Session(t.Context(), open(t, strings.TrimSuffix(s.DSN(testserver.App, ""), "test")))
	if err != nil || report.Server.Database != "" || report.Server.Vendor != "MariaDB" || report.Replica != "unknown" {
		t.Errorf("%+v, %v", report, err)
	}
}

func testRoundTrips(t *testing.T, s *testserver.Server, want int) {
	db := open(t, s.DSN(testserver.App, ""))
	db.SetMaxOpenConns(1)
	questions := func() (n int) {
		var name string
		if err := db.QueryRow("SHOW SESSION STATUS LIKE 'Questions'").Scan(&name, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := questions()
	findings(t, db)
	if n := questions() - before - 1; n != want {
		t.Errorf("%d statements, want %d", n, want)
	}
}

// A server that accepts a value sometimes shows it in other words. Such a
// variable is not reported as ignored.
func testAcceptedVariables(t *testing.T, s *testserver.Server) {
	for _, params := range []string{"time_zone='%2B2:00'", "time_zone='-00:00'", "time_zone='-11:30'", "character_set_results=NULL"} {
		dsn := s.DSN(testserver.App, params)
		if got := findings(t, open(t, dsn), withDSN(t, dsn)); slices.Contains(got, "variable-ignored") {
			t.Errorf("%s: %q", params, got)
		}
	}
}

// An account that is only allowed to read still sees which tables have keys.
func testReadOnlyAccount(t *testing.T, s *testserver.Server) {
	root := open(t, s.DSN(testserver.Root, ""))
	testserver.Exec(t, root, "CREATE TABLE keyed (id INT PRIMARY KEY) ENGINE=InnoDB", "CREATE USER reader@'%'", "GRANT SELECT ON test.* TO reader@'%'")
	report, err := inspect.Session(t.Context(), open(t, s.DSN("reader", "")))
	if err != nil || inspect.Worst(report.Findings) > inspect.Info {
		t.Errorf("%+v, %v", report, err)
	}
	// Nobody wants to know about the server's own tables.
	report, err = inspect.Session(t.Context(), open(t, "root@tcp("+s.Addr+")/mysql"))
	if err != nil || hasFinding(report, "not-innodb") || hasFinding(report, "no-primary-key") {
		t.Errorf("%+v, %v", report, err)
	}
}

// MariaDB's tables with a history count as tables. Its sequences do not.
func testVersionedTables(t *testing.T, s *testserver.Server) {
	db := open(t, s.DSN(testserver.App, ""))
	testserver.Exec(t, db, "CREATE TABLE versioned (n INT) ENGINE=Aria WITH SYSTEM VERSIONING", "CREATE SEQUENCE numbers ENGINE=Aria")
	report, err := inspect.Session(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"no-primary-key", "not-innodb"} {
		if !slices.ContainsFunc(report.Findings, func(f inspect.Finding) bool { return f.ID == id && strings.HasSuffix(f.What, ": versioned") }) {
			t.Errorf("no %s about that table alone among %+v", id, report.Findings)
		}
	}
}

// A server can refuse the query about tables. The other findings are still
// reported.
func testTablesRefused(t *testing.T, s *testserver.Server) {
	if got := findings(t, open(t, s.DSN(testserver.App, "max_join_size=100"))); !slices.Contains(got, "wait-timeout") {
		t.Errorf("%q", got)
	}
}

// A server can replicate from several others, over MariaDB's named connections
// and MySQL's channels.
func testReplica(t *testing.T, s *testserver.Server, wantFilters bool, setUp ...string) {
	root := open(t, s.DSN(testserver.Root, ""))
	testserver.Exec(t, root, setUp...)
	report, err := inspect.Session(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if filters := hasFinding(report, "replication-filters"); report.Replica != "yes" || filters != wantFilters {
		t.Errorf("replica %s, filters %v", report.Replica, filters)
	}
}

// A member of a replication group that has not been started. It is also read with
// the driver's option that changes the names of columns.
func TestGroupMember(t *testing.T) {
	s := testserver.New(t, testserver.Config{MySQL: true, Binlog: "ROW", Args: []string{"--performance-schema=ON", "--gtid-mode=ON", "--enforce-gtid-consistency=ON",
		"--plugin-load-add=group_replication.so", "--loose-group-replication-group-name=aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"}})
	for _, params := range []string{"", "columnsWithAlias=true"} {
		report, err := inspect.Session(t.Context(), open(t, s.DSN(testserver.Root, params)))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(report.Findings, func(f inspect.Finding) bool {
			return f.ID == "group-replication-state" && strings.HasSuffix(f.What, " is OFFLINE")
		}) {
			t.Errorf("%q: %+v", params, report.Findings)
		}
	}
}
