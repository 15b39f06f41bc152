package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// The functions of mysqltx.Run in the journal: they do what the transactions of BeginTx do,
// and also call GetOrCreate and other Runs, run DDL, return errors of their own and panic.

var errOwn = errors.New("no money")

// attempts is how often Run runs a function at most.
const attempts = 4

// run runs the transaction with Run.
func (e *entry) run(ctx context.Context) (end ending) {
	defer func() {
		if p := recover(); p != nil {
			if p != errOwn {
				panic(p)
			}
			end = rolledBack
		}
	}()
	if e.random.IntN(10) == 0 {
		e.wantClean(ctx)
	}
	calls := 0
	var returned error
	err := mysqltx.Run(ctx, e.DB, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		if e.ddl && e.guarded {
			e.fail("the function runs again, although DDL has committed what it did before")
		}
		e.begin(ctx, tx)
		fmt.Fprintf(&e.story, "\n\tattempt %d", calls)
		returned = e.work()
		return returned
	}, mysqltx.WithAttempts(attempts))
	e.retries.Add(int64(max(0, calls-1)))
	fmt.Fprintf(&e.story, "\n\tRun: %v", err)
	_, ambiguous := errors.AsType[*mysqltx.AmbiguousCommitError](err)
	lost := errors.Is(err, mysqltx.ErrTransactionLost)
	switch {
	case calls > attempts:
		e.fail(fmt.Sprintf("%d attempts", calls))
	case err == nil && (returned != nil || calls == 0):
		e.fail("Run is nil although its function is not")
	case err == nil && e.refused:
		e.fail("Run is nil after the transaction was refused")
	case ambiguous && returned != nil:
		e.fail("COMMIT was sent although the function returned an error")
	case lost && !e.failed && !e.ddl:
		e.fail("a healthy transaction was refused")
	case returned == errOwn && err != errOwn:
		e.fail("Run has changed the function's error")
	}
	switch {
	case err == nil:
		return acknowledged
	case ambiguous:
		return unanswered
	case lost:
		return refused
	}
	return rolledBack
}

// wantClean checks a session of the pool: no Run has left it with autocommit off.
func (e *entry) wantClean(ctx context.Context) {
	autocommit := true
	if err := e.QueryRowContext(ctx, "SELECT @@autocommit").Scan(&autocommit); err == nil && !autocommit {
		e.fail("a session came back to the pool with autocommit off")
	}
}

// call does something that only a function of Run does.
func (e *entry) call() error {
	switch n := e.random.IntN(100); {
	case n < 40:
		return e.nested()
	case n < 85:
		return e.getOrCreate()
	case n < 90:
		return e.createTable()
	case n < 95:
		e.note("returns its own error", errOwn)
		return errOwn
	}
	e.note("panics", errOwn)
	panic(errOwn)
}

// nested runs some statements in a Run inside, which undoes them if it fails.
func (e *entry) nested() error {
	if e.depth == 2 {
		return nil
	}
	ctx, written, kept := e.ctx, len(e.rows), e.kept
	e.depth++
	fmt.Fprintf(&e.story, "\n\tRun inside")
	err := mysqltx.Run(ctx, e.DB, func(ctx context.Context, _ *sql.Tx) error {
		e.ctx, e.kept = ctx, -1
		return e.work()
	})
	e.depth--
	e.ctx, e.kept = ctx, kept
	if err != nil {
		e.rows = e.rows[:written]
	}
	e.note("Run inside ends", err)
	return e.swallow(err)
}

// getOrCreate gets or creates a row of the table shared, which other transactions create at
// the same time. Its creator also writes a row into the journal.
func (e *entry) getOrCreate() error {
	e.lastRow++
	name, n := e.number/4, e.lastRow
	_, created, err := mysqltx.GetOrCreate(e.ctx, e.tx,
		func(ctx context.Context, q mysqltx.Querier, lock string) (creator int64, err error) {
			err = q.QueryRowContext(ctx, "SELECT tx FROM shared WHERE name = ?"+lock, name).Scan(&creator)
			return creator, err
		},
		func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			_, err := q.ExecContext(ctx, "INSERT INTO journal VALUES (?, ?)", e.number, n)
			if err == nil {
				_, err = q.ExecContext(ctx, "INSERT INTO shared VALUES (?, ?, ?)", name, e.number, n)
			}
			return e.number, err
		})
	if created {
		e.rows = append(e.rows, n)
	}
	e.note(fmt.Sprintf("GetOrCreate, created %v, INSERT %d", created, n), err)
	return e.swallow(err)
}

// createTable runs DDL, which commits what the function has done. It does so only as long
// as the function has met no error: nobody could say otherwise what there is to commit.
func (e *entry) createTable() error {
	if e.failed || e.ddl {
		return nil
	}
	_, err := e.tx.ExecContext(e.ctx, "CREATE TABLE IF NOT EXISTS other (id INT)")
	rows := e.with(e.rows)
	if err == nil {
		e.ddl, e.refused, e.committed = true, true, rows
	} else {
		e.committed = append(e.committed, rows...)
	}
	e.note("CREATE TABLE", err)
	return e.swallow(err)
}

// wantCreators checks that each row that GetOrCreate made has the row of its creator in the
// journal.
func (j *journal) wantCreators() {
	var all, alone int
	err := j.admins[0].QueryRow("SELECT COUNT(*), COUNT(*) - COUNT(journal.tx) FROM shared LEFT JOIN journal USING (tx, n)").Scan(&all, &alone)
	if err != nil || alone > 0 {
		j.Errorf("%s: %d of %d rows of GetOrCreate lack their creator, %v", j.name, alone, all, err)
	}
}
