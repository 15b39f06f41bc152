package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// stage is what all acts of the race play on: a table, and two pools that reach
// it, one through each driver.
type stage struct {
	*screen
	table           string
	plain, prepared *sql.DB
	whyLost         string // why sessions of this driver can lose the race
	slowDeadlocks   bool   // innodb_deadlock_detect is off
}

// verdict writes how an act ended.
func (st *stage) verdict(s style, text string) {
	fmt.Fprintln(st.w)
	st.paragraph(s, text)
}

// connect opens two sessions of a pool and shows their isolation levels.
func (st *stage) connect(ctx context.Context, db *sql.DB) (a, b *actor, done func(), err error) {
	a, b, done, err = st.open(ctx, db)
	if err != nil {
		return nil, nil, nil, err
	}
	level, err := isolationLevel(ctx, a.conn)
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	st.columns("A  ("+level+")", "B  ("+level+")")
	return a, b, done, nil
}

// shortLockWait replaces the 50 s after which a deadlock ends if the server does not
// detect it. Other servers do not get it: on them it would change nothing.
const shortLockWait = "SET SESSION innodb_lock_wait_timeout = 2"

const noDeadlocks = "innodb_deadlock_detect is off on this server, so a deadlock is only a lock wait that ends with error 1205, and the transactions go on."

// open opens two sessions of a pool.
func (st *stage) open(ctx context.Context, db *sql.DB) (a, b *actor, done func(), err error) {
	a, b = &actor{screen: st.screen, thread: threadA}, &actor{screen: st.screen, thread: threadB}
	done = func() {
		for _, x := range []*actor{a, b} {
			if x.conn != nil {
				// A failed step can leave a transaction open. It must not stay in the pool.
				if x.tx != nil {
					_ = x.tx.Rollback()
				}
				_, _ = x.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
				x.conn.Close()
			}
		}
	}
	for _, x := range []*actor{a, b} {
		if x.conn, err = db.Conn(ctx); err == nil && st.slowDeadlocks {
			_, err = x.conn.ExecContext(ctx, shortLockWait)
		}
		if err != nil {
			done()
			return nil, nil, nil, err
		}
	}
	return a, b, done, nil
}

// isolationLevel reads a session's level. Servers know the variable under one of
// two names, or both.
func isolationLevel(ctx context.Context, conn *sql.Conn) (level string, err error) {
	for _, name := range []string{sysvar.TransactionIsolation, sysvar.TxIsolation} {
		if err = conn.QueryRowContext(ctx, "SELECT @@SESSION."+name).Scan(&level); err == nil {
			return strings.ReplaceAll(level, "-", " "), nil
		}
	}
	return "", err
}

// actor is a session that writes its statements and their answers into one of the
// screen's columns.
type actor struct {
	*screen
	thread thread
	conn   *sql.Conn
	tx     *sql.Tx // of begin, until it ends
	err    error   // all errors that are not answers of the server
}

// begin, commit and rollback call database/sql as a program does, and show it.
// The guard watches only such transactions.
func (x *actor) begin(ctx context.Context) (err error) {
	x.say(x.thread, plain, "BeginTx")
	x.tx, err = x.conn.BeginTx(ctx, nil)
	x.answer(err, "OK")
	return err
}

func (x *actor) commit() error   { return x.end("Commit", (*sql.Tx).Commit) }
func (x *actor) rollback() error { return x.end("Rollback", (*sql.Tx).Rollback) }

func (x *actor) end(name string, how func(*sql.Tx) error) error {
	x.say(x.thread, plain, name)
	err := how(x.tx)
	x.tx = nil
	x.answer(err, "OK")
	return err
}

// session is the transaction of begin, or else the connection.
func (x *actor) session() interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
} {
	if x.tx != nil {
		return x.tx
	}
	return x.conn
}

// exec runs a statement and shows it with its answer, which it returns.
func (x *actor) exec(ctx context.Context, statement string) error {
	x.say(x.thread, plain, statement)
	_, err := x.session().ExecContext(ctx, statement)
	x.answer(err, "OK")
	return err
}

// get runs a query for one row and shows it with its answer.
func (x *actor) get(ctx context.Context, query string) (found bool) {
	x.say(x.thread, plain, query)
	return x.found(x.read(ctx, query))
}

func (x *actor) read(ctx context.Context, query string) (name string, err error) {
	err = x.session().QueryRowContext(ctx, query).Scan(&name)
	return name, err
}

// found shows what read returned.
func (x *actor) found(name string, err error) bool {
	if errors.Is(err, sql.ErrNoRows) {
		x.say(x.thread, bold, "  → no row")
		return false
	}
	x.answer(err, name)
	return err == nil
}

// answer shows an error, or text if there is none.
func (x *actor) answer(err error, text string) {
	serverErr, ok := errors.AsType[*mysql.MySQLError](err)
	switch {
	case err == nil:
		x.say(x.thread, good, "  → "+text)
	case errors.Is(err, mysqlinit.ErrTransactionLost):
		x.say(x.thread, bad, fmt.Sprintf("  → ErrTransactionLost, with error %d in it", errorNumber(err)))
	case ok:
		x.say(x.thread, bad, fmt.Sprintf("  → error %d: %s", serverErr.Number, serverErr.Message))
	default:
		x.say(x.thread, bad, "  → "+err.Error())
		x.err = errors.Join(x.err, err)
	}
}

// Numbers of the server's errors that the race is about.
const (
	errRecordChanged = 1020 // ER_CHECKREAD: MariaDB 11.6 and later, REPEATABLE READ
	errDuplicateKey  = 1062
	errLockWait      = 1205
	errDeadlock      = 1213
)

// errorNumber returns a server error's number, and 0 for any other error.
func errorNumber(err error) uint16 {
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return serverErr.Number
	}
	return 0
}
