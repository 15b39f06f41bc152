//go:build matrix

package matrix

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/inspect"
	"github.com/mysqlinit/mysqlinit/integration/servers"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// These tests share a deployment.
func TestVitess(t *testing.T) {
	s := newShards(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *shards)
	}{
		{"findings", vitessFindings},
		{"race command", vitessRaceCommand},
		{"GetOrCreate", vitessGetOrCreate},
		// Shards that differ, or of which one fails:
		{"mixed levels", vitessMixedLevels},
		{"STATEMENT", vitessStatement},
		{"COMMIT across shards", vitessCommit},
		{"swallowed errors", vitessSwallowed},
		{"create lost", vitessCreateLost},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

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

func vitessFindings(t *testing.T, s *shards) {
	keyspace := s.DSN(testserver.Root, "")
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

	// Not loose: a key that includes the column of the first vindex, and one with a unique vindex.
	testserver.Exec(t, db, "CREATE TABLE mysqlinit_race (name VARCHAR(20) PRIMARY KEY, email VARCHAR(20), UNIQUE KEY by_email (email), UNIQUE KEY by_both (email, name))",
		"CREATE TABLE mysqlinit_owner (id BIGINT PRIMARY KEY, name VARCHAR(20) UNIQUE)")
	defer testserver.Exec(t, db, "DROP TABLE mysqlinit_race", "DROP TABLE mysqlinit_owner")
	got, report := seesOnVitess(t, keyspace, "")
	if text := what(report, "vitess-unique-key"); !slices.Contains(got, "vitess-unique-key warning") || !strings.HasSuffix(text, ": mysqlinit_race.by_email") {
		t.Errorf("%q: %q", got, text)
	}
}

// The command's race plays on an unsharded keyspace. For a sharded one, where its table has
// no vindex, it says what it needs in one line.
func vitessRaceCommand(t *testing.T, s *shards) {
	dsn := s.DSN(testserver.Root, "")
	command := buildCommand(t)
	output, err := exec.CommandContext(t.Context(), command, "race", dsn).Output()
	exit, failed := errors.AsType[*exec.ExitError](err)
	if !failed || exit.ExitCode() != 2 || bytes.Count(exit.Stderr, []byte("mysqlinit race: ")) != 1 || !bytes.Contains(exit.Stderr, []byte("vindex")) {
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

// GetOrCreate keeps its promise on shards if a vindex makes the key unique. A unique key
// without a vindex holds only within each shard: several callers create the row, and nobody gets
// an error. In a transaction at REPEATABLE READ a vindex is not enough: vtgate reads it in
// the transaction's old snapshot, with whatever lock the SELECT asks for.
func vitessGetOrCreate(t *testing.T, s *shards) {
	dsn := s.DSN(testserver.Root, "")
	loose := ownerRace(t, dsn, "mysqlinit_loose", "read-committed", onDB)
	t.Logf("a unique key that is no vindex: %+v", loose)
	if loose.rows <= ownerKeys || loose.conflicts+loose.failed > 0 {
		t.Errorf("a unique key that is no vindex: %+v", loose)
	}
	for _, level := range []string{"read-committed", "repeatable-read"} {
		for how, call := range map[string]ownerCall{"on the DB": onDB, "in Run": inRun} {
			got := ownerRace(t, dsn, "mysqlinit_owner", level, call)
			t.Logf("with a vindex, %s, %s: %+v", level, how, got)
			if got.rows != ownerKeys || got.created != ownerKeys || got.failed > 0 {
				t.Errorf("%s, %s: %+v", level, how, got)
			}
			if got.conflicts > 0 && (level == "read-committed" || how == "on the DB") {
				t.Errorf("%s, %s: %+v", level, how, got)
			}
		}
	}
}

const (
	ownerKeys   = 40
	ownerRacers = 4
)

// ownerOutcome counts how calls of GetOrCreate ended, and the rows.
type ownerOutcome struct{ rows, created, conflicts, failed int }

// ownerCall gets or creates the row of a name.
type ownerCall func(ctx context.Context, db *sql.DB, table, name string) (created bool, err error)

func onDB(ctx context.Context, db *sql.DB, table, name string) (created bool, err error) {
	return getOrCreateOwner(ctx, db, table, name)
}

func inRun(ctx context.Context, db *sql.DB, table, name string) (created bool, err error) {
	err = mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		created, err = getOrCreateOwner(ctx, tx, table, name)
		return err
	})
	return created, err
}

func getOrCreateOwner(ctx context.Context, q mysqltx.Querier, table, name string) (created bool, err error) {
	_, created, err = mysqltx.GetOrCreate(ctx, q, func(ctx context.Context, q mysqltx.Querier, lock string) (id int64, err error) {
		err = q.QueryRowContext(ctx, "SELECT id FROM "+table+" WHERE name = ?"+lock, name).Scan(&id)
		return id, err
	}, func(ctx context.Context, q mysqltx.Querier) (int64, error) {
		result, err := q.ExecContext(ctx, "INSERT INTO "+table+" (name) VALUES (?)", name)
		if err != nil {
			return 0, err
		}
		return result.LastInsertId()
	})
	return created, err
}

// ownerRace has callers race for the row of each name, one name after the other.
func ownerRace(t *testing.T, dsn, table, level string, call ownerCall) (sum ownerOutcome) {
	t.Helper()
	db, err := mysqlinit.Open(dsn + "?isolation=" + level)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxIdleConns(ownerRacers)
	testserver.Exec(t, db, "CREATE TABLE "+table+" (id BIGINT PRIMARY KEY, name VARCHAR(20) UNIQUE)")
	defer testserver.Exec(t, db, "DROP TABLE "+table, "DELETE FROM unsharded.owner_lookup")
	var mu sync.Mutex
	for key := range ownerKeys {
		var all sync.WaitGroup
		for range ownerRacers {
			all.Go(func() {
				created, err := call(t.Context(), db, table, fmt.Sprint("name-", key))
				mu.Lock()
				defer mu.Unlock()
				switch _, isConflict := errors.AsType[*mysqltx.ConflictError](err); {
				case isConflict:
					sum.conflicts++
				case err != nil:
					sum.failed++
					t.Log(err)
				case created:
					sum.created++
				}
			})
		}
		all.Wait()
	}
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&sum.rows); err != nil {
		t.Fatal(err)
	}
	return sum
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
