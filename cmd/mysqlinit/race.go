package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// Server error numbers of the story.
const (
	errRecordChanged = 1020 // ER_CHECKREAD: MariaDB 11.6 and later, REPEATABLE READ
	errDuplicateKey  = 1062
	errDeadlock      = 1213
)

// stage is what the story is played on: a table of its own, and the two ways
// to reach it.
type stage struct {
	*screen
	table           string
	plain, prepared *sql.DB
}

// race plays the whole story. It reports whether the prepared driver kept its
// promise: no transaction lost to a row that it could not see.
func race(ctx context.Context, out *screen, dsn string, workers, keys int) (kept bool, err error) {
	where := "your server"
	if dsn == "" {
		server, err := testserver.Start(ctx, testserver.Config{Binlog: "MIXED"})
		if err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		dsn, where = server.DSN(testserver.App, ""), "a throwaway server of this program's own"
	}
	st := &stage{screen: out, table: "mysqlinit_race_" + strings.ToLower(rand.Text()[:6])}
	if st.prepared, err = mysqlinit.Open(dsn); err != nil {
		return false, err
	}
	defer st.prepared.Close()
	if st.plain, err = openPlain(dsn); err != nil {
		return false, err
	}
	defer st.plain.Close()
	for _, db := range []*sql.DB{st.plain, st.prepared} {
		db.SetMaxOpenConns(workers)
		db.SetMaxIdleConns(workers)
	}

	var version string
	var database sql.NullString
	if err := st.plain.QueryRowContext(ctx, "SELECT VERSION(), DATABASE()").Scan(&version, &database); err != nil {
		return false, err
	}
	if !database.Valid {
		return false, errors.New("the DSN names no database: write one behind its '/', where a table may be created")
	}
	st.paragraph(bold, "Two transactions get-or-create the same row. Server: "+version+", "+where+".")
	if _, err := st.plain.ExecContext(ctx, "CREATE TABLE "+st.table+" (name VARCHAR(64) NOT NULL PRIMARY KEY, slot INT, KEY (slot)) ENGINE=InnoDB"); err != nil {
		return false, err
	}
	defer func() {
		// Also after Ctrl-C, which has ended ctx.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if _, dropErr := st.plain.ExecContext(ctx, "DROP TABLE "+st.table); dropErr != nil {
			err = errors.Join(err, fmt.Errorf("dropping table %s: %w", st.table, dropErr))
		}
	}()

	if err := st.playBoth(ctx); err != nil {
		return false, err
	}
	kept, err = st.load(ctx, workers, keys)
	if err != nil {
		return false, err
	}
	return kept, st.price(ctx)
}

// openPlain opens a DSN with the MySQL driver alone.
func openPlain(dsn string) (*sql.DB, error) {
	cfg, err := plainConfig(dsn)
	if err != nil {
		return nil, err
	}
	return openConfig(cfg)
}

// plainConfig parses a DSN and leaves out this driver's keys.
func plainConfig(dsn string) (*mysql.Config, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("the MySQL driver does not accept the DSN")
	}
	for _, ours := range []string{"isolation", "binlog", "initCommand", "init_command", "verify", "guard", "connectTimeout"} {
		delete(cfg.Params, ours)
	}
	return cfg, nil
}

func openConfig(cfg *mysql.Config) (*sql.DB, error) {
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// playBoth plays the story through both drivers.
func (st *stage) playBoth(ctx context.Context) error {
	for _, act := range []struct {
		title, key string
		db         *sql.DB
	}{
		{`1. sql.Open("mysql", dsn): the plain driver`, "ann", st.plain},
		{`2. sql.Open("mysqlinit", dsn): this driver`, "bob", st.prepared},
	} {
		st.title(act.title)
		if err := st.play(ctx, act.db, act.key); err != nil {
			return err
		}
	}
	return nil
}

// play lets B read, A insert and commit, B insert and read again.
func (st *stage) play(ctx context.Context, db *sql.DB, key string) error {
	a, b, done, err := st.connect(ctx, db)
	if err != nil {
		return err
	}
	defer done()
	get := fmt.Sprintf("SELECT name FROM %s WHERE name = '%s'", st.table, key)
	create := fmt.Sprintf("INSERT INTO %s (name) VALUES ('%s')", st.table, key)

	b.exec(ctx, "START TRANSACTION")
	b.get(ctx, get)
	a.exec(ctx, "START TRANSACTION")
	a.exec(ctx, create)
	a.exec(ctx, "COMMIT")
	insertErr := b.exec(ctx, create)
	if number(insertErr) == errRecordChanged {
		b.exec(ctx, "ROLLBACK")
		st.verdict(bad, "B's transaction is gone: this server (MariaDB 11.6 and later, with innodb_snapshot_isolation) ends a REPEATABLE READ transaction with error 1020 where older ones go on and see no row.")
		return errors.Join(a.err, b.err)
	}
	found := b.get(ctx, get)
	b.exec(ctx, "COMMIT")
	switch {
	case number(insertErr) == errDuplicateKey && found:
		st.verdict(good, "B lost the race (1062), read again, and has the row: READ COMMITTED takes a new snapshot for each statement.")
	case number(insertErr) == errDuplicateKey:
		st.verdict(bad, "B may not insert the row, for it exists, and cannot read it, for its snapshot is older. Get-or-create fails.")
	default:
		st.verdict(plain, "This server did not answer as told: see above.")
	}
	return errors.Join(a.err, b.err)
}

func (st *stage) verdict(s style, text string) {
	fmt.Fprintln(st.w)
	st.paragraph(s, text)
}

// actor is one thread of the story: a session that shows what it says and hears.
type actor struct {
	*screen
	thread thread
	conn   *sql.Conn
	err    error // the first that is no answer of the server's
}

// connect opens the two sessions and shows their levels.
func (st *stage) connect(ctx context.Context, db *sql.DB) (a, b *actor, done func(), err error) {
	a, b = &actor{screen: st.screen, thread: threadA}, &actor{screen: st.screen, thread: threadB}
	done = func() {
		for _, x := range []*actor{a, b} {
			if x.conn != nil {
				// Whatever a failed step left open must not stay in the pool.
				_, _ = x.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
				x.conn.Close()
			}
		}
	}
	for _, x := range []*actor{a, b} {
		if x.conn, err = db.Conn(ctx); err != nil {
			done()
			return nil, nil, nil, err
		}
	}
	level, err := isolationLevel(ctx, a.conn)
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	st.columns("A  ("+level+")", "B  ("+level+")")
	return a, b, done, nil
}

// isolationLevel reads a session's level, under either of the variable's names.
func isolationLevel(ctx context.Context, conn *sql.Conn) (level string, err error) {
	for _, name := range []string{"transaction_isolation", "tx_isolation"} {
		if err = conn.QueryRowContext(ctx, "SELECT @@SESSION."+name).Scan(&level); err == nil {
			return strings.ReplaceAll(level, "-", " "), nil
		}
	}
	return "", err
}

// exec runs a statement and shows it with its answer, which it returns.
func (x *actor) exec(ctx context.Context, statement string) error {
	x.say(x.thread, plain, statement)
	_, err := x.conn.ExecContext(ctx, statement)
	x.answer(err, "OK")
	return err
}

// get runs a query for one row and shows it with its answer.
func (x *actor) get(ctx context.Context, query string) (found bool) {
	x.say(x.thread, plain, query)
	var name string
	err := x.conn.QueryRowContext(ctx, query).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		x.say(x.thread, bold, "  → no row")
		return false
	}
	x.answer(err, name)
	return err == nil
}

func (x *actor) answer(err error, text string) {
	serverErr, ok := errors.AsType[*mysql.MySQLError](err)
	switch {
	case err == nil:
		x.say(x.thread, good, "  → "+text)
	case ok:
		x.say(x.thread, bad, fmt.Sprintf("  → error %d: %s", serverErr.Number, serverErr.Message))
	default:
		x.say(x.thread, bad, "  → "+err.Error())
		x.err = errors.Join(x.err, err)
	}
}

// number returns a server error's number, and 0 for any other error.
func number(err error) uint16 {
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return serverErr.Number
	}
	return 0
}
