//go:build matrix

package matrix

import (
	"bytes"
	"database/sql"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/inspect"
	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/integration/servers"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// seesOnVitess returns what a report on a session with these parameters finds about Vitess
// and about variables, and the report.
func seesOnVitess(t *testing.T, dsn, params string) (found []string, report *inspect.Report) {
	t.Helper()
	if params != "" {
		dsn += "?" + params
	}
	db, err := mysqlinit.Open(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	report, err = inspect.Session(t.Context(), db, inspect.WithConfig(cfg))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		if strings.HasPrefix(f.ID, "vitess") || f.ID == "variable-ignored" {
			found = append(found, f.ID+" "+f.Severity.String())
		}
	}
	return found, report
}

// what returns what a report's finding says.
func what(report *inspect.Report, id string) string {
	for _, f := range report.Findings {
		if f.ID == id {
			return f.What
		}
	}
	return ""
}

func TestVitessFindings(t *testing.T) {
	d := servers.New(t, servers.Vitess)
	keyspace := d.DSN(testserver.Root, "")
	for _, test := range []struct {
		dsn, params string
		want        []string
	}{
		{keyspace, "", []string{"vitess info", "vitess-transaction-mode info"}},
		{keyspace + "@primary", "", []string{"vitess info", "vitess-transaction-mode info"}},
		{keyspace, "transaction_mode='single'", []string{"vitess info"}},
		{keyspace, "max_execution_time=100", []string{"variable-ignored warning", "vitess info", "vitess-transaction-mode info"}},
		{keyspace, "query_timeout=100&sql_select_limit=5&sql_mode='ANSI'&time_zone='%2B02:00'", []string{"vitess info", "vitess-transaction-mode info"}},
		{keyspace + ":-80", "", []string{"vitess-shard-target warning", "vitess info"}},
		{strings.TrimSuffix(keyspace, "test") + "unsharded", "", []string{"vitess info"}},
		{strings.TrimSuffix(keyspace, "test"), "", []string{"vitess info"}},
	} {
		got, report := seesOnVitess(t, test.dsn, test.params)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s?%s: %q, want %q", test.dsn, test.params, got, test.want)
		}
		if report.Session.Isolation != "READ-COMMITTED" || !strings.Contains(report.Server.Version, "Vitess") {
			t.Errorf("%s?%s: %+v", test.dsn, test.params, report)
		}
	}
	// The connection has its own target again.
	db, err := mysqlinit.Open(keyspace)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	if _, err := inspect.Session(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	var target string
	if err := db.QueryRowContext(t.Context(), "SHOW VITESS_TARGET").Scan(&target); err != nil || target != "test" {
		t.Errorf("the connection is left in %q: %v", target, err)
	}

	testserver.Exec(t, db, "CREATE TABLE mysqlinit_race (name VARCHAR(20) PRIMARY KEY, email VARCHAR(20), UNIQUE KEY by_email (email), UNIQUE KEY by_both (email, name))")
	got, report := seesOnVitess(t, keyspace, "")
	if text := what(report, "vitess-unique-key"); !slices.Contains(got, "vitess-unique-key warning") || !strings.HasSuffix(text, ": mysqlinit_race.by_email") {
		t.Errorf("%q: %q", got, text)
	}
}

// The command's race plays on an unsharded keyspace. For a sharded one, where its table has
// no vindex, it says what it needs in one line.
func TestVitessRaceCommand(t *testing.T) {
	dsn := servers.New(t, servers.Vitess).DSN(testserver.Root, "")
	command := buildCommand(t)
	output, err := exec.CommandContext(t.Context(), command, "race", dsn).Output()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if !failed || exit.ExitCode() != 2 || bytes.Count(exit.Stderr, []byte("\n")) != 1 || !bytes.Contains(exit.Stderr, []byte("vindex")) {
		t.Errorf("sharded: %v, %s\n%s", err, exit.Stderr, output)
	}
	output, err = exec.CommandContext(t.Context(), command, "race", "-workers", "8", "-keys", "20", strings.TrimSuffix(dsn, "test")+"unsharded").CombinedOutput()
	if err != nil || !bytes.Contains(output, []byte("mysqlinit none")) {
		t.Errorf("unsharded: %v\n%s", err, output)
	}
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var table string
	if err := db.QueryRowContext(t.Context(), "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()").Scan(&table); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("the table %s is left: %v", table, err)
	}
}

// vtgate accepts every SET and passes none on.
func TestVitessSettingsOff(t *testing.T) {
	dsn := servers.New(t, servers.VitessSettingsOff).DSN(testserver.Root, "")
	if got, _ := seesOnVitess(t, dsn, ""); !slices.Contains(got, "vitess-settings-off error") {
		t.Errorf("%q", got)
	}
	if got := runCheck(t, buildCommand(t), dsn); !strings.Contains(got, "error session-differs") {
		t.Error(got)
	}
}

// The first shard has the level that the driver asks for, and vtgate sends no shard the SET.
// Two init commands change the level for certain.
func TestVitessMixedLevels(t *testing.T) {
	dsn := servers.New(t, servers.VitessMixed).DSN(testserver.Root, "")
	const cure = "isolation=server&binlog=server&initCommand=SET+SESSION+TRANSACTION+ISOLATION+LEVEL+SERIALIZABLE&initCommand=SET+SESSION+TRANSACTION+ISOLATION+LEVEL+READ+COMMITTED"
	if got, report := seesOnVitess(t, dsn, ""); !slices.Contains(got, "vitess-shards-differ error") {
		t.Errorf("%q, %+v", got, report)
	}
	if got, report := seesOnVitess(t, dsn, cure); slices.Contains(got, "vitess-shards-differ error") || report.Session.Isolation != "READ-COMMITTED" {
		t.Errorf("with the cure: %q, %+v", got, report)
	}
	lost, all := conformance.RaceLost(t, dsn)
	t.Logf("without the cure %d of %d lost", lost, all)
	if lost == 0 {
		t.Error("without the cure no race was lost: the shards do not differ")
	}
	if lost, all := conformance.RaceLost(t, dsn+"?"+cure); lost > 0 {
		t.Errorf("with the cure %d of %d lost", lost, all)
	}
}

// vtgate takes the assertion of the binlog format, and the first statement after it fails.
// With verify that is Connect's error.
func TestVitessAssertsLate(t *testing.T) {
	dsn := servers.New(t, servers.VitessStatement).DSN(testserver.Root, "binlog=assert")
	db, err := mysqlinit.Open(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.PingContext(t.Context()); err != nil {
		t.Errorf("without verify: %v", err)
	}
	const wrongValue = 1231
	_, err = db.ExecContext(t.Context(), "UPDATE unsharded.log_seq SET cache = 100")
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != wrongValue {
		t.Errorf("the first statement: %v", err)
	}
	verified, err := sql.Open("mysqlinit", dsn+"&verify=true")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = verified.Close() }()
	if _, ok := errors.AsType[*mysqlinit.InitError](verified.PingContext(t.Context())); !ok {
		t.Errorf("with verify: %v", verified.PingContext(t.Context()))
	}
	if got := runCheck(t, buildCommand(t), dsn); !strings.Contains(got, "error session-differs") {
		t.Error(got)
	}
}
