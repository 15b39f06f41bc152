package conformance

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// fate is what a server does to a transaction.
type fate bool

const (
	survives fate = false // it loses a statement at most
	lost     fate = true
)

// place is where a hazard can be met.
type place byte

const (
	anywhere place = iota
	onVitess
	notOnVitess
)

// hazard is a way to lose a transaction, or to lose no more than a statement of it.
type hazard struct {
	name  string
	level sql.IsolationLevel
	fate  fate // unless the statement's error says otherwise
	batch bool // it sends several statements at once, which the Router refuses
	on    place
	meet  func(v *victim) error // returns the error that the program swallows
}

func (h hazard) inBatch() hazard {
	h.batch = true
	return h
}

// victim is a transaction under the guard that meets a hazard.
type victim struct {
	s         *suite
	ctx       context.Context
	conn      *sql.Conn
	tx        *sql.Tx
	txCtx     context.Context // the context of BeginTx
	endTx     context.CancelFunc
	session   string  // its CONNECTION_ID(), on Vitess that of the tablet
	plain     *sql.DB // other sessions
	atTimeout fate    // what a lock wait that times out does to it
	table     string  // a logTable, in which only this victim touches rows one and two
	one, two  int
}

func (v *victim) exec(text string) error {
	_, err := v.tx.ExecContext(v.ctx, text)
	return err
}

func (v *victim) query(text string) error { return readAll(v.tx.QueryContext(v.ctx, text)) }

// touch returns the text of a statement that changes row two.
func (v *victim) touch() string {
	return fmt.Sprintf("UPDATE %s SET entry = CONCAT(entry, '+') WHERE id = %d", v.table, v.two)
}

// lock returns the text of a query that locks row two.
func (v *victim) lock() string {
	return fmt.Sprintf("SELECT entry FROM %s WHERE id = %d FOR UPDATE", v.table, v.two)
}

// deadlock returns a hazard in which touch, which touches row two, meets error 1213.
func deadlocked(how string, touch func(v *victim) error) hazard {
	return hazard{name: "1213 in " + how, fate: lost, meet: func(v *victim) error {
		if err := addPlus(v.ctx, v.tx, v.table, v.one); err != nil {
			return err
		}
		return loseDeadlock(v.ctx, v.plain, v.table, v.one, v.two, func() error { return touch(v) })
	}}
}

// waiting returns a hazard in which a statement waits for row two, which another session
// has locked, until something happens to it.
func waiting(name string, fate fate, happens func(v *victim, wait func(context.Context) error) error) hazard {
	return hazard{name: name, fate: fate, meet: func(v *victim) error {
		other, err := v.plain.BeginTx(v.ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = other.Rollback() }()
		if err := addPlus(v.ctx, other, v.table, v.two); err != nil {
			return err
		}
		return happens(v, func(ctx context.Context) error {
			_, err := v.tx.ExecContext(ctx, v.touch())
			return err
		})
	}}
}

// during runs a statement that waits for a lock, and do once it waits.
func (v *victim) during(ctx context.Context, wait func(context.Context) error, do func() error) error {
	waited := make(chan error, 1)
	go func() { waited <- wait(ctx) }()
	err := awaitLockWait(v.ctx, v.plain, v.session)
	if err == nil {
		err = do()
	}
	return errors.Join(err, <-waited)
}

// kill runs KILL or KILL QUERY.
func (v *victim) kill(how string) error {
	_, err := v.plain.ExecContext(v.ctx, how+" "+v.session)
	return err
}

var hazards = []hazard{
	deadlocked("Exec", func(v *victim) error { return v.exec(v.touch()) }),
	deadlocked("Exec with arguments", func(v *victim) error { return addPlus(v.ctx, v.tx, v.table, v.two) }),
	deadlocked("Query", func(v *victim) error { return v.query(v.lock()) }),
	deadlocked("prepared Exec", func(v *victim) error {
		stmt, err := v.tx.PrepareContext(v.ctx, v.touch())
		if err != nil {
			return err
		}
		_, err = stmt.ExecContext(v.ctx)
		return errors.Join(err, stmt.Close())
	}),
	deadlocked("prepared Query", func(v *victim) error {
		stmt, err := v.tx.PrepareContext(v.ctx, v.lock())
		if err != nil {
			return err
		}
		return errors.Join(readAll(stmt.QueryContext(v.ctx)), stmt.Close())
	}),
	deadlocked("rows closed early", func(v *victim) error {
		rows, err := v.tx.QueryContext(v.ctx, "SELECT 1; "+v.lock())
		if err != nil {
			return err
		}
		return rows.Close()
	}).inBatch(),
	deadlocked("next result set", func(v *victim) error { return v.query("SELECT 1; " + v.lock()) }).inBatch(),
	deadlocked("a batch", func(v *victim) error { return v.exec("DO 1; " + v.touch() + "; DO 2") }).inBatch(),
	deadlocked("EXECUTE", func(v *victim) error {
		return errors.Join(v.exec("SET @t = \""+v.touch()+"\""), v.exec("PREPARE p FROM @t"), v.exec("EXECUTE p"))
	}),
	deadlocked("a function", func(v *victim) error { return v.query(fmt.Sprintf("SELECT mysqlinit_touch(%d)", v.two)) }),
	deadlocked("a function in a SET", func(v *victim) error { return v.exec(fmt.Sprintf("SET @x = mysqlinit_touch(%d)", v.two)) }),
	deadlocked("a procedure", func(v *victim) error { return v.exec(fmt.Sprintf("CALL mysqlinit_touch(%d)", v.two)) }),
	deadlocked("Exec after 1062", func(v *victim) error {
		return errors.Join(v.exec(fmt.Sprintf("INSERT INTO %s (id, entry) VALUES (%d, 'twin')", v.table, v.one)), v.exec(v.touch()))
	}),
	deadlocked("Exec after 1064", func(v *victim) error { return errors.Join(v.exec("SELEC"), v.exec(v.touch())) }),
	deadlocked("INSERT IGNORE", func(v *victim) error {
		return v.exec(fmt.Sprintf("INSERT IGNORE INTO %s (id, entry) VALUES (%d, 'twin') ON DUPLICATE KEY UPDATE entry = 'x'", v.table, v.two))
	}),
	{name: "another's INSERT at REPEATABLE READ", level: sql.LevelRepeatableRead, fate: survives, meet: func(v *victim) error {
		insert := fmt.Sprintf("INSERT INTO %s (id, entry) VALUES (%d, 'twin')", v.table, v.two+1)
		if err := v.query("SELECT COUNT(*) FROM " + v.table); err != nil {
			return err
		}
		if _, err := v.plain.ExecContext(v.ctx, insert); err != nil {
			return err
		}
		return v.exec(insert) // 1020, or 1062
	}},
	{name: "another's UPDATE at REPEATABLE READ", level: sql.LevelRepeatableRead, fate: survives, meet: func(v *victim) error {
		if err := v.query("SELECT COUNT(*) FROM " + v.table); err != nil {
			return err
		}
		if err := addPlus(v.ctx, v.plain, v.table, v.two); err != nil {
			return err
		}
		return v.exec(v.touch()) // 1020, or no error
	}},
	waiting("1205", survives, func(v *victim, wait func(context.Context) error) error {
		if err := v.exec("SET innodb_lock_wait_timeout = 1"); err != nil {
			return err
		}
		return wait(v.ctx)
	}),
	waiting("NOWAIT", survives, func(v *victim, _ func(context.Context) error) error {
		return v.query(v.lock() + " NOWAIT") // 3572, 1205 or 1064
	}),
	waiting("KILL QUERY", survives, func(v *victim, wait func(context.Context) error) error {
		return v.during(v.ctx, wait, func() error { return v.kill("KILL QUERY") })
	}),
	waiting("KILL under a statement", lost, func(v *victim, wait func(context.Context) error) error {
		return v.during(v.ctx, wait, func() error { return v.kill("KILL") })
	}),
	waiting("a statement's context cancelled", lost, func(v *victim, wait func(context.Context) error) error {
		ctx, cancel := context.WithCancel(v.ctx)
		return v.during(ctx, wait, func() error { cancel(); return nil })
	}),
	waiting("a statement's deadline", lost, func(v *victim, wait func(context.Context) error) error {
		// By then the statement has been sent, on a busy machine too. Otherwise nothing is lost.
		ctx, cancel := context.WithTimeout(v.ctx, time.Second)
		defer cancel()
		return wait(ctx)
	}),
	waiting("the transaction's context cancelled", lost, func(v *victim, wait func(context.Context) error) error {
		return v.during(v.txCtx, wait, func() error { v.endTx(); return nil })
	}),
	{name: "KILL", fate: lost, meet: func(v *victim) error {
		// MySQL 5.6 now and then does not notice that it has closed the connection, and keeps
		// the transaction's locks for as long.
		if err := v.exec("SET wait_timeout = 5"); err != nil {
			return err
		}
		return v.kill("KILL")
	}},
	{name: "a time limit of vtgate", on: onVitess, fate: lost, meet: func(v *victim) error {
		return v.query("SELECT /*vt+ QUERY_TIMEOUT_MS=50 */ SLEEP(5) FROM " + v.table + " LIMIT 1")
	}},
	// vtgate ignores the SET.
	{name: "wait_timeout", on: notOnVitess, fate: lost, meet: func(v *victim) error {
		if err := v.exec("SET wait_timeout = 1"); err != nil {
			return err
		}
		time.Sleep(2500 * time.Millisecond)
		return nil
	}},
	{name: "the transaction's context cancelled between statements", fate: lost, meet: func(v *victim) error { v.endTx(); return nil }},
	{name: "no such table", fate: survives, meet: func(v *victim) error { return v.query("SELECT * FROM mysqlinit_missing") }},
	{name: "no hazard", fate: survives, meet: func(*victim) error { return nil }},
}

// goOn is what a program does after an error that it has swallowed.
type goOn struct {
	name      string
	savepoint bool // it needs a savepoint from before
	do        func(ctx context.Context, conn *sql.Conn, tx *sql.Tx, insert string) error
}

var goOns = []goOn{
	{name: "COMMIT", do: nil},
	{name: "INSERT", do: execute("")},
	{name: "SAVEPOINT", do: execute("SAVEPOINT late")},
	{name: "RELEASE", savepoint: true, do: execute("RELEASE SAVEPOINT early")},
	{name: "ROLLBACK TO", savepoint: true, do: execute("ROLLBACK TO early")},
	{name: "SELECT", do: func(ctx context.Context, _ *sql.Conn, tx *sql.Tx, insert string) error {
		return errors.Join(readAll(tx.QueryContext(ctx, "SELECT 1")), execute("")(ctx, nil, tx, insert))
	}},
	{name: "PING", do: func(ctx context.Context, conn *sql.Conn, tx *sql.Tx, insert string) error {
		// PingContext of a sql.Conn waits for the end of its transaction if the connection is gone.
		var ping error
		err := conn.Raw(func(driverConn any) error {
			ping = driverConn.(driver.Pinger).Ping(ctx)
			return nil
		})
		return errors.Join(err, ping, execute("")(ctx, nil, tx, insert))
	}},
	{name: "a prepared INSERT", do: func(ctx context.Context, _ *sql.Conn, tx *sql.Tx, insert string) error {
		stmt, err := tx.PrepareContext(ctx, insert)
		if err != nil {
			return err
		}
		_, err = stmt.ExecContext(ctx)
		return errors.Join(err, stmt.Close())
	}},
	{name: "nested SAVEPOINT", do: func(ctx context.Context, _ *sql.Conn, tx *sql.Tx, insert string) error {
		return errors.Join(execute("SAVEPOINT late")(ctx, nil, tx, insert), exec(ctx, tx, "RELEASE SAVEPOINT late"))
	}},
}

// execute returns what runs a statement, if there is one, and then the INSERT.
func execute(text string) func(context.Context, *sql.Conn, *sql.Tx, string) error {
	return func(ctx context.Context, _ *sql.Conn, tx *sql.Tx, insert string) error {
		if text == "" {
			return exec(ctx, tx, insert)
		}
		return errors.Join(exec(ctx, tx, text), exec(ctx, tx, insert))
	}
}

func exec(ctx context.Context, tx *sql.Tx, text string) error {
	_, err := tx.ExecContext(ctx, text)
	return err
}

// guardTellsAll has transactions meet each hazard, swallow its error, and go on in each
// way. If COMMIT succeeds, all of a transaction's rows must be there; if not, none of them.
func (s *suite) guardTellsAll(t *testing.T) string {
	dsn, direct := s.anyTable()
	if !s.Private || dsn == "" {
		return notHere
	}
	plain := openPlain(t, direct)
	name := table(t, plain, "hazards", logColumns)
	guarded := open(t, dsn, "guard=true&multiStatements=true")
	touch := "UPDATE " + name + " SET entry = CONCAT(entry, '+') WHERE id = x"
	drop := []string{"DROP FUNCTION IF EXISTS mysqlinit_touch", "DROP PROCEDURE IF EXISTS mysqlinit_touch"}
	testserver.Exec(t, plain, drop...)
	testserver.Exec(t, plain,
		"CREATE FUNCTION mysqlinit_touch(x INT) RETURNS VARCHAR(50) DETERMINISTIC BEGIN "+touch+"; RETURN 'touched'; END",
		"CREATE PROCEDURE mysqlinit_touch(x INT) "+touch,
		"INSERT INTO "+name+" (id, entry) VALUES (1, 'x')"+strings.ReplaceAll(numbers(2, 3*len(hazards)*len(goOns)), ")", ", 'x')"),
		"DELETE FROM "+name+" WHERE id % 3 = 0")
	t.Cleanup(func() { execAfter(t, plain, drop...) })
	atTimeout := survives
	if rollsBack, err := read(t.Context(), plain, "@@GLOBAL.innodb_rollback_on_timeout"); err != nil {
		t.Fatal(err)
	} else if rollsBack == "1" {
		atTimeout = lost
	}
	_, batchRefused := guarded.ExecContext(t.Context(), "DO 1; DO 2")

	elsewhere := onVitess
	if s.Unsharded != nil {
		elsewhere = notOnVitess
	}

	const atOnce = 8 // some hazards take seconds
	var mu sync.Mutex
	var wrong, runs int
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, h := range hazards {
		for j, next := range goOns {
			if testing.Short() && j != i%len(goOns) || h.batch && batchRefused != nil || h.on == elsewhere {
				continue
			}
			places <- struct{}{}
			all.Go(func() {
				defer func() { <-places }()
				v := victim{s: s, plain: plain, table: name, atTimeout: atTimeout, one: 3*(i*len(goOns)+j) + 1, two: 3*(i*len(goOns)+j) + 2}
				problem := s.meet(t, guarded, v, h, next)
				mu.Lock()
				defer mu.Unlock()
				runs++
				if problem != "" {
					wrong++
					t.Errorf("%s, then %s: %s", h.name, next.name, problem)
				}
			})
		}
	}
	all.Wait()
	return fmt.Sprintf("%d of %d", wrong, runs)
}

// meet runs a transaction that meets a hazard. It returns what is wrong with its end.
func (s *suite) meet(t *testing.T, guarded *sql.DB, v victim, h hazard, next goOn) (problem string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	v.ctx = ctx
	var err error
	if v.conn, err = guarded.Conn(ctx); err != nil {
		return err.Error()
	}
	defer func() { _ = v.conn.Close() }()
	v.txCtx, v.endTx = context.WithCancel(ctx)
	defer v.endTx()
	if v.tx, err = v.conn.BeginTx(v.txCtx, &sql.TxOptions{Isolation: h.level}); err != nil {
		return err.Error()
	}
	defer func() { _ = v.tx.Rollback() }()
	if v.session, err = read(ctx, v.tx, "CONNECTION_ID()"); err != nil {
		return err.Error()
	}
	insert := func(part string) string {
		return fmt.Sprintf("INSERT INTO %s (entry) VALUES ('%d %s')", v.table, v.one, part)
	}
	if err := v.exec(insert("before")); err != nil {
		return err.Error()
	}
	if next.savepoint {
		if err := v.exec("SAVEPOINT early"); err != nil {
			return err.Error()
		}
	}
	swallowed := h.meet(&v)
	switch number(swallowed) {
	case errDeadlock, errRecordChanged: // 1213 is Galera's answer to KILL QUERY
		h.fate = lost
	case errLockWaitTimeout:
		h.fate = v.atTimeout
	case errQueryInterrupted:
		if s.Unsharded != nil { // the tablet closes its connection
			h.fate = lost
		}
	}
	if errors.Is(swallowed, mysqlinit.ErrTransactionLost) {
		return fmt.Sprint("the statement that failed gets ", swallowed)
	}
	want := "before"
	var then error
	if next.do != nil {
		want = "after,before"
		then = next.do(ctx, v.conn, v.tx, insert("after"))
	}
	commit := v.tx.Commit()
	if commit != nil {
		want = ""
	}
	rows, err := read(ctx, v.plain, fmt.Sprintf("GROUP_CONCAT(SUBSTRING_INDEX(entry, ' ', -1) ORDER BY entry) FROM %s WHERE entry LIKE '%d %%'", v.table, v.one))
	story := fmt.Sprintf("%v; then %v; COMMIT: %v; there is %q", swallowed, then, commit, rows)
	switch {
	case err != nil:
		return err.Error()
	case rows != want:
		return story + ", want " + fmt.Sprintf("%q", want)
	case h.fate == lost && commit == nil, h.fate == survives && (commit != nil || then != nil):
		return story
	}
	return ""
}
