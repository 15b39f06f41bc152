package mysqltx_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

func serverError(number uint16) error { return &mysql.MySQLError{Number: number, Message: "made up"} }

// wantClean checks that the pool's session has autocommit on and no open transaction,
// and that nothing was written to the log.
func wantClean(t *testing.T, db *sql.DB) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil) // would commit what is open
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	var autocommit bool
	if err := tx.QueryRowContext(t.Context(), "SELECT @@autocommit").Scan(&autocommit); err != nil || !autocommit {
		t.Errorf("autocommit %v, %v", autocommit, err)
	}
	wantCount(t, tx, "mysqltx_log WHERE id > 2", 0)
}

func TestRunSurvivesADeadlock(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.open(t, "")
		var hooked []mysqltx.Retry
		calls := 0
		err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			calls++
			if err := write(ctx, tx, "entry"); err != nil {
				return err
			}
			if calls == 1 {
				return fmt.Errorf("moving money: %w", loseDeadlock(ctx, db, tx))
			}
			return nil
		}, mysqltx.WithOnRetry(func(_ context.Context, r mysqltx.Retry) { hooked = append(hooked, r) }))
		if err != nil || calls != 2 {
			t.Errorf("%d calls, %v", calls, err)
		}
		if len(hooked) != 1 || hooked[0].Attempt != 1 || number(hooked[0].Err) != 1213 || hooked[0].Wait < 0 {
			t.Errorf("the hook got %+v", hooked)
		}
		wantCount(t, db, "mysqltx_log WHERE id > 2", 1)
	})
}

func TestRunReturnsOtherErrorsUnchanged(t *testing.T) {
	db := newDB(t)
	want := errors.New("no money")
	calls := 0
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		return errors.Join(write(ctx, tx, "entry"), want)
	})
	if !errors.Is(err, want) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	wantClean(t, db)
	if err := mysqltx.Run(t.Context(), db, func(context.Context, *sql.Tx) error { return want }); err != want {
		t.Errorf("got %v", err)
	}
}

func TestRunGivesUp(t *testing.T) {
	db := newDB(t)
	for _, test := range []struct {
		err   error
		opts  []mysqltx.Option
		calls int
		text  string
	}{
		{serverError(1213), []mysqltx.Option{mysqltx.WithAttempts(3)}, 3, "gave up after 3 attempts: Error 1213"},
		{serverError(1213), []mysqltx.Option{mysqltx.WithAttempts(1)}, 1, "Error 1213"},
		{serverError(3101), []mysqltx.Option{mysqltx.WithAttempts(2)}, 2, "gave up after 2 attempts: Error 3101"},
		{serverError(1205), nil, 2, "gave up after 2 attempts: Error 1205"},
		{serverError(1290), nil, 1, "Error 1290"},
		{serverError(9007), []mysqltx.Option{mysqltx.WithAttempts(2), mysqltx.WithRetryIf(func(err error) bool { return number(err) == 9007 })}, 2, "gave up after 2 attempts: Error 9007"},
		{errors.Join(errors.New("first"), serverError(1062), serverError(1213)), []mysqltx.Option{mysqltx.WithAttempts(2)}, 2, "gave up after 2 attempts"},
		// From a Run on another database, not from this COMMIT.
		{&mysqltx.AmbiguousCommitError{Err: mysql.ErrInvalidConn}, []mysqltx.Option{mysqltx.WithIdempotent(true)}, 1, "COMMIT"},
	} {
		calls := 0
		err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			calls++
			return errors.Join(write(ctx, tx, "entry"), test.err)
		}, test.opts...)
		if calls != test.calls || !errors.Is(err, test.err) {
			t.Errorf("%v: %d calls, %v", test.err, calls, err)
		}
		wantText(t, err, test.text)
		wantClean(t, db)
	}
}

// A Galera node that isn't ready answers 1047 to almost all statements, on a connection
// that works.
func TestRunTakesAnotherConnection(t *testing.T) {
	db := newDB(t)
	ids := map[int64]bool{}
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		var id int64
		err := tx.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id)
		ids[id] = true
		if len(ids) < 2 {
			err = serverError(1047)
		}
		return err
	}, mysqltx.WithAttempts(3))
	if err != nil || len(ids) != 2 {
		t.Errorf("connections %v, %v", ids, err)
	}
}

func TestContextEndsDuringAWait(t *testing.T) {
	db := newDB(t)
	shutdown := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	calls := 0
	err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		return serverError(1213)
	}, mysqltx.WithOnRetry(func(_ context.Context, r mysqltx.Retry) {
		if r.Attempt == 5 { // the waits are long by now
			cancel(shutdown)
		}
	}))
	if !errors.Is(err, shutdown) || number(err) != 1213 || calls != 5 {
		t.Errorf("%d calls, %v", calls, err)
	}
	wantClean(t, db)
}

func TestContextEndsInTheFunction(t *testing.T) {
	db := newDB(t)
	shutdown := errors.New("shutting down")
	for _, wait := range []bool{false, true} {
		for _, opts := range [][]mysqltx.Option{nil, {mysqltx.WithSentinel(false)}} {
			ctx, cancel := context.WithCancelCause(t.Context())
			err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
				err := write(ctx, tx, "entry")
				cancel(shutdown)
				if wait { // until database/sql has rolled back
					time.Sleep(20 * time.Millisecond)
				}
				return err
			}, opts...)
			if !errors.Is(err, shutdown) {
				t.Errorf("got %v", err)
			}
			wantText(t, err, "did not commit")
			wantClean(t, db)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		err := write(ctx, tx, "entry")
		if err == nil {
			_, err = tx.ExecContext(ctx, "DO SLEEP(1)")
		}
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	wantClean(t, db)
}

func TestFunctionsThatEndTheTransaction(t *testing.T) {
	db := newDB(t)
	for name, test := range map[string]struct {
		fn   func(ctx context.Context, tx *sql.Tx) error
		text string
	}{
		"Commit":              {func(_ context.Context, tx *sql.Tx) error { return tx.Commit() }, "ended the transaction itself"},
		"Rollback":            {func(_ context.Context, tx *sql.Tx) error { return tx.Rollback() }, "ended the transaction itself"},
		"Rollback, then 1213": {func(_ context.Context, tx *sql.Tx) error { return errors.Join(tx.Rollback(), serverError(1213)) }, "ended the transaction itself"},
		"COMMIT as a statement": {func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "COMMIT")
			return err
		}, "the transaction ended early"},
		"Commit, then a lost connection": {func(_ context.Context, tx *sql.Tx) error { return errors.Join(tx.Commit(), mysql.ErrInvalidConn) }, "ended the transaction itself"},
		"DDL, then 1412": {func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "TRUNCATE mysqltx_users")
			return errors.Join(err, serverError(1412))
		}, "the transaction ended early"},
	} {
		calls := 0
		err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			calls++
			return test.fn(ctx, tx)
		})
		if calls != 1 || mysqltx.IsRetryable(err) {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
		wantText(t, err, test.text)
		wantClean(t, db)
	}
}

// The driver reports a result set that was left open as a lost connection.
func TestOpenRows(t *testing.T) {
	db := newDB(t)
	for _, ctx := range []context.Context{t.Context(), context.WithoutCancel(t.Context())} {
		calls := 0
		err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
			calls++
			rows, err := tx.QueryContext(ctx, "SELECT * FROM mysqltx_log")
			if err != nil {
				return err
			}
			return rows.Err()
		})
		if calls != 1 {
			t.Errorf("%d calls", calls)
		}
		wantText(t, err, "close its Rows")
		wantClean(t, db)
	}
}

// WithRetryIf's function is called once for each attempt that fails, and never with nil.
func TestRetryIf(t *testing.T) {
	db := newDB(t)
	budget, calls := 2, 0
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		return errors.New("try again")
	}, mysqltx.WithRetryIf(func(err error) bool {
		budget--
		return err.Error() == "try again" && budget >= 0
	}))
	if calls != 3 || err == nil || err.Error() != "try again" {
		t.Errorf("%d calls, %v", calls, err)
	}
	calls = 0
	err = mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		_, err := tx.ExecContext(ctx, "COMMIT")
		return err
	}, mysqltx.WithRetryIf(func(error) bool { return true }))
	if calls != 1 || !errors.Is(err, mysqltx.ErrTransactionLost) {
		t.Errorf("%d calls, %v", calls, err)
	}
	for _, panics := range []func(error) bool{
		func(err error) bool { return err.Error() == "x" }, // panics for nil
		func(error) bool { panic("in retryIf") },
	} {
		func() {
			defer func() { _ = recover() }()
			_ = mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
				if err := write(ctx, tx, "entry"); err != nil {
					t.Error(err)
				}
				if calls++; calls%2 == 0 {
					panic("in the function")
				}
				return errors.New("y")
			}, mysqltx.WithRetryIf(panics))
		}()
		wantClean(t, db)
	}
}

// The waits are random, and they grow.
func TestWaits(t *testing.T) {
	db := newDB(t)
	var waits []time.Duration
	regular := true
	err := mysqltx.Run(t.Context(), db, func(context.Context, *sql.Tx) error { return serverError(1213) },
		mysqltx.WithAttempts(6), mysqltx.WithOnRetry(func(_ context.Context, r mysqltx.Retry) {
			interval := 10 * time.Millisecond << len(waits)
			waits = append(waits, r.Wait)
			regular = regular && r.Wait == interval
			if r.Wait < 0 || r.Wait > 2*interval+1 {
				t.Errorf("wait %d is %v", len(waits), r.Wait)
			}
		}))
	if len(waits) != 5 || regular {
		t.Errorf("waits %v, %v", waits, err)
	}
}

// A statement that still runs when the context ends must not run after the rollback.
func TestLateStatementsAreNotCommitted(t *testing.T) {
	db := newDB(t)
	db.SetMaxOpenConns(0)
	var late sync.WaitGroup
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
			for range 3 {
				late.Go(func() {
					for write(context.Background(), tx, "late") == nil {
					}
				})
			}
			time.Sleep(time.Millisecond)
			cancel()
			time.Sleep(50 * time.Microsecond) // so that database/sql sees it first
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	late.Wait()
	wantCount(t, db, "mysqltx_log WHERE entry = 'late'", 0)
}

// If a pool has no connection, the error keeps both the cause of the context's end and
// the last attempt's error.
func TestNoConnection(t *testing.T) {
	db := newDB(t)
	shutdown := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(shutdown)
	never := func(context.Context, *sql.Tx) error { return errors.New("it ran") }
	if err := mysqltx.Run(ctx, db, never); !errors.Is(err, shutdown) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	var busy *sql.Conn
	err := mysqltx.Run(ctx, db, func(context.Context, *sql.Tx) error { return serverError(1213) },
		mysqltx.WithOnRetry(func(context.Context, mysqltx.Retry) {
			busy, _ = db.Conn(t.Context())
			time.AfterFunc(200*time.Millisecond, func() { cancel(shutdown) })
		}))
	if !errors.Is(err, shutdown) || number(err) != 1213 {
		t.Errorf("got %v", err)
	}
	if err := busy.Close(); err != nil {
		t.Error(err)
	}
	closed := openDSN(t, "app@tcp(127.0.0.1:1)/test")
	if _, ok := mysqltx.Run(t.Context(), closed, never).(*net.OpError); !ok {
		t.Error("the error of dialling is changed")
	}
}

func TestRunRollsBackOnPanic(t *testing.T) {
	db := newDB(t)
	func() {
		defer func() {
			if r := recover(); r != "oh" {
				t.Errorf("recovered %v", r)
			}
		}()
		_ = mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			_ = write(ctx, tx, "entry")
			panic("oh")
		})
	}()
	wantClean(t, db)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			_ = write(ctx, tx, "entry")
			runtime.Goexit()
			return nil
		})
	}()
	<-done
	wantClean(t, db)
}

func TestTablesWithoutTransactions(t *testing.T) {
	// Not the shared server: on MariaDB 10.11 a new session can have the warnings of a
	// closed one whose max_error_count was 0.
	d := newDatabase(t, testserver.New(t, testserver.Config{}))
	db := d.open(t, "")
	testserver.Exec(t, db, "CREATE TABLE myisam (entry VARCHAR(20)) ENGINE=MyISAM")
	note := func(ctx context.Context, q mysqltx.Querier) error {
		_, err := q.ExecContext(ctx, "INSERT INTO myisam VALUES ('x')")
		return err
	}
	calls := 0
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		return errors.Join(note(ctx, tx), loseDeadlock(ctx, db, tx))
	})
	if calls != 1 || number(err) != 1213 || mysqltx.IsRetryable(err) {
		t.Errorf("%d calls, %v", calls, err)
	}
	wantText(t, err, "not run again", "ENGINE=InnoDB")

	testserver.Exec(t, db, "INSERT INTO mysqltx_users (email) VALUES ('ann')")
	for _, params := range []string{"", "max_error_count=0"} { // the server then keeps no warnings
		tx, err := d.open(t, params).BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		calls = 0
		_, _, err = mysqltx.GetOrCreate(t.Context(), tx, getNothing, func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			calls++
			if err := note(ctx, q); err != nil {
				return 0, err
			}
			return insertUser("ann")(ctx, q)
		})
		if calls != 1 || !mysqltx.IsDuplicateKey(err) {
			t.Errorf("%s: %d calls, %v", params, calls, err)
		}
		wantText(t, err, "ENGINE=InnoDB")
	}
}

func TestOptions(t *testing.T) {
	db := newDB(t)
	never := func(context.Context, *sql.Tx) error {
		t.Error("the function ran")
		return nil
	}
	err := mysqltx.Run(t.Context(), db, never, nil, mysqltx.WithAttempts(0), mysqltx.WithIsolation(sql.LevelSnapshot))
	wantText(t, err, "WithAttempts(0)", "WithIsolation(Snapshot)")
	wantText(t, mysqltx.Run(t.Context(), nil, never), "needs a database")
	wantText(t, mysqltx.Run(t.Context(), db, nil), "a function")

	err = mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error { return write(ctx, tx, "entry") }, mysqltx.WithReadOnly(true))
	wantNumber(t, err, 1792)
	wantClean(t, db)
}

func TestIsolation(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.open(t, "")
		for level, want := range map[sql.IsolationLevel]int{sql.LevelRepeatableRead: 2, sql.LevelReadCommitted: 3} {
			testserver.Exec(t, db, "DELETE FROM mysqltx_log WHERE id > 2")
			err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
				wantCount(t, tx, "mysqltx_log", 2)
				err := write(ctx, db, "entry")
				wantCount(t, tx, "mysqltx_log", want)
				return err
			}, mysqltx.WithIsolation(level))
			if err != nil {
				t.Error(err)
			}
		}
	})
}

func TestNestedRunJoins(t *testing.T) {
	db := newDB(t) // has one connection: a second transaction would wait forever
	want := errors.New("no money")
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		err := mysqltx.Run(ctx, db, func(ctx context.Context, inner *sql.Tx) error {
			if inner != tx {
				t.Error("it is another transaction")
			}
			return write(ctx, inner, "kept")
		})
		if err != nil {
			return err
		}
		calls := 0
		err = mysqltx.Run(ctx, db, func(ctx context.Context, inner *sql.Tx) error {
			calls++
			err := mysqltx.Run(ctx, db, func(ctx context.Context, inner *sql.Tx) error { return write(ctx, inner, "undone") })
			return errors.Join(err, write(ctx, inner, "undone"), serverError(1213), want)
		})
		if calls != 1 || !errors.Is(err, want) {
			t.Errorf("%d calls, %v", calls, err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = mysqltx.Run(ctx, db, func(ctx context.Context, inner *sql.Tx) error {
				_ = write(ctx, inner, "undone")
				panic("oh")
			})
		}()
		for _, opt := range []mysqltx.Option{mysqltx.WithIsolation(sql.LevelSerializable), mysqltx.WithReadOnly(true)} {
			wantText(t, mysqltx.Run(ctx, db, func(context.Context, *sql.Tx) error { return nil }, opt), "give the outer Run the option")
		}
		err = mysqltx.Run(ctx, db, func(context.Context, *sql.Tx) error { return nil }, mysqltx.WithIsolation(sql.LevelReadCommitted))
		return errors.Join(err, write(ctx, tx, "kept"))
	}, mysqltx.WithIsolation(sql.LevelReadCommitted))
	if err != nil {
		t.Error(err)
	}
	wantCount(t, db, "mysqltx_log WHERE entry = 'kept'", 2)
	wantCount(t, db, "mysqltx_log WHERE entry = 'undone'", 0)
}

// A nested call that fails leaves nothing, however it fails. If nobody knows whether it
// does, nothing is committed.
func TestNestedRunLeavesNothing(t *testing.T) {
	db := newDB(t)
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		short, cancel := context.WithCancel(ctx)
		err := mysqltx.Run(short, db, func(ctx context.Context, tx *sql.Tx) error {
			defer cancel()
			return write(ctx, tx, "undone")
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		return write(ctx, tx, "kept")
	})
	if err != nil {
		t.Error(err)
	}
	wantCount(t, db, "mysqltx_log WHERE entry = 'undone'", 0)
	wantCount(t, db, "mysqltx_log WHERE entry = 'kept'", 1)

	testserver.Exec(t, db, "INSERT INTO mysqltx_users (email) VALUES ('bob')")
	for _, email := range []string{"ann", "bob"} { // created, and colliding
		err = mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			outer := context.WithoutCancel(t.Context()) // doesn't know the savepoint
			err := mysqltx.Run(ctx, db, func(_ context.Context, tx *sql.Tx) error {
				err := write(ctx, tx, "undone")
				_, _, getErr := mysqltx.GetOrCreate(outer, tx, func(ctx context.Context, q mysqltx.Querier, lock string) (int64, error) {
					if email == "bob" {
						return getNothing(ctx, q, lock)
					}
					return getID(email)(ctx, q, lock)
				}, insertUser(email))
				return errors.Join(err, getErr, errors.New("no money"))
			})
			wantText(t, err, "no money")
			return nil
		}, mysqltx.WithAttempts(2))
		wantText(t, err, "the context of the function around it")
		wantCount(t, db, "mysqltx_log WHERE entry = 'undone'", 0)
	}
}

// The driver closes the connection if the context of a statement ends. That isn't a lost
// connection. Run must not try another one, because it would take as long there.
func TestContextEndsInANestedCall(t *testing.T) {
	dsn := anyDSN(t)
	db, other := openDSN(t, dsn), openDSN(t, dsn)
	db.SetMaxOpenConns(1)
	var statement string
	sleep := func(ctx context.Context, q mysqltx.Querier) (int64, error) {
		_, err := q.ExecContext(ctx, statement)
		return 0, err
	}
	for name, nested := range map[string]func(context.Context, *sql.Tx) error{
		"Run": func(ctx context.Context, _ *sql.Tx) error {
			return mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
				_, err := sleep(ctx, tx)
				return err
			})
		},
		"GetOrCreate": func(ctx context.Context, tx *sql.Tx) error {
			_, _, err := mysqltx.GetOrCreate(ctx, tx, getNothing, sleep)
			return err
		},
	} {
		for _, returned := range []bool{true, false} {
			// The server goes on with the statement of a connection that is closed, so each has its own.
			statement = fmt.Sprintf("DO SLEEP(60.%d)", rand.Uint32())
			calls := 0
			leave := make(chan context.CancelFunc, 3)
			result := make(chan error, 1)
			go func() {
				result <- mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
					calls++
					ctx, cancel := context.WithCancel(ctx)
					defer cancel()
					leave <- cancel
					err := nested(ctx, tx)
					if !returned {
						return nil
					}
					return err
				}, mysqltx.WithAttempts(3))
			}()
			awaitSession(t, other, "info = '"+statement+"'")
			(<-leave)()
			err := <-result
			if calls != 1 || !errors.Is(err, context.Canceled) || errors.Is(err, mysqltx.ErrTransactionLost) == returned {
				t.Errorf("%s, its error returned: %v: %d calls, %v", name, returned, calls, err)
			}
			wantClean(t, db)
		}
	}
}

// An error in a transaction that isn't the Run's own doesn't affect the Run.
func TestAnotherTransactionIsLost(t *testing.T) {
	d := onMariaDB(t)
	db := d.open(t, "")
	calls := 0
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		own, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = own.Rollback() }()
		_, _, err = mysqltx.GetOrCreate(ctx, own, getID("ann"), func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			return 0, loseDeadlock(ctx, db, q)
		})
		wantNumber(t, err, 1213)
		testserver.Exec(t, tx, "CREATE TABLE IF NOT EXISTS other (id INT)")
		return nil
	})
	if calls != 1 || !errors.Is(err, mysqltx.ErrTransactionLost) {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// Runs on two databases are two transactions, even if one is inside the other. A third
// Run inside them, on the first database, finds the first transaction.
func TestRunWithinARunOnAnotherDatabase(t *testing.T) {
	dsn := anyDSN(t)
	one, two := openDSN(t, dsn), openDSN(t, dsn)
	err := mysqltx.Run(t.Context(), one, func(ctx context.Context, first *sql.Tx) error {
		return mysqltx.Run(ctx, two, func(ctx context.Context, second *sql.Tx) error {
			if first == second {
				t.Error("both have the same transaction")
			}
			return mysqltx.Run(ctx, one, func(_ context.Context, third *sql.Tx) error {
				if third != first {
					t.Error("it isn't the transaction on the same database")
				}
				return nil
			})
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// With a context that outlives its Run, a call begins a new transaction.
func TestContextOutlivesItsRun(t *testing.T) {
	db := newDB(t)
	var kept context.Context
	if err := mysqltx.Run(t.Context(), db, func(ctx context.Context, _ *sql.Tx) error {
		kept = ctx
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := mysqltx.Run(kept, db, func(ctx context.Context, tx *sql.Tx) error { return write(ctx, tx, "entry") }); err != nil {
		t.Error(err)
	}
	if _, created, err := mysqltx.GetOrCreate(kept, db, getID("ann"), insertUser("ann")); !created || err != nil {
		t.Errorf("created %v, %v", created, err)
	}
	wantCount(t, db, "mysqltx_log WHERE id > 2", 1)
}

// Errors of Group Replication for a transaction that yielded to another member's are
// retryable; similar ones aren't.
func TestYielded(t *testing.T) {
	for message, want := range map[string]bool{
		"1180 Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT":  true,
		"1180 Got error 1490 - 'something' during COMMIT":                        false,
		"1180 Got error 6 - 'No such device or address' during COMMIT":           false,
		"1030 Got error 153 - 'No savepoint with that name' from storage engine": true,
		"1181 Got error 153 - 'No savepoint with that name' during ROLLBACK":     true,
		"1030 Got error 28 - 'No space left on device' from storage engine":      false,
		"1062 Duplicate entry '149' for key 'Error 1180 149'":                    false,
	} {
		var n uint16
		if _, err := fmt.Sscan(message, &n); err != nil {
			t.Fatal(err)
		}
		if got := mysqltx.IsRetryable(fmt.Errorf("wrapped: %w", &mysql.MySQLError{Number: n, Message: message[5:]})); got != want {
			t.Errorf("%s: %v", message, got)
		}
	}
}

func TestErrors(t *testing.T) {
	for number, want := range map[uint16]struct{ duplicate, retryable bool }{
		1062: {true, false}, 1022: {true, false}, 1586: {true, false},
		1213: {false, true}, 1205: {false, true}, 1020: {false, true}, 1412: {false, true}, 3101: {false, true}, 1047: {false, true},
		4031: {false, true},
		1053: {}, 1927: {}, 3169: {}, // as an answer to COMMIT they leave its outcome open
		1290: {}, 1792: {}, 1836: {}, 3100: {}, 3572: {}, 3024: {}, 1969: {}, 1317: {}, 1452: {},
	} {
		for _, err := range []error{serverError(number), fmt.Errorf("wrapped: %w", serverError(number))} {
			if mysqltx.IsDuplicateKey(err) != want.duplicate || mysqltx.IsRetryable(err) != want.retryable {
				t.Errorf("%d: duplicate %v, retryable %v", number, mysqltx.IsDuplicateKey(err), mysqltx.IsRetryable(err))
			}
		}
	}
	if err := driver.ErrBadConn; !mysqltx.IsRetryable(err) || mysqltx.IsRetryable(&mysqltx.AmbiguousCommitError{Err: err}) {
		t.Errorf("%v", err)
	}
	for _, err := range []error{
		nil, sql.ErrNoRows, context.Canceled, mysqltx.ErrTransactionLost,
		mysql.ErrInvalidConn, // from COMMIT
		&mysql.MySQLError{Number: 1205, Message: "target: ks.-80.primary: vttablet: Lock wait timeout exceeded"},
	} {
		if mysqltx.IsRetryable(err) || mysqltx.IsDuplicateKey(err) {
			t.Errorf("%v", err)
		}
	}
}
