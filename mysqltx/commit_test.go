package mysqltx_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// cut is what a cutter does at a statement: it loses the connection, or answers in the
// server's place.
type cut struct {
	statement string // or a part of one
	times     int32  // how often; afterwards the statement goes through
	executed  bool   // lose the connection only after the server has executed the statement
	answer    uint16 // answer with an error of this number instead of losing the connection
	message   string // of the answer
}

// cutter is a proxy before a database's server that makes a cut.
type cutter struct {
	cut
	db   database
	addr string
	left atomic.Int32 // how often it will still cut
}

func startCutter(t *testing.T, d database, what cut) *cutter {
	t.Helper()
	listener, err := testserver.Listen()
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{cut: what, db: d, addr: listener.Addr().String()}
	c.left.Store(what.times)
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	serving.Go(func() { testserver.Serve(listener, func(client net.Conn) { c.serve(client, d.Addr) }) })
	return c
}

// open opens a pool with the plain driver, through the proxy, which sees the statements
// with their arguments.
func (c *cutter) open(t *testing.T, params string) *sql.DB {
	t.Helper()
	return openDSN(t, c.db.dsn(testserver.Root, c.addr, "interpolateParams=true&"+params))
}

// errorPacket is the answer to a statement that failed.
func errorPacket(number uint16, message string) []byte {
	if message == "" {
		message = "made up"
	}
	payload := append([]byte{0xff, byte(number), byte(number >> 8)}, "#HY000"+message...)
	return append([]byte{byte(len(payload)), 0, 0, 1}, payload...)
}

func (c *cutter) serve(client net.Conn, addr string) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	answers := make(chan []byte)
	go func() {
		defer close(answers)
		for {
			buffer := make([]byte, 1<<16)
			n, err := server.Read(buffer)
			if err != nil {
				_ = client.Close()
				return
			}
			answers <- buffer[:n]
		}
	}()
	var losing atomic.Bool
	lost := make(chan struct{})
	go func() {
		for answer := range answers {
			if losing.Load() {
				close(lost)
				for range answers { // until the server closes the connection
				}
				return
			}
			_, _ = client.Write(answer)
		}
	}()
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		cut := bytes.Contains(buffer[:n], []byte(c.statement)) && c.left.Add(-1) >= 0
		if cut && c.answer != 0 {
			_, _ = client.Write(errorPacket(c.answer, c.message))
			continue
		}
		if cut && !c.executed {
			return
		}
		losing.Store(cut)
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
		if cut {
			<-lost
			return
		}
	}
}

func TestConnectionLost(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		direct := d.open(t, "")
		for _, test := range []struct {
			name      string
			statement string
			executed  bool
			opts      []mysqltx.Option
			calls     int
			ambiguous bool
			rows      int
		}{
			{"before COMMIT reached the server", "COMMIT", false, nil, 1, true, 0},
			{"before the answer to COMMIT", "COMMIT", true, nil, 1, true, 1},
			{"before the answer to COMMIT, idempotent", "COMMIT", true, []mysqltx.Option{mysqltx.WithIdempotent(true)}, 2, false, 2},
			{"before the answer to COMMIT, without the sentinel", "COMMIT", true, []mysqltx.Option{mysqltx.WithSentinel(false)}, 1, true, 1},
			{"in a statement", "INSERT", true, nil, 2, false, 1},
			{"in START TRANSACTION", "START TRANSACTION", true, nil, 1, false, 1},
			{"at the end of the watch", "RELEASE SAVEPOINT", false, nil, 2, false, 1},
			{"after COMMIT", "SET autocommit = 1", true, nil, 1, false, 1},
		} {
			t.Run(test.name, func(t *testing.T) {
				testserver.Exec(t, direct, "DELETE FROM mysqltx_log WHERE id > 2")
				proxy := startCutter(t, d, cut{statement: test.statement, times: 1, executed: test.executed})
				db := proxy.open(t, "")
				calls := 0
				err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
					calls++
					return write(ctx, tx, "entry")
				}, test.opts...)
				_, ambiguous := errors.AsType[*mysqltx.AmbiguousCommitError](err)
				if calls != test.calls || ambiguous != test.ambiguous || !ambiguous && err != nil {
					t.Errorf("%d calls, %v", calls, err)
				}
				if ambiguous && mysqltx.IsRetryable(err) {
					t.Error("it counts as retryable")
				}
				if proxy.left.Load() >= 1 {
					t.Error("the connection was not cut")
				}
				wantCount(t, direct, "mysqltx_log WHERE id > 2", test.rows)
			})
		}
	})
}

// Outside a transaction, GetOrCreate loses the connection in create's statement, which
// commits by itself.
func TestGetOrCreateLosesItsCommit(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := startCutter(t, d, cut{statement: "INSERT", times: 1, executed: true}).open(t, "")
		_, created, err := mysqltx.GetOrCreate(t.Context(), db, getID("ann"), insertUser("ann"))
		if _, ambiguous := errors.AsType[*mysqltx.AmbiguousCommitError](err); !ambiguous || created {
			t.Errorf("created %v, %v", created, err)
		}
		if id, created, err := mysqltx.GetOrCreate(t.Context(), db, getID("ann"), insertUser("ann")); id == 0 || created || err != nil {
			t.Errorf("the second call: id %d, created %v, %v", id, created, err)
		}
		db = startCutter(t, d, cut{statement: "INSERT", times: 1, executed: true}).open(t, "")
		id, created, err := mysqltx.GetOrCreate(t.Context(), db, getID("bob"), insertUser("bob"), mysqltx.WithIdempotent(true))
		if id == 0 || created || err != nil {
			t.Errorf("idempotent: id %d, created %v, %v", id, created, err)
		}
	})
}

// The context ends while the server works on COMMIT.
func TestCommitOutlivesTheContext(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.open(t, "")
		locker, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = locker.Close() }()
		testserver.Exec(t, locker, "DO 1")
		ctx, cancel := context.WithCancel(t.Context())
		committing := make(chan struct{})
		result := make(chan error, 1)
		go func() {
			result <- mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
				defer close(committing)
				err := write(ctx, tx, "entry")
				testserver.Exec(t, locker, "FLUSH TABLES WITH READ LOCK")
				return err
			})
		}()
		<-committing
		awaitSession(t, db, "info = 'COMMIT' AND state LIKE 'Waiting for %lock'")
		cancel()
		// If database/sql had seen that before COMMIT was sent, it would roll back at
		// once.
		select {
		case err := <-result:
			t.Fatalf("Run returned before the answer: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		testserver.Exec(t, locker, "UNLOCK TABLES")
		if err := <-result; err != nil {
			t.Error(err)
		}
		wantCount(t, db, "mysqltx_log WHERE id > 2", 1)
	})
}

// awaitSession returns when a session on the server is as a condition wants it.
func awaitSession(t *testing.T, db *sql.DB, condition string) {
	t.Helper()
	for range 5000 {
		if count(t, db, "information_schema.processlist WHERE "+condition) > 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no session has " + condition)
}

// The server can answer COMMIT with an error after which nothing is committed: under
// FLUSH TABLES WITH READ LOCK, after lock_wait_timeout.
func TestCommitRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.open(t, "lock_wait_timeout=1")
		locker, err := d.open(t, "").Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = locker.Close() }()
		calls := 0
		err = mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			calls++
			err := write(ctx, tx, "entry")
			if calls == 1 {
				testserver.Exec(t, locker, "FLUSH TABLES WITH READ LOCK")
			}
			return err
		}, mysqltx.WithOnRetry(func(_ context.Context, r mysqltx.Retry) {
			wantNumber(t, r.Err, 1205)
			testserver.Exec(t, locker, "UNLOCK TABLES")
		}))
		if calls != 2 || err != nil {
			t.Errorf("%d calls, %v", calls, err)
		}
		wantCount(t, db, "mysqltx_log WHERE id > 2", 1)
	})
}

// The server's possible answers to COMMIT. The server doesn't get this COMMIT, so the
// transaction is open until Run rolls it back.
func TestAnswersToCommit(t *testing.T) {
	d := onMariaDB(t)
	direct := d.open(t, "")
	again := mysqltx.WithRetryIf(func(err error) bool { return number(err) == 9007 })
	for answer, want := range map[uint16]struct {
		calls     int
		ambiguous bool
	}{
		1213: {2, false}, 3101: {2, false}, 1020: {2, false}, 1205: {2, false}, 1047: {2, false}, 4031: {2, false}, 9007: {2, false},
		3100: {1, true}, // the group has perhaps got the transaction
		1197: {1, false}, 1290: {1, false}, 1792: {1, false}, 1836: {1, false},
		1180: {1, true}, // unless its text shows a deadlock, as TestYielded and the matrix have it
		1317: {1, true}, 1053: {1, true}, 1105: {1, true},
	} {
		testserver.Exec(t, direct, "DELETE FROM mysqltx_log WHERE id > 2")
		db := startCutter(t, d, cut{statement: "COMMIT", times: 1, answer: answer}).open(t, "")
		db.SetMaxOpenConns(1)
		calls := 0
		err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			calls++
			return write(ctx, tx, "entry")
		}, again)
		_, ambiguous := errors.AsType[*mysqltx.AmbiguousCommitError](err)
		if calls != want.calls || ambiguous != want.ambiguous || (err == nil) != (calls == 2) || err != nil && number(err) != answer {
			t.Errorf("%d: %d calls, %v", answer, calls, err)
		}
		testserver.Exec(t, db, "BEGIN", "COMMIT") // would commit what is still open
		wantCount(t, direct, "mysqltx_log WHERE id > 2", calls-1)
	}
}

// If MySQL has closed an idle connection, it reports that in place of COMMIT's answer.
func TestIdleBeforeCommit(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db, direct := d.open(t, ""), d.open(t, "")
		calls := 0
		err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			calls++
			if err := write(ctx, tx, "entry"); err != nil || calls > 1 {
				return err
			}
			testserver.Exec(t, tx, "SET SESSION wait_timeout = 1")
			var id int
			if err := tx.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
				return err
			}
			for count(t, direct, fmt.Sprintf("information_schema.processlist WHERE id = %d", id)) > 0 {
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		}, mysqltx.WithSentinel(false))
		if calls != 2 || err != nil {
			t.Errorf("%d calls, %v", calls, err)
		}
		wantCount(t, direct, "mysqltx_log WHERE id > 2", 1)
	})
}

// If nobody knows what an answer has left open, Run closes the connection, and the
// pool's next one is clean.
func TestDoubtfulConnectionIsClosed(t *testing.T) {
	d := onMariaDB(t)
	for _, test := range []struct {
		name   string
		cut    cut
		params string
		calls  int
	}{
		{"COMMIT is refused, and rejectReadOnly makes the driver close the connection", cut{statement: "COMMIT", times: 1, answer: 1836}, "rejectReadOnly=true", 2},
		{"the session cannot be restored", cut{statement: "SET autocommit = 1", times: 1, answer: 1317}, "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			testserver.Exec(t, d.open(t, ""), "DELETE FROM mysqltx_log WHERE id > 2")
			db := startCutter(t, d, test.cut).open(t, test.params)
			db.SetMaxOpenConns(1)
			calls := 0
			err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
				calls++
				return write(ctx, tx, "entry")
			})
			if calls != test.calls || err != nil {
				t.Errorf("%d calls, %v", calls, err)
			}
			wantCount(t, db, "mysqltx_log WHERE id > 2 AND @@autocommit", 1)
		})
	}
}

// The connection is lost between the duplicate key and the locking read. The error
// must not be the duplicate key.
func TestConnectionLostAfterTheDuplicateKey(t *testing.T) {
	d := onMariaDB(t)
	direct := d.open(t, "")
	race := func(email string) func(context.Context, mysqltx.Querier) (int64, error) {
		return func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			testserver.Exec(t, direct, "INSERT IGNORE INTO mysqltx_users (email) VALUES ('"+email+"')")
			return insertUser(email)(ctx, q)
		}
	}
	db := startCutter(t, d, cut{statement: "LOCK IN SHARE MODE", times: 1}).open(t, "")
	if id, created, err := mysqltx.GetOrCreate(t.Context(), db, getID("ann"), race("ann")); id == 0 || created || err != nil {
		t.Errorf("id %d, created %v, %v", id, created, err)
	}
	db = startCutter(t, d, cut{statement: "ROLLBACK TO", times: 1}).open(t, "")
	calls := 0
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		_, created, err := mysqltx.GetOrCreate(ctx, tx, getID("bob"), race("bob"))
		if created {
			t.Error("created")
		}
		return err
	})
	if calls != 2 || err != nil {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// The connection is lost after create has succeeded. This caller is the creator.
func TestConnectionLostBeforeTheLastRead(t *testing.T) {
	db := startCutter(t, onMariaDB(t), cut{statement: "LOCK IN SHARE MODE", times: 1}).open(t, "")
	if id, created, err := mysqltx.GetOrCreate(t.Context(), db, getID("ann"), insertUser("ann")); id == 0 || !created || err != nil {
		t.Errorf("id %d, created %v, %v", id, created, err)
	}
}

// create's statement is rolled back. By the next attempt somebody else has created the
// row, so created must be false.
func TestCreatedIsOfTheLastAttempt(t *testing.T) {
	d := onMariaDB(t)
	direct := d.open(t, "")
	db := startCutter(t, d, cut{statement: "INSERT", times: 1, answer: 1213}).open(t, "")
	gets := 0
	get := func(ctx context.Context, q mysqltx.Querier, lock string) (int64, error) {
		if gets++; gets == 2 { // the first of the second attempt
			testserver.Exec(t, direct, "INSERT INTO mysqltx_users (id, email) VALUES (77, 'ann')")
		}
		return getID("ann")(ctx, q, lock)
	}
	if id, created, err := mysqltx.GetOrCreate(t.Context(), db, get, insertUser("ann")); id != 77 || created || err != nil {
		t.Errorf("id %d, created %v, %v", id, created, err)
	}
}
