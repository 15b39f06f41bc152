package docs

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// This is the code of the sections of docs/recipes.md that need no library.
// TestDocsCodeCompiles compares the two.

func openLogged(dsn string, logger *slog.Logger) (*sql.DB, error) {
	db, err := mysqlinit.Open(dsn, mysqlinit.WithLogger(logger.With("pool", "orders")))
	return db, err
}

func openReports(dsn string) (*sql.DB, error) {
	reports, err := mysqlinit.Open(dsn, mysqlinit.WithIsolation(sql.LevelRepeatableRead), mysqlinit.WithBinlog(mysqlinit.BinlogServer))
	return reports, err
}

func report(ctx context.Context, reports *sql.DB) (*sql.Tx, error) {
	tx, err := reports.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // every SELECT of tx reads one snapshot
	return tx, err
}

func reportAsOfNow(ctx context.Context, reports *sql.DB) (*sql.Conn, error) {
	conn, err := reports.Conn(ctx)
	if err != nil {
		return nil, err
	}
	_, err = conn.ExecContext(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
	return conn, err
}

func openReplica(replicaDSN string) (*sql.DB, error) {
	replica, err := mysqlinit.Open(replicaDSN, mysqlinit.WithBinlog(mysqlinit.BinlogServer), mysqlinit.WithVerify(true))
	return replica, err
}

func healthy(ctx context.Context, db *sql.DB, writes bool) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // the pool can be exhausted, or its server hang
	defer cancel()
	var readOnly bool
	if err := db.QueryRowContext(ctx, "SELECT @@GLOBAL.read_only").Scan(&readOnly); err != nil {
		return err // an *InitError too, if connections cannot be prepared
	}
	if writes && readOnly {
		return errors.New("this pool writes, and its server is read-only")
	}
	return nil
}

func TestRecipeLogger(t *testing.T) {
	document, err := os.ReadFile("docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		var log strings.Builder
		handler := slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
		db, err := openLogged(s.DSN(testserver.App, ""), slog.New(handler))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		db.SetMaxIdleConns(0) // each query connects
		for range 3 {
			value(t, db, "SELECT 1")
		}
		want := fmt.Sprintf(`level=INFO msg="mysqlinit: learned how this server takes the session's variables" pool=orders binlogFormat="asserted not to be STATEMENT" isolationVariable=%s refusedWithError=1227`+"\n", isolationVariable(s))
		if log.String() != want {
			t.Errorf("logged\n%s\nwant, once for all connections,\n%s", &log, want)
		}
		if !s.MySQL && !strings.Contains(string(document), "    "+log.String()) {
			t.Errorf("docs/recipes.md does not show\n%s", &log)
		}
	})
}

// A report through its own pool reads one snapshot, while bookings are made.
func TestRecipeReports(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		bookingTables(t, s)
		writer := pool(t, "mysqlinit", s.DSN(testserver.App, ""))
		reports, err := openReports(s.DSN(testserver.App, ""))
		if err != nil {
			t.Fatal(err)
		}
		defer reports.Close()
		tx, err := report(t.Context(), reports)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		wantValue(t, tx, "SELECT COUNT(*) FROM rooms", "5")
		conn, err := reportAsOfNow(t.Context(), reports)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		testserver.Exec(t, writer, "INSERT INTO bookings VALUES (1, 1)")
		wantValue(t, tx, countBookings, "0")
		var rows int
		if err := conn.QueryRowContext(t.Context(), countBookings).Scan(&rows); err != nil || rows != 0 {
			t.Errorf("CONSISTENT SNAPSHOT: %d rows, %v; want 0", rows, err)
		}
		wantValue(t, writer, countBookings, "1")
		_, err = tx.Exec("INSERT INTO bookings VALUES (1, 2)")
		wantNumber(t, "a write in a report", err, 1792)
	})
}

// A replica, to its clients, is a read-only server. It can also log what it replicates, in
// STATEMENT format.
func TestRecipeReadOnlyServer(t *testing.T) {
	onBothFresh(t, testserver.Config{Binlog: "STATEMENT", Args: []string{"--read-only"}}, func(t *testing.T, s *testserver.Server) {
		admin := pool(t, "mysql", s.DSN(testserver.Root, ""))
		testserver.Exec(t, admin, "CREATE TABLE t (id INT) ENGINE=InnoDB")
		replica, err := openReplica(s.DSN(testserver.App, ""))
		if err != nil {
			t.Fatal(err)
		}
		defer replica.Close()
		before := deniedAttempts(t, s, admin)
		wantValue(t, replica, "SELECT @@SESSION."+isolationVariable(s), "READ-COMMITTED")
		if deniedAttempts(t, s, admin) != before {
			t.Error("the server counts a denied attempt, with binlog=server")
		}
		const insert = "INSERT INTO t VALUES (1)"
		_, err = replica.Exec(insert)
		wantNumber(t, "a write", err, 1290)
		if err := errors.Join(healthy(t.Context(), replica, false), healthy(t.Context(), admin, false)); err != nil {
			t.Error(err)
		}
		if err := healthy(t.Context(), replica, true); err == nil {
			t.Error("the health check of a pool that writes accepts a read-only server")
		}
		// Without binlog=server an ordinary account is refused here, and the check says so.
		err = healthy(t.Context(), pool(t, "mysqlinit", s.DSN(testserver.App, "")), false)
		if _, ok := errors.AsType[*mysqlinit.InitError](err); !ok {
			t.Errorf("got %v, want an InitError", err)
		}
		if !s.MySQL && deniedAttempts(t, s, admin) == before {
			t.Error("the server counts no denied attempt, without binlog=server")
		}
		_, err = pool(t, "mysqlinit", s.DSN(testserver.App, "binlog=server&rejectReadOnly=true")).Exec(insert)
		if !errors.Is(err, driver.ErrBadConn) {
			t.Errorf("with rejectReadOnly: got %v, want driver.ErrBadConn", err)
		}
	})
}

// deniedAttempts returns how many SETs and the like the server has refused for want of a
// privilege. MySQL does not count them.
func deniedAttempts(t *testing.T, s *testserver.Server, admin *sql.DB) string {
	t.Helper()
	if s.MySQL {
		return ""
	}
	return value(t, admin, "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Access_denied_errors'")
}
