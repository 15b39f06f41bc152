package mysqltx_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// vtgate commits on one shard after the other. Its error to COMMIT is one shard's.
func TestCommitBehindVtgate(t *testing.T) {
	d := onMariaDB(t)
	const target, gone = "target: ks.80-.primary: vttablet: made up", "VT15001: transaction error, issue ROLLBACK and retry the transaction: made up"
	for _, test := range []struct {
		answer  uint16
		message string
	}{{1205, target}, {1290, target}, {1213, target}, {2013, target}, {1105, gone}} {
		for name, opts := range map[string][]mysqltx.Option{"": nil, "WithRetryIf": {mysqltx.WithRetryIf(func(error) bool { return true })}} {
			db := startCutter(t, d, cut{statement: "COMMIT", times: 1, answer: test.answer, message: test.message}).open(t, "")
			calls := 0
			err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
				calls++
				return write(ctx, tx, "entry")
			}, opts...)
			if _, ambiguous := errors.AsType[*mysqltx.AmbiguousCommitError](err); calls != 1 || !ambiguous {
				t.Errorf("%s %d %s: %d calls, %v", name, test.answer, test.message, calls, err)
			}
		}
	}
}

// The shard's server can go on with an INSERT after vtgate has lost the shard.
func TestCreateBehindVtgate(t *testing.T) {
	d := onMariaDB(t)
	for _, test := range []struct {
		answer    uint16
		message   string
		ambiguous bool
	}{
		{2013, "target: ks.80-.primary: vttablet: rpc error: code = Canceled desc = EOF", true},
		{1105, "target: ks.80-.primary: vttablet: rpc error: code = Unavailable desc = error reading from server: EOF", true},
		{1105, "target: ks.80-.primary: no healthy tablet available for 'keyspace:\"ks\" shard:\"80-\" tablet_type:PRIMARY'", true},
		{1105, "target: ks.80-.primary: vttablet: rpc error: code = InvalidArgument desc = made up", false},
		{1105, "target: ks.80-.primary: vttablet: rpc error: code = InvalidArgument desc = made up: INSERT 'code = Unavailable desc'", false},
	} {
		db := startCutter(t, d, cut{statement: "INSERT", times: 1, answer: test.answer, message: test.message}).open(t, "")
		_, _, err := mysqltx.GetOrCreate(t.Context(), db, getNothing, func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			return 0, write(ctx, q, "entry")
		})
		if _, ambiguous := errors.AsType[*mysqltx.AmbiguousCommitError](err); ambiguous != test.ambiguous || err == nil {
			t.Errorf("%d %s: %v", test.answer, test.message, err)
		}
	}
}

// If a shard is lost before COMMIT, nothing is committed there, and nothing has to be on the
// other shards.
func TestShardLost(t *testing.T) {
	d := onMariaDB(t)
	for _, lost := range []cut{
		{answer: 1105, message: "VT15001: transaction error, issue ROLLBACK and retry the transaction: made up"},
		{answer: 2013, message: "target: ks.80-.primary: vttablet: made up"},
		{answer: 1105, message: "target: ks.80-.primary: vttablet: rpc error: code = Unavailable desc = made up"},
	} {
		lost.statement, lost.times = "INSERT", 1
		for _, swallowed := range []bool{false, true} {
			c := startCutter(t, d, lost)
			db, err := mysqlinit.Open(d.dsn(testserver.Root, c.addr, "guard=true&interpolateParams=true"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			calls := 0
			err = mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
				calls++
				err := write(ctx, tx, "entry")
				if swallowed {
					return nil
				}
				return err
			})
			switch {
			case swallowed && (calls != 1 || !errors.Is(err, mysqltx.ErrTransactionLost)):
				t.Errorf("%d, swallowed: %d calls, %v, want one and ErrTransactionLost", lost.answer, calls, err)
			case !swallowed && (calls != 2 || err != nil):
				t.Errorf("%d: %d calls, %v, want two and no error", lost.answer, calls, err)
			}
		}
	}
}

// An error of another connection, such as another pool's, doesn't concern this transaction.
func TestAnotherConnectionIsLost(t *testing.T) {
	db := newDB(t)
	for _, want := range []error{mysql.ErrInvalidConn, fmt.Errorf("asking: %w", &net.OpError{Op: "read", Err: syscall.ECONNRESET}), serverError(1927)} {
		calls := 0
		err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			calls++
			if err := write(ctx, tx, "entry"); err != nil {
				return err
			}
			return want
		})
		if calls != 1 || err != want {
			t.Errorf("%d calls, %v", calls, err)
		}
		wantClean(t, db)
	}
}

// If the cause of a lost connection is in the function, it is lost each time.
func TestConnectionLostEachTime(t *testing.T) {
	d := onMariaDB(t)
	killer := d.open(t, "")
	for name, test := range map[string]struct {
		params string
		fn     func(ctx context.Context, tx *sql.Tx) error
	}{
		"KILL": {"", func(ctx context.Context, tx *sql.Tx) error {
			var id int
			if err := tx.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
				return err
			}
			testserver.Exec(t, killer, fmt.Sprintf("KILL %d", id))
			return write(ctx, tx, "entry")
		}},
		"readTimeout": {"readTimeout=50ms", func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "DO SLEEP(0.2)")
			return err
		}},
		"QueryRow without Scan": {"", func(ctx context.Context, tx *sql.Tx) error {
			_ = tx.QueryRowContext(ctx, "SELECT 1")
			return write(ctx, tx, "entry")
		}},
		"a write in a read-only transaction, under rejectReadOnly": {"rejectReadOnly=true", func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, "SELECT 1"); err != nil {
				return err
			}
			return write(ctx, tx, "entry")
		}},
	} {
		db := d.open(t, test.params)
		calls := 0
		err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			calls++
			return test.fn(ctx, tx)
		}, mysqltx.WithReadOnly(strings.Contains(test.params, "rejectReadOnly")))
		if err == nil || calls > 3 {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
	}
	wantCount(t, killer, "mysqltx_log WHERE id > 2", 0)
}

// breakingConn breaks in the middle of the first large statement.
type breakingConn struct {
	net.Conn
	left *atomic.Int32
}

func (c breakingConn) Write(p []byte) (int, error) {
	if len(p) > 1<<16 && c.left.Add(-1) >= 0 {
		n, _ := c.Conn.Write(p[:len(p)/2])
		_ = c.Conn.Close()
		return n, &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return c.Conn.Write(p)
}

func TestConnectionBreaksInAStatement(t *testing.T) {
	d := onMariaDB(t)
	var left atomic.Int32
	left.Store(1)
	mysql.RegisterDialContext("breaking", func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		return breakingConn{conn, &left}, err
	})
	t.Cleanup(func() { mysql.DeregisterDialContext("breaking") })
	db := openDSN(t, testserver.Root+"@breaking("+d.Addr+")/"+d.name)
	calls := 0
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		_, err := tx.ExecContext(ctx, "INSERT INTO mysqltx_log (entry) VALUES ('entry') /* "+strings.Repeat("x", 1<<17)+" */")
		return err
	})
	if calls != 2 || err != nil {
		t.Errorf("%d calls, %v", calls, err)
	}
	wantCount(t, db, "mysqltx_log WHERE id > 2", 1)
}

// A COMMIT that was not sent isn't ambiguous. The context ends close to it.
func TestCommitThatIsNotSent(t *testing.T) {
	db := newDB(t)
	runs := 2000
	if testing.Short() {
		runs = 500
	}
	for range runs {
		ctx, cancel := context.WithCancel(t.Context())
		err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
			go func() {
				for range rand.IntN(2000) {
				}
				cancel()
			}()
			return nil
		}, mysqltx.WithSentinel(false))
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) || errors.As(err, new(*mysqltx.AmbiguousCommitError)) {
			t.Errorf("got %v", err)
		}
	}
}

// Group Replication reports a conflict to the ROLLBACK TO after a duplicate key.
func TestYieldedAfterADuplicateKey(t *testing.T) {
	d := onMariaDB(t)
	db := startCutter(t, d, cut{statement: "ROLLBACK TO", times: 1, answer: 1181, message: "Got error 153 - 'No savepoint with that name' during ROLLBACK"}).open(t, "")
	testserver.Exec(t, db, "INSERT INTO mysqltx_users (email) VALUES ('ann')")
	calls := 0
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		_, _, err := mysqltx.GetOrCreate(ctx, tx, func(ctx context.Context, q mysqltx.Querier, lock string) (int64, error) {
			if lock == "" {
				return 0, sql.ErrNoRows
			}
			return getID("ann")(ctx, q, lock)
		}, insertUser("ann"))
		return err
	})
	if calls != 2 || err != nil {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// A nested call runs in a goroutine that outlives the function.
func TestNestedCallOutlivesTheFunction(t *testing.T) {
	db := newDB(t)
	inner, outer := make(chan struct{}), make(chan struct{})
	nested := make(chan error, 1)
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, _ *sql.Tx) error {
		go func() {
			nested <- mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
				err := write(ctx, tx, "half")
				close(inner)
				<-outer
				return errors.Join(err, write(ctx, tx, "other half"))
			})
		}()
		<-inner
		return nil
	})
	close(outer)
	wantText(t, err, "in another goroutine", "errgroup")
	if err := <-nested; err == nil {
		t.Error("the nested Run succeeded")
	}
	wantClean(t, db)
}

// Two nested calls at once would undo each other's work.
func TestNestedCallsAtOnce(t *testing.T) {
	db := newDB(t)
	err := mysqltx.Run(t.Context(), db, func(outer context.Context, tx *sql.Tx) error {
		return mysqltx.Run(outer, db, func(ctx context.Context, tx *sql.Tx) error {
			// With the outer context this isn't inside.
			_, _, err := mysqltx.GetOrCreate(outer, tx, getID("ann"), insertUser("ann"))
			return err
		})
	})
	wantText(t, err, "do not run two at once", "errgroup")
	wantClean(t, db)
}

// What a nested call undoes in another goroutine can be the outer function's work.
func TestNestedCallFailsInAnotherGoroutine(t *testing.T) {
	db := newDB(t)
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		inner, outer, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			_ = mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
				close(inner)
				<-outer
				return errors.New("no money")
			})
		}()
		<-inner
		err := write(ctx, tx, "undone")
		close(outer)
		<-done
		return err
	})
	wantText(t, err, "another goroutine has failed")
	wantClean(t, db)
}

// On this server a lock wait timeout leaves the transaction open, so it isn't the reason
// if that has ended.
func TestCommittedBeforeALockWaitTimeout(t *testing.T) {
	d := newDatabase(t, testserver.New(t, testserver.Config{}))
	db := d.open(t, "innodb_lock_wait_timeout=1")
	locker, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = locker.Rollback() }()
	testserver.Exec(t, locker, "UPDATE mysqltx_log SET entry = 'theirs' WHERE id = 1")
	for name, nested := range map[string]bool{"directly": false, "in a nested Run": true} {
		testserver.Exec(t, db, "DELETE FROM mysqltx_log WHERE id > 2")
		calls := 0
		wait := func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS other (id INT)")
			if err == nil {
				_, err = tx.ExecContext(ctx, "UPDATE mysqltx_log SET entry = 'mine' WHERE id = 1")
			}
			return err
		}
		err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			calls++
			if err := write(ctx, tx, "entry"); err != nil {
				return err
			}
			if nested {
				return mysqltx.Run(ctx, db, wait)
			}
			return wait(ctx, tx)
		})
		if calls != 1 || !errors.Is(err, mysqltx.ErrTransactionLost) || number(err) != 1205 {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
		wantCount(t, db, "mysqltx_log WHERE entry = 'entry'", 1)
	}
}

// What no ROLLBACK takes back doesn't reach the next attempt or the next user.
func TestSessionLeftovers(t *testing.T) {
	d := onMariaDB(t)
	guarded, err := mysqlinit.Open(d.dsn(testserver.Root, d.Addr, "guard=true"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guarded.Close() })
	other := d.open(t, "")
	for name, db := range map[string]*sql.DB{"plain": d.open(t, ""), "guarded": guarded} {
		calls := 0
		err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, "CREATE TEMPORARY TABLE work (id INT)"); err != nil {
				return err
			}
			if calls++; calls == 1 {
				return serverError(1213)
			}
			return nil
		})
		if calls != 2 || err != nil {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
		err = mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "LOCK TABLES mysqltx_log WRITE")
			return err
		})
		if !errors.Is(err, mysqltx.ErrTransactionLost) {
			t.Errorf("%s: got %v", name, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := write(ctx, other, "entry"); err != nil {
			t.Errorf("%s: the tables stay locked: %v", name, err)
		}
	}
}

func TestConflictKey(t *testing.T) {
	db := newDB(t)
	for _, test := range []struct {
		number       uint16
		message, key string
	}{
		{1062, "Duplicate entry 'ann' for key 'users.email'", "users.email"},
		{1062, "'o'neil' は索引 'users.email' で重複しています。", "users.email"},
		{1062, "Duplicate entry", ""},
		{1022, "Can't write; duplicate key in table 'users'", ""},
		{1062, "target: ks.0.primary: vttablet: rpc error: code = AlreadyExists desc = Duplicate entry 'ann' for key 'users.email' (errno 1062) (sqlstate 23000) (CallerID: app): Sql: \"insert into users(email) values ('secret')\", BindVars: {email: 'secret'}", "users.email"},
		{1062, "target: ks.0.primary: vttablet: lookup.Create: 'secret'", ""},
	} {
		_, _, err := mysqltx.GetOrCreate(t.Context(), db, getNothing, func(context.Context, mysqltx.Querier) (int64, error) {
			return 0, errors.Join(errors.New("create"), &mysql.MySQLError{Number: test.number, Message: test.message})
		})
		conflict, ok := errors.AsType[*mysqltx.ConflictError](err)
		if !ok || conflict.Key != test.key {
			t.Errorf("%s: got %v", test.message, err)
		}
	}
}

// The loops of docs/get-or-create.md, inTx and userID, are safe as printed.
func TestLoopsByHand(t *testing.T) {
	d := onMariaDB(t)
	for _, test := range []struct {
		cut   cut
		calls int
		rows  int
	}{
		{cut{statement: "COMMIT", times: 1, executed: true}, 1, 1},
		{cut{statement: "COMMIT", times: 1}, 1, 0},
		{cut{statement: "INSERT", times: 1, answer: 1213}, 2, 1},
	} {
		direct := d.open(t, "")
		testserver.Exec(t, direct, "DELETE FROM mysqltx_log WHERE id > 2")
		calls := 0
		err := inTx(t.Context(), startCutter(t, d, test.cut).open(t, ""), func(tx *sql.Tx) error {
			calls++
			return write(t.Context(), tx, "entry")
		})
		if calls != test.calls || (err == nil) != (calls == 2) {
			t.Errorf("%+v: %d calls, %v", test.cut, calls, err)
		}
		wantCount(t, direct, "mysqltx_log WHERE id > 2", test.rows)
	}
	guarded, err := mysqlinit.Open(d.dsn(testserver.Root, d.Addr, "guard=true"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guarded.Close() })
	testserver.Exec(t, guarded, "DELETE FROM mysqltx_log WHERE id > 2")
	calls := 0
	err = inTx(t.Context(), guarded, func(tx *sql.Tx) error { // swallows a deadlock
		calls++
		err := write(t.Context(), tx, "entry")
		if calls == 1 {
			_ = loseDeadlock(t.Context(), guarded, tx)
			_ = write(t.Context(), tx, "entry")
		}
		return err
	})
	if err != nil || calls != 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
	wantCount(t, guarded, "mysqltx_log WHERE entry = 'entry'", 1)

	testserver.Exec(t, guarded, "CREATE TABLE users (id BIGINT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(50) UNIQUE) ENGINE=InnoDB")
	for _, level := range []string{"read-committed", "repeatable-read"} {
		db, err := mysqlinit.Open(d.dsn(testserver.Root, d.Addr, "guard=true&isolation="+level))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		for _, within := range []bool{false, true} {
			for key := range 20 {
				email := fmt.Sprintf("%s-%v-%d", level, within, key)
				ids := make([]int64, racers)
				var all sync.WaitGroup
				for i := range racers {
					all.Go(func() {
						get := func(q mysqltx.Querier) (err error) {
							ids[i], err = userID(t.Context(), q, email)
							return err
						}
						var err error
						if within {
							err = inTx(t.Context(), db, func(tx *sql.Tx) error { return get(tx) })
						} else {
							err = get(db)
						}
						if err != nil {
							t.Errorf("%s: %v", email, err)
						}
					})
				}
				all.Wait()
				if ids[0] == 0 || len(slices.Compact(ids)) != 1 {
					t.Errorf("%s: ids %v", email, ids)
				}
			}
		}
	}
}
