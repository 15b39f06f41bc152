//go:build matrix

package matrix

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/integration/conformance"
	"github.com/mysqlinit/mysqlinit/integration/servers"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// The first shard's server has the level that the driver asks for, as if a new my.cnf had
// reached only that server, and vtgate sends no shard the SET. Two init commands change the
// level for certain.
func vitessMixedLevels(t *testing.T, s *shards) {
	s.restart(t, 0, "--transaction-isolation=READ-COMMITTED")
	dsn := s.DSN(testserver.Root, "")
	const cure = "isolation=server&binlog=server&initCommand=SET+SESSION+TRANSACTION+ISOLATION+LEVEL+SERIALIZABLE&initCommand=SET+SESSION+TRANSACTION+ISOLATION+LEVEL+READ+COMMITTED"
	if got, report := seesOnVitess(t, dsn, ""); !slices.Contains(got, "vitess-shards-differ error") {
		t.Errorf("%q, %+v", got, report)
	}
	if got, report := seesOnVitess(t, dsn, cure); !slices.Contains(got, "vitess-shards-differ warning") || report.Session.Isolation != "READ-COMMITTED" {
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

// A server logs in STATEMENT format. vtgate evaluates the assertion of the format on the
// first shard only. There the first statement fails, and with verify it is Connect that
// fails. On another shard nothing fails before a write.
func vitessStatement(t *testing.T, s *shards) {
	command := buildCommand(t)
	const wrongValue, noRowLog = 1231, 1665
	for i, want := range []uint16{wrongValue, noRowLog} {
		t.Run("on "+s.Shards[i].Name, func(t *testing.T) {
			s.restart(t, i, "--binlog-format=STATEMENT")
			s.createRace(t)
			dsn := s.DSN(testserver.Root, "binlog=assert")
			finding := "error vitess-statement: these shards' servers log in STATEMENT format: test/" + s.Shards[i].Name + "\n"
			if got := runCheck(t, command, s.DSN(testserver.App, "")); !strings.Contains(got, finding) {
				t.Error(got)
			}
			if i == 0 { // check has only the plain driver's session, which can write
				finding = "error session-differs"
			}
			if got := runCheck(t, command, dsn); !strings.Contains(got, finding) {
				t.Error(got)
			}
			asserted := openVitess(t, "mysqlinit", dsn)
			if err := insertInto(t.Context(), asserted, onShard[i][0]); number(err) != want {
				t.Errorf("a write there: %v, want error %d", err, want)
			}
			verified := openVitess(t, "mysqlinit", dsn+"&verify=true")
			err := verified.PingContext(t.Context())
			if _, refused := errors.AsType[*mysqlinit.InitError](err); refused != (i == 0) {
				t.Errorf("with verify: %v", err)
			}
			// The cure until the my.cnf is everywhere:
			if err := insertInto(t.Context(), openVitess(t, "mysqlinit", s.DSN(testserver.Root, "isolation=server")), onShard[i][1]); err != nil {
				t.Errorf("a write there with isolation=server: %v", err)
			}
		})
	}
}

// onShard has names of rows of mysqlinit_race that the vindex puts on each shard.
var onShard = [2][]string{{"k12", "k14", "k16", "k18"}, {"k0", "k1", "k10", "k11"}}

func openVitess(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func insertInto(ctx context.Context, q mysqltx.Querier, name string) error {
	_, err := q.ExecContext(ctx, "INSERT INTO mysqlinit_race (name) VALUES (?)", name)
	return err
}

func number(err error) uint16 {
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return serverErr.Number
	}
	return 0
}

// shards is a deployment of Vitess, with connections to its servers that go around it.
type shards struct {
	*servers.Deployment
	direct [2]*sql.DB
}

func newShards(t *testing.T) *shards {
	s := &shards{Deployment: servers.New(t, servers.Vitess)}
	for i, shard := range s.Shards {
		s.direct[i] = openVitess(t, "mysql", testserver.Root+"@tcp("+shard.Addr+")/vt_test")
	}
	return s
}

// restart starts a shard's server again with more arguments until the test has ended.
func (s *shards) restart(t *testing.T, shard int, args ...string) {
	t.Helper()
	if err := s.renew(t.Context(), shard, args...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.renew(context.WithoutCancel(t.Context()), shard); err != nil {
			t.Error(err)
		}
	})
}

// renew starts a shard's server and its tablet again. A tablet that stays has a pool of
// connections to the server before, and each of them is an error (2013) once.
func (s *shards) renew(ctx context.Context, shard int, args ...string) error {
	return errors.Join(s.Shards[shard].Restart(ctx, args...), s.Shards[shard].RestartTablet(ctx))
}

// createRace creates the table mysqlinit_race until the test has ended.
func (s *shards) createRace(t *testing.T) {
	t.Helper()
	db := openVitess(t, "mysql", s.DSN(testserver.Root, ""))
	testserver.Exec(t, db, "CREATE TABLE mysqlinit_race (name VARCHAR(20) PRIMARY KEY)")
	t.Cleanup(func() {
		if _, err := db.ExecContext(context.WithoutCancel(t.Context()), "DROP TABLE mysqlinit_race"); err != nil {
			t.Error(err)
		}
	})
}

// rows returns the rows on each shard, and deletes them.
func (s *shards) rows(t *testing.T) (rows [2]string) {
	t.Helper()
	for i, db := range s.direct {
		if err := s.Shards[i].Await(t.Context(), db.PingContext); err != nil { // it has perhaps been started again
			t.Fatal(err)
		}
		var all sql.NullString
		if err := db.QueryRowContext(t.Context(), "SELECT GROUP_CONCAT(name ORDER BY name) FROM mysqlinit_race").Scan(&all); err != nil {
			t.Fatal(err)
		}
		rows[i] = all.String
		testserver.Exec(t, db, "DELETE FROM mysqlinit_race")
	}
	return rows
}

// breakage is what happens to the second shard in the middle of a transaction.
type breakage struct {
	name   string
	do     func(ctx context.Context, s *shards, tx *sql.Tx) error
	repair func(ctx context.Context, s *shards) error
}

var (
	readOnly  = breakage{"super_read_only", makeReadOnly, makeWritable}
	deadlock  = breakage{"a deadlock", loseDeadlock, nothing}
	killed    = breakage{"KILL", killTransactions, nothing}
	down      = breakage{"the server is killed", killServer, renewSecond}
	noTablet  = breakage{"the tablet is killed", killTablet, restartTablet}
	newTablet = breakage{"the tablet is killed and started again", func(ctx context.Context, s *shards, _ *sql.Tx) error { return restartTablet(ctx, s) }, nothing}
)

func makeReadOnly(ctx context.Context, s *shards, _ *sql.Tx) error {
	_, err := s.direct[1].ExecContext(ctx, "SET GLOBAL super_read_only = 1")
	return err
}

func makeWritable(ctx context.Context, s *shards) error {
	_, err := s.direct[1].ExecContext(ctx, "SET GLOBAL read_only = 0") // and super_read_only with it
	return err
}

func killServer(_ context.Context, s *shards, _ *sql.Tx) error { return s.Shards[1].Kill() }
func killTablet(_ context.Context, s *shards, _ *sql.Tx) error { return s.Shards[1].Tablet.Kill() }
func renewSecond(ctx context.Context, s *shards) error         { return s.renew(ctx, 1) }
func restartTablet(ctx context.Context, s *shards) error       { return s.Shards[1].RestartTablet(ctx) }
func nothing(context.Context, *shards) error                   { return nil }

// refresh is longer than the 100 ms for which nobody must have read innodb_trx before InnoDB
// refreshes it.
const refresh = 200 * time.Millisecond

// killTransactions runs KILL for the connections that have a transaction open on the second
// shard.
func killTransactions(ctx context.Context, s *shards, _ *sql.Tx) error {
	time.Sleep(refresh)
	rows, err := s.direct[1].QueryContext(ctx, "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var errs []error
	killed := 0
	for ; rows.Next(); killed++ {
		var id int
		errs = append(errs, rows.Scan(&id))
		_, err := s.direct[1].ExecContext(ctx, fmt.Sprint("KILL ", id))
		errs = append(errs, err)
	}
	if killed == 0 {
		errs = append(errs, errors.New("there is no transaction to kill"))
	}
	return errors.Join(append(errs, rows.Err())...)
}

// COMMIT commits on one shard after the other. If the second shard fails and it is not its
// turn first, the row on the first shard stays. Run says that nobody knows, and does not run
// again.
func vitessCommit(t *testing.T, s *shards) {
	s.createRace(t)
	for _, b := range []breakage{readOnly, killed, down, noTablet, newTablet} {
		half := false
		for tries := 0; tries < 20 && !half; tries++ {
			calls, got, err := s.commitBroken(t, b, "guard=true")
			_, ambiguous := errors.AsType[*mysqltx.AmbiguousCommitError](err)
			half = got[0] != ""
			if calls != 1 || !ambiguous || got[1] != "" {
				t.Errorf("%s: %d calls, %v, rows %q, want one call, an AmbiguousCommitError, and no row on the second shard", b.name, calls, err, got)
			}
		}
		if !half {
			t.Errorf("%s: the first shard never commits first", b.name)
		}
		// Without the guard, Run's own statement meets most failures before COMMIT does. Then
		// nothing is committed by that call.
		calls, got, err := s.commitBroken(t, b, "")
		_, ambiguous := errors.AsType[*mysqltx.AmbiguousCommitError](err)
		if all := [2]string{onShard[0][0], onShard[1][0]}; !ambiguous && (err == nil) != (got == all) || err != nil && !ambiguous && got != [2]string{} {
			t.Errorf("%s, no guard: %d calls, %v, rows %q", b.name, calls, err, got)
		}
	}
	// The cure: no transaction spans shards.
	const interrupted = 1317
	err := mysqltx.Run(t.Context(), openVitess(t, "mysqlinit", s.DSN(testserver.Root, "transaction_mode='single'")), func(ctx context.Context, tx *sql.Tx) error {
		return errors.Join(insertInto(ctx, tx, onShard[0][0]), insertInto(ctx, tx, onShard[1][0]))
	})
	if got := s.rows(t); number(err) != interrupted || got != [2]string{} {
		t.Errorf("transaction_mode single: %v, rows %q, want error %d and none", err, got, interrupted)
	}
}

// commitBroken runs a transaction that writes on both shards and meets a breakage before it
// commits. It returns the rows that are there afterwards.
func (s *shards) commitBroken(t *testing.T, b breakage, params string) (calls int, rows [2]string, err error) {
	t.Helper()
	db := openVitess(t, "mysqlinit", s.DSN(testserver.Root, params))
	err = mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		err := errors.Join(insertInto(ctx, tx, onShard[0][0]), insertInto(ctx, tx, onShard[1][0]))
		if err == nil && calls == 1 {
			err = b.do(ctx, s, tx)
		}
		return err
	})
	if err := b.repair(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	rows = s.rows(t)
	t.Logf("%s, %q: %d calls, %v; rows %q", b.name, params, calls, err, rows)
	return calls, rows, err
}

// A transaction writes on both shards, loses its part on the second one, and goes on in spite
// of the errors. With the plain driver COMMIT can succeed although rows are missing: after a
// deadlock vtgate rolls back everywhere and goes on. With the guard or in Run it fails, no
// row is left, and the connection works afterwards.
func vitessSwallowed(t *testing.T, s *shards) {
	s.createRace(t)
	dsn := s.DSN(testserver.Root, "")
	for _, b := range []breakage{deadlock, killed, noTablet, newTablet} {
		for next, more := range map[string]string{"COMMIT": "", "a row on the first shard": onShard[0][1], "a row on the second shard": onShard[1][2]} {
			for how, transact := range map[string]func(do func(context.Context, *sql.Tx) error) (*sql.DB, error){
				"plain": func(do func(context.Context, *sql.Tx) error) (*sql.DB, error) {
					db := openVitess(t, "mysql", dsn)
					return db, byHand(t.Context(), db, do)
				},
				"guard": func(do func(context.Context, *sql.Tx) error) (*sql.DB, error) {
					db := openVitess(t, "mysqlinit", dsn+"?guard=true")
					return db, byHand(t.Context(), db, do)
				},
				"Run": func(do func(context.Context, *sql.Tx) error) (*sql.DB, error) {
					db := openVitess(t, "mysqlinit", dsn)
					return db, mysqltx.Run(t.Context(), db, do)
				},
			} {
				testserver.Exec(t, s.direct[1], "INSERT INTO mysqlinit_race VALUES ('"+lockRow+"')")
				var swallowed error
				db, err := transact(func(ctx context.Context, tx *sql.Tx) error {
					if err := errors.Join(insertInto(ctx, tx, onShard[0][0]), insertInto(ctx, tx, onShard[1][0])); err != nil {
						return err
					}
					swallowed = errors.Join(b.do(ctx, s, tx), insertInto(ctx, tx, onShard[1][1]))
					if more != "" {
						swallowed = errors.Join(swallowed, insertInto(ctx, tx, more))
					}
					return nil
				})
				if err := b.repair(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				afterwards := insertInto(t.Context(), db, onShard[0][2])
				got := s.rows(t)
				story := fmt.Sprintf("%s, then %s, %s: swallowed %v; COMMIT: %v; afterwards %v; rows %q", b.name, next, how, swallowed, err, afterwards, got)
				t.Log(story)
				switch {
				case how == "plain" && b.name == deadlock.name:
					if err != nil || strings.Contains(got[0], onShard[0][0]) || strings.Contains(got[1], onShard[1][0]) {
						t.Error("COMMIT should succeed without the first two rows: " + story)
					}
				case how == "plain" && b.name == noTablet.name:
					if afterwards == nil {
						t.Error("vtgate should refuse everything but a ROLLBACK: " + story)
					}
				case how == "plain":
				case err == nil, afterwards != nil, got != [2]string{onShard[0][2], lockRow}:
					t.Error(story)
				case how == "guard" && !errors.Is(err, mysqlinit.ErrTransactionLost):
					t.Error("the guard has not noticed: " + story)
				}
			}
		}
	}
}

func byHand(ctx context.Context, db *sql.DB, do func(context.Context, *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := do(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// lockRow is a row on the second shard that a transaction can lock.
var lockRow = onShard[1][3]

// loseDeadlock makes a transaction the victim of a deadlock on the second shard, over the row
// that it has inserted there and lockRow. The other transaction survives, because it
// has changed more rows.
func loseDeadlock(ctx context.Context, s *shards, tx *sql.Tx) error {
	other, err := s.direct[1].BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = other.Rollback() }()
	if _, err := other.ExecContext(ctx, "INSERT INTO mysqlinit_race SELECT CONCAT('x', help_topic_id) FROM mysql.help_topic LIMIT 100"); err != nil {
		return err
	}
	const lock = "SELECT name FROM mysqlinit_race WHERE name = ? FOR UPDATE"
	var name string
	if err := other.QueryRowContext(ctx, lock, lockRow).Scan(&name); err != nil {
		return err
	}
	waited := make(chan error, 1)
	go func() { waited <- other.QueryRowContext(ctx, lock, onShard[1][0]).Scan(&name) }()
	if err := s.awaitLockWait(ctx); err != nil {
		return err
	}
	var locked string
	lost := tx.QueryRowContext(ctx, lock, lockRow).Scan(&locked)
	<-waited
	return lost
}

// awaitLockWait waits until a transaction on the second shard waits for a lock.
func (s *shards) awaitLockWait(ctx context.Context) error {
	return s.Shards[1].Await(ctx, func(ctx context.Context) error {
		time.Sleep(refresh)
		var waiting bool
		err := s.direct[1].QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'").Scan(&waiting)
		if err == nil && !waiting {
			err = errors.New("no transaction waits for a lock")
		}
		return err
	})
}

// GetOrCreate's INSERT waits for a lock on the second shard, and loses the shard. Nobody knows
// whether it creates the row: if the tablet is killed, the server goes on.
func vitessCreateLost(t *testing.T, s *shards) {
	s.createRace(t)
	for i, b := range []breakage{killed, down, noTablet, newTablet} {
		name := onShard[1][i]
		holder, err := s.direct[1].BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := insertInto(t.Context(), holder, name); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		var insert error
		db := openVitess(t, "mysqlinit", s.DSN(testserver.Root, ""))
		go func() {
			_, _, err := mysqltx.GetOrCreate(t.Context(), db, func(ctx context.Context, q mysqltx.Querier, lock string) (found string, err error) {
				err = q.QueryRowContext(ctx, "SELECT name FROM mysqlinit_race WHERE name = ?"+lock, name).Scan(&found)
				return found, err
			}, func(ctx context.Context, q mysqltx.Querier) (string, error) {
				insert = insertInto(ctx, q, name)
				return name, insert
			})
			done <- err
		}()
		if err := s.awaitLockWait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.do(t.Context(), s, nil), b.repair(t.Context(), s)); err != nil {
			t.Fatal(err)
		}
		_ = holder.Rollback()
		err = <-done
		t.Logf("%s: INSERT: %v; GetOrCreate: %v; rows %q", b.name, insert, err, s.rows(t))
		if _, ambiguous := errors.AsType[*mysqltx.AmbiguousCommitError](err); !ambiguous {
			t.Errorf("%s: %v, want an AmbiguousCommitError", b.name, err)
		}
	}
}
