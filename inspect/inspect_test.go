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

// What a server must be, and what it shows then.
func TestSession(t *testing.T) {
	for name, isMySQL := range map[string]bool{"MariaDB": false, "MySQL": true} {
		t.Run(name, func(t *testing.T) {
			s := testserver.New(t, testserver.Config{MySQL: isMySQL, Binlog: "STATEMENT", Args: []string{
				"--innodb-rollback-on-timeout=ON", "--innodb-deadlock-detect=OFF", "--max-binlog-cache-size=4194304", "--read-only=ON",
				"--init-connect=SET SESSION sql_mode=''", "--wait-timeout=20", "--binlog-do-db=test"}})
			root := open(t, s.DSN(testserver.Root, ""))
			for _, statement := range []string{"CREATE TABLE keyless (n INT) ENGINE=InnoDB", "CREATE TABLE old (id INT PRIMARY KEY) ENGINE=MyISAM", "CREATE TABLE good (id INT PRIMARY KEY) ENGINE=InnoDB"} {
				if _, err := root.Exec(statement); err != nil {
					t.Fatal(err)
				}
			}
			dsn := s.DSN(testserver.App, "autocommit=0&sql_mode='ANSI'")
			cfg, err := mysql.ParseDSN(dsn)
			if err != nil {
				t.Fatal(err)
			}
			got := findings(t, open(t, dsn), inspect.WithConfig(cfg))
			want := []string{"binlog-statement", "autocommit-off", "binlog-cache-small", "deadlock-detect-off", "init-connect", "no-primary-key", "not-innodb",
				"read-only", "rollback-on-timeout", "wait-timeout", "read-timeout-unset", "replicas-unknown", "server-repeatable-read", "sql-mode-not-strict"}
			if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
				t.Errorf("the application's account got %q", got)
			}
			// An administrator may see more.
			got = findings(t, root)
			for _, id := range []string{"replication-filters", "account-privileges", "binlog-statement"} {
				if !slices.Contains(got, id) {
					t.Errorf("no %s among %q", id, got)
				}
			}
		})
	}
}

// What a server shows of a variable that it has taken is not always what was written.
func TestVariablesThatAreTaken(t *testing.T) {
	for _, isMySQL := range []bool{false, true} {
		s := testserver.New(t, testserver.Config{MySQL: isMySQL})
		for _, params := range []string{"time_zone='%2B2:00'", "time_zone='-00:00'", "time_zone='-11:30'", "character_set_results=NULL"} {
			dsn := s.DSN(testserver.App, params)
			cfg, err := mysql.ParseDSN(dsn)
			if err != nil {
				t.Fatal(err)
			}
			if got := findings(t, open(t, dsn), inspect.WithConfig(cfg)); slices.Contains(got, "variable-ignored") {
				t.Errorf("MySQL %v, %s: %q", isMySQL, params, got)
			}
		}
	}
}

// An account that may only read sees which tables have keys, too.
func TestReadOnlyAccount(t *testing.T) {
	for _, isMySQL := range []bool{false, true} {
		s := testserver.New(t, testserver.Config{MySQL: isMySQL, Binlog: "ROW"})
		root := open(t, s.DSN(testserver.Root, ""))
		for _, statement := range []string{"CREATE TABLE keyed (id INT PRIMARY KEY) ENGINE=InnoDB", "CREATE USER reader@'%'", "GRANT SELECT ON test.* TO reader@'%'"} {
			if _, err := root.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		report, err := inspect.Session(t.Context(), open(t, s.DSN("reader", "")))
		if err != nil || inspect.Worst(report.Findings) > inspect.Info {
			t.Errorf("%+v, %v", report, err)
		}
		report, err = inspect.Session(t.Context(), open(t, "root@tcp("+s.Addr+")/mysql"))
		if err != nil || slices.ContainsFunc(report.Findings, func(f inspect.Finding) bool { return f.ID == "not-innodb" || f.ID == "no-primary-key" }) {
			t.Errorf("%+v, %v", report, err)
		}
	}
}

// A server may replicate from several: over MariaDB's named connections, MySQL's channels.
func TestReplicaOfSeveral(t *testing.T) {
	for _, test := range []struct {
		isMySQL bool
		setUp   []string
		filters bool
	}{
		{false, []string{"CHANGE MASTER 'other' TO master_host='127.0.0.1', master_port=1"}, false},
		{true, []string{
			"CHANGE REPLICATION SOURCE TO source_host='127.0.0.1', source_port=1 FOR CHANNEL 'a'",
			"CHANGE REPLICATION SOURCE TO source_host='127.0.0.1', source_port=1 FOR CHANNEL 'b'",
			"CHANGE REPLICATION FILTER REPLICATE_DO_DB=(app) FOR CHANNEL 'b'",
		}, true},
	} {
		s := testserver.New(t, testserver.Config{MySQL: test.isMySQL, Binlog: "ROW"})
		root := open(t, s.DSN(testserver.Root, ""))
		for _, statement := range test.setUp {
			if _, err := root.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		report, err := inspect.Session(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		if filters := slices.ContainsFunc(report.Findings, func(f inspect.Finding) bool { return f.ID == "replication-filters" }); report.Replica != "yes" || filters != test.filters {
			t.Errorf("MySQL %v: replica %s, filters %v", test.isMySQL, report.Replica, filters)
		}
	}
}

// A server may refuse the query about tables; that is no reason to say nothing of the rest.
func TestTablesRefused(t *testing.T) {
	s := testserver.New(t, testserver.Config{MySQL: true, Args: []string{"--wait-timeout=20"}})
	if got := findings(t, open(t, s.DSN(testserver.App, "max_join_size=100"))); !slices.Contains(got, "wait-timeout") {
		t.Errorf("%q", got)
	}
}

// A member of a group that has not been started, read also under the driver's option that
// changes the names of columns.
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

// MariaDB's tables with a history are tables too; its sequences are none.
func TestVersionedTables(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "ROW"})
	db := open(t, s.DSN(testserver.App, ""))
	for _, statement := range []string{"CREATE TABLE versioned (n INT) ENGINE=Aria WITH SYSTEM VERSIONING", "CREATE SEQUENCE numbers ENGINE=Aria"} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	report, err := inspect.Session(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"no-primary-key", "not-innodb"} {
		if !slices.ContainsFunc(report.Findings, func(f inspect.Finding) bool { return f.ID == id && strings.HasSuffix(f.What, ": versioned") }) {
			t.Errorf("no %s of that table alone among %+v", id, report.Findings)
		}
	}
}

// MariaDB 10.11 does not know SHOW BINARY LOG STATUS, and is asked once more.
func TestRoundTrips(t *testing.T) {
	s := testserver.New(t, testserver.Config{})
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
	if n := questions() - before - 1; n != 9 {
		t.Errorf("%d statements", n)
	}
}

func TestErrorsComeBackAsTheyWere(t *testing.T) {
	s := testserver.New(t, testserver.Config{})
	_, err := inspect.Session(t.Context(), open(t, "nobody@tcp("+s.Addr+")/test"))
	if serverErr, ok := err.(*mysql.MySQLError); !ok || serverErr.Number != 1045 && serverErr.Number != 1698 {
		t.Errorf("got %v", err)
	}
	report, err := inspect.Session(t.Context(), open(t, strings.TrimSuffix(s.DSN(testserver.App, ""), "test")))
	if err != nil || report.Server.Database != "" || report.Server.Vendor != "MariaDB" || report.Replica != "unknown" {
		t.Errorf("%+v, %v", report, err)
	}
}
