package docs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// This is the code of docs/before.md. TestDocsCodeCompiles compares the two.

func beginBefore(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	tx, err := db.BeginTx(ctx, nil)
	return tx, err
}

func beginNow(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	return tx, err
}

func snapshotBefore(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
	return err
}

func snapshotNow(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ") // for the next transaction only
	if err == nil {
		_, err = conn.ExecContext(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
	}
	return err
}

func book(ctx context.Context, tx *sql.Tx, room, from, to int) (booked bool, err error) {
	var taken int
	err = tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM bookings WHERE room = ? AND slot BETWEEN ? AND ? FOR UPDATE", room, from, to).Scan(&taken)
	if err != nil || taken > 0 {
		return false, err
	}
	looked(ctx)
	_, err = tx.ExecContext(ctx, "INSERT INTO bookings (room, slot) VALUES (?, ?)", room, from)
	return err == nil, err
}

func bookInRoom(ctx context.Context, tx *sql.Tx, room, from, to int) (booked bool, err error) {
	err = tx.QueryRowContext(ctx, "SELECT id FROM rooms WHERE id = ? FOR UPDATE", room).Scan(&room)
	if err != nil {
		return false, err
	}
	return book(ctx, tx, room, from, to)
}

func bookRepeatably(ctx context.Context, db *sql.DB, room, from, to int) (booked bool, err error) {
	err = mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) (err error) {
		booked, err = book(ctx, tx, room, from, to)
		return err
	}, mysqltx.WithIsolation(sql.LevelRepeatableRead))
	return booked, err
}

func archive(ctx context.Context, tx *sql.Tx, slot int) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO archive SELECT * FROM bookings WHERE slot < ?", slot)
	if err != nil {
		return err
	}
	looked(ctx)
	_, err = tx.ExecContext(ctx, "DELETE FROM bookings WHERE slot < ?", slot)
	return err
}

func archiveRepeatably(ctx context.Context, db *sql.DB, slot int) error {
	err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		return archive(ctx, tx, slot)
	}, mysqltx.WithIsolation(sql.LevelRepeatableRead))
	return err
}

func setBefore(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE")
	if err == nil {
		_, err = db.ExecContext(ctx, "SET SESSION lock_wait_timeout = 5")
	}
	return err
}

func setNow(ctx context.Context, dsn string) (*sql.Tx, error) {
	db, err := sql.Open("mysqlinit", dsn+"?lock_wait_timeout=5&guard=true")
	if err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	return tx, err
}

func isMySQLBefore(db *sql.DB) bool {
	_, ok := db.Driver().(*mysql.MySQLDriver)
	return ok
}

func isMySQLNow(db *sql.DB) bool {
	switch db.Driver().(type) {
	case *mysql.MySQLDriver, *mysqlinit.Driver:
		return true
	}
	return false
}

// beforeSearch is a search of docs/before.md, with the first code below it, if there is some.
type beforeSearch struct{ title, command, code string }

func beforeSearches(t *testing.T) (searches []beforeSearch) {
	t.Helper()
	text, err := os.ReadFile("docs/before.md")
	if err != nil {
		t.Fatal(err)
	}
	for section := range strings.SplitSeq(string(text), "\n## ") {
		search := beforeSearch{}
		search.title, _, _ = strings.Cut(section, "\n")
		for _, block := range fence.FindAllStringSubmatch(section, -1) {
			if block[1] == "sh" && strings.Contains(block[2], "grep") {
				search.command = block[2]
			}
			if block[1] == "go" && search.command != "" && search.code == "" {
				search.code = block[2]
			}
		}
		if search.command != "" {
			searches = append(searches, search)
		}
	}
	if len(searches) < 8 {
		t.Errorf("found only %d searches", len(searches))
	}
	return searches
}

// found returns what a search prints in a folder, which also stands for the server's
// configuration.
func (s beforeSearch) found(t *testing.T, folder string) string {
	t.Helper()
	search := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(s.command, "/etc/mysql /etc/my.cnf /etc/my.cnf.d", "."))
	search.Dir = folder
	output, err := search.Output()
	if err != nil {
		t.Errorf("%s: %s: %v", s.title, s.command, err)
	}
	return string(output)
}

// Each search of docs/before.md finds the code that stands below it.
func TestBeforeSearchesFindTheCode(t *testing.T) {
	for _, search := range beforeSearches(t) {
		if search.code == "" {
			continue
		}
		printed := search.found(t, ".")
		if strings.Contains(search.command, "go list") && strings.Contains(printed, "/driver.go:") {
			t.Errorf("%s: this search finds the sources of the drivers:\n%s", search.title, printed)
		}
		if !anyLineIn(flat(search.code), flat(printed)) {
			t.Errorf("%s: this search finds no line of the code below it:\n%s%s", search.title, search.command, search.code)
		}
	}
}

// Programs write the same in many ways. Each search finds those of the samples that it
// is for, and leaves the others alone.
func TestBeforeSearchesFindEachSpelling(t *testing.T) {
	for _, test := range []struct {
		title          string
		finds, ignores []string
	}{
		{
			"Several reads in one transaction",
			[]string{
				"tx, err := db.Begin()",
				"tx, err := db.BeginTx(ctx, nil)",
				"tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})",
				"tx, err := db.BeginTx(ctx, &sql.TxOptions{})",
				"tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelDefault})",
				"tx, err := db.BeginTx(\n\tr.Context(),\n\tnil,\n)",
				"tx, err := db.Beginx()", "tx, err := db.BeginTxx(ctx, nil)", "tx := db.MustBegin()", "tx := db.MustBeginTx(ctx, nil)", // sqlx
				"tx, err := client.Tx(ctx)", "tx, err := client.BeginTx(ctx, nil)", // ent
				"session := engine.NewSession()", "res, err := engine.Transaction(fn)", // xorm
				"err := db.Transaction(func(tx *gorm.DB) error {", "err := db.WithContext(ctx).Transaction(fn)", "tx := db.Begin(&sql.TxOptions{ReadOnly: true})", // GORM
				"err := db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {", "err := db.RunInTx(\n\tctx,\n\tnil,\n\tfn,\n)", // bun
			},
			[]string{
				"tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})",
				"tx, err := client.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})",
				"tx.Commit()", "q := queries.WithTx(tx)",
			},
		},
		{
			"CONSISTENT SNAPSHOT",
			[]string{`conn.ExecContext(ctx, "start transaction with consistent snapshot, read only")`},
			[]string{`conn.ExecContext(ctx, "START TRANSACTION READ ONLY")`},
		},
		{
			"A range, FOR UPDATE, then INSERT",
			[]string{
				"db.Query(`\n\tSELECT id\n\tFROM bookings\n\tFOR UPDATE`)", `db.Query("SELECT 1 FROM t FOR SHARE")`, "SELECT 1 FROM t\nLOCK IN SHARE MODE;",
				`tx.Clauses(clause.Locking{Strength: "UPDATE"})`, // GORM
				"client.Booking.Query().ForUpdate().All(ctx)",    // ent
				`db.NewSelect().Model(&b).For("UPDATE")`,         // bun
				"session.ForUpdate().Find(&bookings)",            // xorm
			},
			[]string{`db.Exec("UPDATE bookings SET room = ?", room)`},
		},
		{
			"INSERT … SELECT, then DELETE",
			[]string{
				`tx.Exec("INSERT INTO archive SELECT * FROM bookings")`,
				"tx.Exec(`INSERT INTO archive\n\tSELECT * FROM bookings`)",
				"tx.Exec(`\n\tinsert ignore into archive (\n\t\troom,\n\t\tslot,\n\t\tmade_at\n\t)\n\tselect room, slot, made_at\n\tfrom bookings\n`)",
				"REPLACE\nINTO archive\nSELECT * FROM bookings;",
				"tx.Exec(\"INSERT INTO archive (room) \" +\n\t\"SELECT room FROM bookings\")",
			},
			[]string{`tx.Exec("INSERT INTO archive VALUES (?)", room)`, `tx.Query("SELECT * FROM archive")`, "strings.Replace(name, a, b, 1)\nselect {}"},
		},
		{
			"SET in the code",
			[]string{
				`db.Exec("SET SESSION wait_timeout = 5")`, `db.Exec("set foreign_key_checks=0")`, `db.Exec("SET @tenant = ?", tenant)`, `db.Exec("SET NAMES latin1")`,
				"db.Exec(`\n\t\tSET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE`)",
				"db.Exec(`\nset autocommit = 0\n`)",
				"db.Exec(`\n\tSET foreign_key_checks = 0\n`)",
				"db.Exec(`  SET GLOBAL wait_timeout = 5`)",
			},
			[]string{"db.Exec(`\n\tUPDATE bookings\n\tSET room = ?\n`, room)", `db.Exec("UPDATE bookings SET room = ?", room)`, "set := map[string]bool{}"},
		},
		{
			"The driver's type",
			[]string{"_, ok := db.Driver().(*mysql.MySQLDriver)", `if db.DriverName() == "mysql" {`},
			[]string{"errors.As(err, &mysqlErr)"},
		},
		{
			"Replication filters by database",
			[]string{"binlog-do-db = app", "binlog_ignore_db=test", "replicate-do-db=app", "Replicate_Ignore_DB=test"},
			[]string{"replicate-do-table=app.t", "replicate-wild-do-table=app.%"},
		},
	} {
		t.Run(test.title, func(t *testing.T) {
			folder := t.TempDir()
			write := func(name, sample string) {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(sample+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for i, sample := range test.finds {
				write(fmt.Sprintf("finds%d.go", i), sample)
			}
			for i, sample := range test.ignores {
				write(fmt.Sprintf("ignores%d.go", i), sample)
			}
			searches := beforeSearches(t)
			i := slices.IndexFunc(searches, func(s beforeSearch) bool { return s.title == test.title })
			if i < 0 {
				t.Fatal("docs/before.md has no search with this title")
			}
			found := searches[i].found(t, folder)
			for i, sample := range test.finds {
				if !strings.Contains(found, fmt.Sprintf("finds%d.go", i)) {
					t.Errorf("not found:\n%s", sample)
				}
			}
			for i, sample := range test.ignores {
				if strings.Contains(found, fmt.Sprintf("ignores%d.go", i)) {
					t.Errorf("found:\n%s", sample)
				}
			}
		})
	}
}

// anyLineIn reports whether grep has printed a line of a block.
func anyLineIn(block, printed string) bool {
	for line := range strings.SplitSeq(block, "\n") {
		for p := range strings.SplitSeq(printed, "\n") {
			if line != "" && strings.HasSuffix(strings.ReplaceAll(p, ": ", ":"), ":"+strings.ReplaceAll(line, ": ", ":")) {
				return true
			}
		}
	}
	return false
}

// bookingTables are two tables of a booking program.
func bookingTables(t *testing.T, s *testserver.Server) {
	t.Helper()
	testserver.Exec(t, pool(t, "mysql", s.DSN(testserver.App, "")),
		"CREATE TABLE rooms (id INT PRIMARY KEY) ENGINE=InnoDB",
		"CREATE TABLE bookings (room INT, slot INT, KEY (room, slot)) ENGINE=InnoDB",
		"INSERT INTO rooms VALUES (1), (2), (3), (4), (5)")
}

const countBookings = "SELECT COUNT(*) FROM bookings"

func TestBeforeTwoReadsInOneTransaction(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		bookingTables(t, s)
		other := pool(t, "mysql", s.DSN(testserver.App, ""))
		for _, test := range []struct {
			driver string
			begin  func(context.Context, *sql.DB) (*sql.Tx, error)
			agree  bool
		}{
			{"mysql", beginBefore, true},
			{"mysqlinit", beginBefore, false},
			{"mysqlinit", beginNow, true},
		} {
			tx, err := test.begin(t.Context(), pool(t, test.driver, s.DSN(testserver.App, "")))
			if err != nil {
				t.Fatal(err)
			}
			first := value(t, tx, countBookings)
			testserver.Exec(t, other, "INSERT INTO bookings VALUES (5, 1)")
			if second := value(t, tx, countBookings); (first == second) != test.agree {
				t.Errorf("%s: read %s, then %s; want the same: %v", test.driver, first, second, test.agree)
			}
			if err := tx.Rollback(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestBeforeConsistentSnapshot(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		bookingTables(t, s)
		other := pool(t, "mysql", s.DSN(testserver.App, ""))
		for _, test := range []struct {
			driver   string
			start    func(context.Context, *sql.Conn) error
			snapshot bool
		}{
			{"mysql", snapshotBefore, true},
			{"mysqlinit", snapshotBefore, false},
			{"mysqlinit", snapshotNow, true},
		} {
			conn, err := pool(t, test.driver, s.DSN(testserver.App, "")).Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var before string
			// Reading a table also ends the warnings of the preparation, which MariaDB would show below.
			if err := conn.QueryRowContext(t.Context(), countBookings).Scan(&before); err != nil {
				t.Fatal(err)
			}
			if err := test.start(t.Context(), conn); err != nil {
				t.Fatal(err)
			}
			// MySQL warns that there is no snapshot, with 138. MariaDB does not.
			var warning string
			err = conn.QueryRowContext(t.Context(), "SHOW WARNINGS").Scan(new(string), &warning, new(string))
			if errors.Is(err, sql.ErrNoRows) {
				err = nil
			}
			if want := map[bool]string{true: "138"}[s.MySQL && !test.snapshot]; err != nil || warning != want {
				t.Errorf("%s: got the warning %q, want %q; %v", test.driver, warning, want, err)
			}
			testserver.Exec(t, other, "INSERT INTO bookings VALUES (5, 1)")
			var after string
			if err := conn.QueryRowContext(t.Context(), countBookings).Scan(&after); err != nil || (after == before) != test.snapshot {
				t.Errorf("%s: read %s after %s; want a snapshot: %v; %v", test.driver, after, before, test.snapshot, err)
			}
			testserver.Exec(t, conn, "ROLLBACK")
		}
	})
}

type lookedKey struct{}

// looked calls the hook that a test put into the context.
func looked(ctx context.Context) {
	if hook, ok := ctx.Value(lookedKey{}).(func()); ok {
		hook()
	}
}

func TestBeforeTwoBookings(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		bookingTables(t, s)
		plain := pool(t, "mysql", s.DSN(testserver.App, ""))
		db := pool(t, "mysqlinit", s.DSN(testserver.App, ""))
		in := func(db *sql.DB, fn func(ctx context.Context, tx *sql.Tx, room, from, to int) (bool, error)) func(context.Context, int) (bool, error) {
			return func(ctx context.Context, room int) (booked bool, err error) {
				err = inTx(ctx, db, func(tx *sql.Tx) (err error) {
					booked, err = fn(ctx, tx, room, 9, 10)
					return err
				})
				return booked, err
			}
		}
		booked, err := bothBook(t, s, 1, in(plain, book))
		if wantNumber(t, "plain driver, one of two", err, 1213); booked != 1 {
			t.Errorf("plain driver: %d booked, want 1", booked)
		}
		if booked, err := bothBook(t, s, 2, in(db, book)); booked != 2 || err != nil {
			t.Errorf("READ COMMITTED: %d booked, %v; want 2: the hazard is not there", booked, err)
		}
		if booked, err := bothBook(t, s, 3, in(db, bookInRoom)); booked != 1 || err != nil {
			t.Errorf("with the room locked: %d booked, %v; want 1", booked, err)
		}
		booked, err = bothBook(t, s, 4, func(ctx context.Context, room int) (bool, error) { return bookRepeatably(ctx, db, room, 9, 10) })
		if booked != 1 || err != nil {
			t.Errorf("at REPEATABLE READ in Run: %d booked, %v; want 1", booked, err)
		}
		testserver.Exec(t, plain, "DELETE FROM bookings", "ALTER TABLE bookings ADD UNIQUE KEY (room, slot)")
		booked, err = bothBook(t, s, 5, in(db, book))
		if wantNumber(t, "with a unique key, one of two", err, 1062); booked != 1 || !mysqltx.IsDuplicateKey(err) {
			t.Errorf("with a unique key: %d booked, %v; want 1", booked, err)
		}
	})
}

// inTx runs fn in a transaction at the session's level.
func inTx(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// A booking is made between the two statements of a transaction that archives bookings.
func TestBeforeArchiving(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		bookingTables(t, s)
		other := pool(t, "mysql", s.DSN(testserver.Root, ""))
		testserver.Exec(t, other, "CREATE TABLE archive LIKE bookings")
		db := pool(t, "mysqlinit", s.DSN(testserver.App, ""))
		atLevelOf := func(db *sql.DB) func(context.Context) error {
			return func(ctx context.Context) error {
				return inTx(ctx, db, func(tx *sql.Tx) error { return archive(ctx, tx, 9) })
			}
		}
		for _, test := range []struct {
			name    string
			archive func(context.Context) error
			lost    bool // the other's booking, which was acknowledged
		}{
			{"plain driver", atLevelOf(pool(t, "mysql", s.DSN(testserver.App, ""))), false},
			{"READ COMMITTED", atLevelOf(db), true},
			{"at REPEATABLE READ in Run", func(ctx context.Context) error { return archiveRepeatably(ctx, db, 9) }, false},
		} {
			testserver.Exec(t, other, "DELETE FROM archive", "DELETE FROM bookings", "INSERT INTO bookings VALUES (1, 8)")
			booked := make(chan error, 1)
			ctx := context.WithValue(t.Context(), lookedKey{}, sync.OnceFunc(func() {
				done := make(chan struct{})
				go func() {
					_, err := other.ExecContext(t.Context(), "INSERT INTO bookings VALUES (2, 7)")
					close(done)
					booked <- err
				}()
				awaitLockOr(t, other, done)
			}))
			if err := test.archive(ctx); err != nil {
				wantNumber(t, test.name, err, 1213)
			}
			err := <-booked
			if err != nil { // the locks met in a deadlock, so the other session knows
				wantNumber(t, test.name+", the booking", err, 1213)
			}
			rows := value(t, other, "SELECT (SELECT COUNT(*) FROM archive WHERE room = 2) + (SELECT COUNT(*) FROM bookings WHERE room = 2)")
			if lost := err == nil && rows == "0"; lost != test.lost {
				t.Errorf("%s: the booking is there %s times, its error was %v; want it lost: %v", test.name, rows, err, test.lost)
			}
		}
	})
}

// bothBook runs two bookings of the same slot at the same time: when one has looked, the
// other begins, and has looked too or waits for a lock before the first goes on. It returns
// how many rows there are, and the errors.
func bothBook(t *testing.T, s *testserver.Server, room int, attempt func(ctx context.Context, room int) (booked bool, err error)) (rows int, err error) {
	t.Helper()
	admin := pool(t, "mysql", s.DSN(testserver.Root, ""))
	second := make(chan error, 1)
	both := sync.OnceFunc(func() {
		hasLooked := make(chan struct{})
		go func() {
			_, err := attempt(context.WithValue(t.Context(), lookedKey{}, sync.OnceFunc(func() { close(hasLooked) })), room)
			second <- err
		}()
		awaitLockOr(t, admin, hasLooked)
	})
	_, err = attempt(context.WithValue(t.Context(), lookedKey{}, both), room)
	err = errors.Join(err, <-second)
	if scanErr := admin.QueryRow("SELECT COUNT(*) FROM bookings WHERE room = ?", room).Scan(&rows); scanErr != nil {
		t.Fatal(scanErr)
	}
	return rows, err
}

// awaitLockOr waits until a transaction of the server waits for a lock, or until done is
// closed.
func awaitLockOr(t *testing.T, admin *sql.DB, done <-chan struct{}) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
		}
		var waits int
		if err := admin.QueryRow("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'").Scan(new(string), &waits); err != nil {
			t.Fatal(err)
		}
		if waits > 0 {
			return
		}
	}
	t.Error("the second transaction has neither looked nor waited")
}

func TestBeforeRawSET(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		session := "SELECT CONCAT_WS(' ', @@SESSION." + isolationVariable(s) + ", @@SESSION.lock_wait_timeout)"
		for params, want := range map[string]string{
			"":                                 "SERIALIZABLE 5", // seen by the pool's next user
			"guard=true":                       "READ-COMMITTED 5",
			"guard=true&lock_wait_timeout=600": "READ-COMMITTED 600",
		} {
			db := pool(t, "mysqlinit", s.DSN(testserver.App, params))
			db.SetMaxOpenConns(1)
			if err := setBefore(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			wantValue(t, db, session, want)
		}
		tx, err := setNow(t.Context(), s.DSN(testserver.App, ""))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		wantValue(t, tx, "SELECT @@SESSION.lock_wait_timeout", "5")
	})
}

func TestBeforeDriverAssertion(t *testing.T) {
	for driver, want := range map[string]bool{"mysql": true, "mysqlinit": false} {
		db := pool(t, driver, "/")
		if got := isMySQLBefore(db); got != want {
			t.Errorf("%s: before: %v, want %v", driver, got, want)
		}
		if !isMySQLNow(db) {
			t.Errorf("%s: now: not MySQL", driver)
		}
	}
}

// hardCodedFlag is the flag of docs/before.md that frees the name "mysql".
func hardCodedFlag(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("docs/before.md")
	if err != nil {
		t.Fatal(err)
	}
	flag := regexp.MustCompile(`go build -ldflags '([^']+)'`).FindSubmatch(text)
	if flag == nil {
		t.Fatal("docs/before.md has no go build -ldflags")
	}
	return string(flag[1])
}

func TestBeforeProgramThatHardCodesTheName(t *testing.T) {
	flag := hardCodedFlag(t)
	program := filepath.Join(t.TempDir(), "hardcoded")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-ldflags", flag, "-o", program, "./internal/hardcoded").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		for driver, want := range map[string]string{
			"mysql":       "READ-COMMITTED ROW",
			"mysqlinit":   "READ-COMMITTED ROW",
			"mysql-plain": "REPEATABLE-READ MIXED",
		} {
			output, err := exec.CommandContext(t.Context(), program, driver, s.DSN(testserver.Root, ""), isolationVariable(s)).CombinedOutput()
			if got := strings.TrimSpace(string(output)); err != nil || got != want {
				t.Errorf("%s: the session is %q, want %q; %v", driver, got, want, err)
			}
		}
	})
	// Without the flag, as in this test's own program, Register names it.
	defer func() {
		err, _ := recover().(error)
		if err == nil || !strings.Contains(err.Error(), "-ldflags '"+flag+"'") {
			t.Errorf("got the panic %v, want one with the flag %q", err, flag)
		}
	}()
	mysqlinit.Register("mysql")
}

// The plain driver connects with each of these DSNs, and Open refuses it.
func TestBeforeRefusedDSNs(t *testing.T) {
	onBoth(t, logsStatements, func(t *testing.T, s *testserver.Server) {
		level := isolationVariable(s)
		for _, params := range []string{
			"binlog_format=STATEMENT",
			"binlog_format=STATEMENT&" + level + "=%27READ-COMMITTED%27",
			"time_zone='SYSTEM',SESSION+binlog_format='ROW'",
			level + "=%27SERIALIZABLE%27&" + level + "=%27REPEATABLE-READ%27",
			"@@" + level + "=%27SERIALIZABLE%27",
		} {
			dsn := s.DSN(testserver.Root, params)
			if err := pool(t, "mysql", dsn).PingContext(t.Context()); err != nil {
				t.Errorf("%s: the plain driver: %v", params, err)
			}
			if db, err := sql.Open("mysqlinit", dsn); err == nil {
				t.Errorf("%s: Open returns no error", params)
				_ = db.Close()
			}
		}
		// What the page says to write instead.
		for _, params := range []string{"binlog_format=STATEMENT&isolation=server", "time_zone='SYSTEM'&binlog_format='ROW'"} {
			if err := pool(t, "mysqlinit", s.DSN(testserver.Root, params)).PingContext(t.Context()); err != nil {
				t.Errorf("%s: %v", params, err)
			}
		}
	})
}

func TestBeforeServerThatLogsStatements(t *testing.T) {
	onBoth(t, logsStatements, func(t *testing.T, s *testserver.Server) {
		bookingTables(t, s) // written through the plain driver
		const insert = "INSERT INTO bookings VALUES (1, 1)"
		_, err := pool(t, "mysqlinit", s.DSN(testserver.App, "")).Exec(insert)
		if initErr, ok := errors.AsType[*mysqlinit.InitError](err); !ok || !strings.Contains(initErr.Error(), "1665") {
			t.Errorf("got %v, want an InitError that explains 1665", err)
		}
		testserver.Exec(t, pool(t, "mysqlinit", s.DSN(testserver.App, "isolation=server")), insert)
		reader := pool(t, "mysqlinit", s.DSN(testserver.App, "binlog=server"))
		wantValue(t, reader, countBookings, "1")
		_, err = reader.Exec(insert)
		wantNumber(t, "a write with binlog=server", err, 1665)
	})
}

func TestBeforeFiltersByDatabase(t *testing.T) {
	onBoth(t, logsStatements, func(t *testing.T, s *testserver.Server) {
		bookingTables(t, s)
		admin := pool(t, "mysql", s.DSN(testserver.Root, ""))
		testserver.Exec(t, admin, "CREATE DATABASE elsewhere")
		defer testserver.Exec(t, admin, "DROP DATABASE elsewhere")
		position := func() (file, position string) {
			show := "SHOW MASTER STATUS"
			if s.MySQL {
				show = "SHOW BINARY LOG STATUS"
			}
			rows, err := admin.Query(show)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = rows.Close() }()
			columns, err := rows.Columns()
			if err != nil || !rows.Next() {
				t.Fatal("no position", err, rows.Err())
			}
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(sql.NullString)
			}
			if err := rows.Scan(values...); err != nil {
				t.Fatal(err)
			}
			return values[0].(*sql.NullString).String, values[1].(*sql.NullString).String
		}
		for driver, logged := range map[string]bool{"mysql": false, "mysqlinit": true} {
			db := pool(t, driver, strings.Replace(s.DSN(testserver.Root, ""), "/test", "/elsewhere", 1))
			file, before := position()
			testserver.Exec(t, db, "INSERT INTO test.bookings VALUES (1, 1)")
			if newFile, after := position(); newFile != file || (after != before) != logged {
				t.Errorf("%s: the log went from %s to %s, want a row logged: %v", driver, before, after, logged)
			}
		}
	})
}
