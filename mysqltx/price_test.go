package mysqltx_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// sent notes the first word of each statement that a pool sends.
type sent struct {
	mu    sync.Mutex
	words []string
}

// take returns what was noted since the last take.
func (s *sent) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	words := s.words
	s.words = nil
	return words
}

// sentConn notes the statements on one connection.
type sentConn struct {
	net.Conn
	sent *sent
}

func (c sentConn) Write(p []byte) (int, error) {
	const comQuit = 1
	if len(p) > 4 && p[3] == 0 && p[4] != comQuit { // the first packet of a command
		word, _, _ := strings.Cut(string(p[5:]), " ")
		c.sent.mu.Lock()
		c.sent.words = append(c.sent.words, word)
		c.sent.mu.Unlock()
	}
	return c.Conn.Write(p)
}

// openSent opens a pool of one connection that is ready, and whose statements are noted.
func openSent(t *testing.T, d database, params string) (*sql.DB, *sent) {
	t.Helper()
	s := &sent{}
	network := "sent" + d.name + strings.Map(func(r rune) rune {
		if r == '=' || r == '&' {
			return -1
		}
		return r
	}, params)
	mysql.RegisterDialContext(network, func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		return sentConn{conn, s}, err
	})
	t.Cleanup(func() { mysql.DeregisterDialContext(network) })
	db, err := mysqlinit.Open(testserver.Root + "@" + network + "(" + d.Addr + ")/" + d.name + "?interpolateParams=true&" + params)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	// Run asks once whether the server is a member of a group, and the guard does at the
	// first SAVEPOINT.
	err = mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "SAVEPOINT s")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.take()
	return db, s
}

// raced returns a create that loses the race for its row.
func raced(t *testing.T, other *sql.DB, email string) func(context.Context, mysqltx.Querier) (int64, error) {
	return func(ctx context.Context, q mysqltx.Querier) (int64, error) {
		testserver.Exec(t, other, "INSERT IGNORE INTO mysqltx_users (email) VALUES ('"+email+"')")
		return insertUser(email)(ctx, q)
	}
}

// What mysqltx sends, and nothing else.
func TestStatements(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		other := d.open(t, "")
		testserver.Exec(t, other, "INSERT INTO mysqltx_users (email) VALUES ('there')")
		type calls map[string]struct {
			do   func(db *sql.DB) error
			want string
		}
		getOrCreate := func(q mysqltx.Querier, ctx context.Context, email string, create func(context.Context, mysqltx.Querier) (int64, error), opts ...mysqltx.Option) error {
			_, _, err := mysqltx.GetOrCreate(ctx, q, getID(email), create, opts...)
			return err
		}
		inRun := func(fn func(ctx context.Context, tx *sql.Tx) error) func(db *sql.DB) error {
			return func(db *sql.DB) error { return mysqltx.Run(t.Context(), db, fn) }
		}
		for guard, tests := range map[string]calls{
			"guard=true": {
				"Run": {inRun(func(ctx context.Context, tx *sql.Tx) error { return write(ctx, tx, "x") }), "START INSERT COMMIT"},
				"Run that fails": {func(db *sql.DB) error {
					_ = mysqltx.Run(t.Context(), db, func(context.Context, *sql.Tx) error { return errors.New("no") })
					return nil
				}, "START ROLLBACK"},
				"nested Run": {func(db *sql.DB) error {
					return mysqltx.Run(t.Context(), db, func(ctx context.Context, _ *sql.Tx) error {
						return mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error { return write(ctx, tx, "x") })
					})
				}, "START SAVEPOINT INSERT COMMIT"},
				"there in Run": {inRun(func(ctx context.Context, tx *sql.Tx) error {
					return getOrCreate(tx, ctx, "there", notCalled)
				}), "START SELECT COMMIT"},
				"new in Run": {inRun(func(ctx context.Context, tx *sql.Tx) error {
					return getOrCreate(tx, ctx, "new", insertUser("new"))
				}), "START SELECT SAVEPOINT INSERT SELECT COMMIT"},
				"new in Run, without the last read": {inRun(func(ctx context.Context, tx *sql.Tx) error {
					return getOrCreate(tx, ctx, "newer", insertUser("newer"), mysqltx.WithLastRead(false))
				}), "START SELECT SAVEPOINT INSERT COMMIT"},
				"there": {func(db *sql.DB) error { return getOrCreate(db, t.Context(), "there", notCalled) }, "SELECT"},
				"new":   {func(db *sql.DB) error { return getOrCreate(db, t.Context(), "a", insertUser("a")) }, "SELECT INSERT SELECT"},
				"new, without the last read": {func(db *sql.DB) error {
					return getOrCreate(db, t.Context(), "b", insertUser("b"), mysqltx.WithLastRead(false))
				}, "SELECT INSERT"},
				"lost race": {func(db *sql.DB) error { return getOrCreate(db, t.Context(), "c", raced(t, other, "c")) }, "SELECT INSERT SELECT"},
			},
			"guard=false": {
				"Run":        {inRun(func(ctx context.Context, tx *sql.Tx) error { return write(ctx, tx, "x") }), "START SET SAVEPOINT INSERT RELEASE COMMIT SET"},
				"new in Run": {inRun(func(ctx context.Context, tx *sql.Tx) error { return getOrCreate(tx, ctx, "d", insertUser("d")) }), "START SET SAVEPOINT SELECT SAVEPOINT INSERT SELECT RELEASE COMMIT SET"},
				"Run with WithSentinel(false)": {func(db *sql.DB) error {
					return mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error { return write(ctx, tx, "x") }, mysqltx.WithSentinel(false))
				}, "START INSERT COMMIT"},
				"there":     {func(db *sql.DB) error { return getOrCreate(db, t.Context(), "there", notCalled) }, "SELECT"},
				"new":       {func(db *sql.DB) error { return getOrCreate(db, t.Context(), "e", insertUser("e")) }, "SELECT INSERT SELECT"},
				"lost race": {func(db *sql.DB) error { return getOrCreate(db, t.Context(), "f", raced(t, other, "f")) }, "SELECT INSERT SELECT"},
				"new in a transaction": {func(db *sql.DB) error {
					tx, err := db.BeginTx(t.Context(), nil)
					if err != nil {
						return err
					}
					defer func() { _ = tx.Rollback() }()
					return getOrCreate(tx, t.Context(), "g", insertUser("g"))
				}, "START SELECT SAVEPOINT INSERT SELECT RELEASE ROLLBACK"},
			},
		} {
			db, s := openSent(t, d, guard)
			for name, test := range tests {
				if err := test.do(db); err != nil {
					t.Errorf("%s, %s: %v", name, guard, err)
				}
				if got := strings.Join(s.take(), " "); got != test.want {
					t.Errorf("%s, %s: sent %s, want %s", name, guard, got, test.want)
				}
			}
		}
	})
}

func notCalled(context.Context, mysqltx.Querier) (int64, error) {
	return 0, errors.New("create was called")
}

// On a guarded connection, too, half a transaction is never committed, and what is an
// error of Run without the guard is one with it.
func TestRunOnAGuardedConnection(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db, err := mysqlinit.Open(d.dsn(testserver.Root, d.Addr, "guard=true&innodb_lock_wait_timeout=1"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		for _, loss := range append(slices.Clone(losses), committing...) {
			for _, swallowed := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, swallowed %v", loss.name, swallowed), func(t *testing.T) {
					testserver.Exec(t, db, "DELETE FROM mysqltx_log WHERE id > 2")
					calls := 0
					err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
						err := write(ctx, tx, "before")
						if calls++; calls == 1 {
							err = errors.Join(err, loss.lose(ctx, db, tx))
						}
						if after := write(ctx, tx, "after"); !swallowed {
							err = errors.Join(err, after)
						}
						return err
					})
					before, after := count(t, db, "mysqltx_log WHERE entry = 'before'"), count(t, db, "mysqltx_log WHERE entry = 'after'")
					if loss.kept == 0 { // the guard knows the cause, and so it runs again
						if err != nil || calls != 2 || before != 1 || after != 1 {
							t.Errorf("%d calls, %d rows before, %d after, %v", calls, before, after, err)
						}
					} else if !errors.Is(err, mysqltx.ErrTransactionLost) || calls != 1 || before != 1 || after != 0 {
						t.Errorf("%d calls, %d rows before, %d after, %v", calls, before, after, err)
					}
				})
			}
		}
	})
}

// committing are statements that commit the transaction, by themselves or with an error.
var committing = []struct {
	name string
	lose func(ctx context.Context, db *sql.DB, tx *sql.Tx) error
	kept int
}{
	{"COMMIT as a statement", exec("COMMIT"), 1},
	{"COMMIT AND CHAIN", exec("COMMIT AND CHAIN"), 1},
	{"BEGIN", exec("BEGIN"), 1},
	{"DDL that fails", func(ctx context.Context, _ *sql.DB, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "CREATE TABLE mysqltx_log (id INT)"); number(err) != 1050 {
			return fmt.Errorf("got %w, want error 1050", err)
		}
		return nil
	}, 1},
}

func exec(statement string) func(context.Context, *sql.DB, *sql.Tx) error {
	return func(ctx context.Context, _ *sql.DB, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement)
		return err
	}
}
