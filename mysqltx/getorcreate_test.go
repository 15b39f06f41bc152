package mysqltx_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

func getNothing(context.Context, mysqltx.Querier, string) (int64, error) { return 0, sql.ErrNoRows }

// Types that embed database/sql's, as sqlx's do, and one that hides what it is.
type (
	wrappedDB   struct{ *sql.DB }
	store       struct{ *wrappedDB } // as programs embed sqlx.DB
	wrappedConn struct{ *sql.Conn }
	wrappedTx   struct{ *sql.Tx }
	hidden      struct{ mysqltx.Querier }
	preparing   struct{ mysqltx.Querier } // prepares all statements, as GORM does with PrepareStmt
	tagged      struct {                  // cannot be compared with ==
		*sql.Conn
		tags []string
	}
)

func (p preparing) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := p.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stmt.Close() }()
	return stmt.ExecContext(ctx, args...)
}

// onEach runs a test on each kind of Querier. inTransaction reports whether the Querier is
// in a transaction; then an entry, "before", has been written to the log in it.
func onEach(t *testing.T, db *sql.DB, test func(t *testing.T, q mysqltx.Querier, inTransaction bool)) {
	t.Run("DB", func(t *testing.T) { test(t, db, false) })
	t.Run("wrapped DB", func(t *testing.T) { test(t, wrappedDB{db}, false) })
	t.Run("hidden DB", func(t *testing.T) { test(t, hidden{db}, false) })
	t.Run("preparing DB", func(t *testing.T) { test(t, preparing{db}, false) })
	for name, wrap := range map[string]func(*sql.Conn) mysqltx.Querier{
		"Conn":           func(c *sql.Conn) mysqltx.Querier { return c },
		"wrapped Conn":   func(c *sql.Conn) mysqltx.Querier { return wrappedConn{c} },
		"tagged Conn":    func(c *sql.Conn) mysqltx.Querier { return tagged{c, nil} },
		"preparing Conn": func(c *sql.Conn) mysqltx.Querier { return preparing{c} },
	} {
		for _, begin := range []string{"", "BEGIN", "SET autocommit = 0"} {
			t.Run(name+" "+begin, func(t *testing.T) {
				conn, err := db.Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				if begin != "" {
					testserver.Exec(t, conn, begin)
					if err := write(t.Context(), conn, "before"); err != nil {
						t.Fatal(err)
					}
				}
				test(t, wrap(conn), begin != "")
				testserver.Exec(t, conn, "ROLLBACK", "SET autocommit = 1")
			})
		}
	}
	for name, wrap := range map[string]func(*sql.Tx) mysqltx.Querier{
		"Tx":           func(tx *sql.Tx) mysqltx.Querier { return tx },
		"wrapped Tx":   func(tx *sql.Tx) mysqltx.Querier { return wrappedTx{tx} },
		"hidden Tx":    func(tx *sql.Tx) mysqltx.Querier { return hidden{tx} },
		"preparing Tx": func(tx *sql.Tx) mysqltx.Querier { return preparing{tx} },
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }()
			if err := write(t.Context(), tx, "before"); err != nil {
				t.Fatal(err)
			}
			test(t, wrap(tx), true)
		})
	}
}

// Each Querier, with the row there, not there, and created by somebody else between the
// get and the create, which is the race.
func TestGetOrCreate(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db, other := d.open(t, ""), d.open(t, "")
		subtest := 0
		onEach(t, db, func(t *testing.T, q mysqltx.Querier, inTransaction bool) {
			// A deleted row that the server has not purged yet makes an INSERT of the same
			// key lock the gap before it. So each subtest has its own keys.
			subtest++
			own := func(email string) string { return fmt.Sprint(email, subtest) }
			testserver.Exec(t, other, "DELETE FROM mysqltx_users")
			want := func(email string, create func(context.Context, mysqltx.Querier) (int64, error), wantCreated bool) {
				t.Helper()
				id, created, err := mysqltx.GetOrCreate(t.Context(), q, getID(email), create)
				row, rowErr := getID(email)(t.Context(), q, "")
				if rowErr != nil { // created by the other, at REPEATABLE READ
					row, rowErr = getID(email)(t.Context(), q, " LOCK IN SHARE MODE")
				}
				if id != row || created != wantCreated || err != nil || rowErr != nil {
					t.Errorf("%s: id %d, want %d; created %v, %v, %v", email, id, row, created, err, rowErr)
				}
			}
			there, fresh, raced := own("there"), own("new"), own("raced")
			insert := func(email string) string { return "INSERT INTO mysqltx_users (email) VALUES ('" + email + "')" }
			testserver.Exec(t, other, insert(there))
			want(there, insertUser(there), false)
			want(fresh, insertUser(fresh), true)
			want(fresh, insertUser(fresh), false)
			lost := false
			want(raced, func(ctx context.Context, q mysqltx.Querier) (int64, error) {
				if !lost {
					lost = true
					testserver.Exec(t, other, insert(raced))
				}
				// In a transaction, what create did before the duplicate key is undone.
				if inTransaction {
					if err := write(ctx, q, "half"); err != nil {
						return 0, err
					}
				}
				return insertUser(raced)(ctx, q)
			}, false)
			wantCount(t, q, "mysqltx_log WHERE entry = 'half'", 0)
			if inTransaction { // it goes on, with what it did before
				wantCount(t, q, "mysqltx_log WHERE entry = 'before'", 1)
				wantCount(t, other, "mysqltx_log WHERE entry = 'before'", 0)
				wantCount(t, other, "mysqltx_users", 2)
			} else {
				wantCount(t, other, "mysqltx_users", 3)
			}
		})
	})
}

// A library has its own errors for a row that is not there, and for a duplicate key.
func TestGetOrCreateWithOtherErrors(t *testing.T) {
	db := openDSN(t, anyDSN(t))
	noUser, taken := errors.New("no such user"), errors.New("taken")
	subtest := 0
	onEach(t, db, func(t *testing.T, q mysqltx.Querier, inTransaction bool) {
		subtest++
		email := fmt.Sprint("user", subtest)
		get := func(ctx context.Context, q mysqltx.Querier, lock string) (int64, error) {
			id, err := getID(email)(ctx, q, lock)
			if errors.Is(err, sql.ErrNoRows) {
				err = noUser
			}
			return id, err
		}
		creates := 0
		create := func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			creates++
			if creates == 1 { // somebody else is faster
				testserver.Exec(t, db, "INSERT INTO mysqltx_users (email) VALUES ('"+email+"')")
			}
			id, err := insertUser(email)(ctx, q)
			if mysqltx.IsDuplicateKey(err) {
				err = taken
			}
			return id, err
		}
		notFound := mysqltx.WithNotFoundIf(func(err error) bool { return err == noUser })
		duplicate := mysqltx.WithDuplicateIf(func(err error) bool { return err == taken })
		if _, _, err := mysqltx.GetOrCreate(t.Context(), q, get, create); err != noUser {
			t.Errorf("without the options: %v", err)
		}
		id, created, err := mysqltx.GetOrCreate(t.Context(), q, get, create, notFound, duplicate)
		if id == 0 || created || creates != 1 || err != nil {
			t.Errorf("id %d, created %t, %d creates, %v", id, created, creates, err)
		}
		_, _, err = mysqltx.GetOrCreate(t.Context(), q, getNothing, create, notFound)
		if err != taken {
			t.Errorf("without WithDuplicateIf: %v", err)
		}
		_, _, err = mysqltx.GetOrCreate(t.Context(), q, getNothing, create, duplicate)
		if conflict, ok := errors.AsType[*mysqltx.ConflictError](err); !ok || conflict.Err != taken || conflict.Key != "" {
			t.Errorf("get finds nothing: %v", err)
		}
		gets := 0
		_, _, err = mysqltx.GetOrCreate(t.Context(), q, func(context.Context, mysqltx.Querier, string) (int64, error) {
			if gets++; gets == 2 { // after create
				return 0, taken
			}
			return 0, sql.ErrNoRows
		}, insertUser("new "+email), duplicate)
		if err != taken {
			t.Errorf("get's error is taken for create's: %v", err)
		}
	})
}

func TestGetOrCreateBadInput(t *testing.T) {
	db := openDSN(t, anyDSN(t))
	testserver.Exec(t, db, "INSERT INTO mysqltx_users (email, phone) VALUES ('ann', '112')")
	other := errors.New("no such host")
	calls, inTransaction := 0, false
	counted := func(create func(context.Context, mysqltx.Querier) (int64, error)) func(context.Context, mysqltx.Querier) (int64, error) {
		return func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			calls++
			if inTransaction {
				if err := write(ctx, q, "half"); err != nil {
					return 0, err
				}
			}
			return create(ctx, q)
		}
	}
	collide := counted(func(ctx context.Context, q mysqltx.Querier) (int64, error) {
		_, err := q.ExecContext(ctx, "INSERT INTO mysqltx_users (email, phone) VALUES ('bob', '112')")
		return 0, err
	})
	var conflict *mysqltx.ConflictError
	isConflict := func(key string) func(error) bool {
		return func(err error) bool {
			return errors.As(err, &conflict) && (conflict.Key == key || conflict.Key == "mysqltx_users."+key) && number(err) == 1062
		}
	}
	for name, test := range map[string]struct {
		get    func(context.Context, mysqltx.Querier, string) (int64, error)
		create func(context.Context, mysqltx.Querier) (int64, error)
		calls  int
		is     func(error) bool
		text   string
	}{
		"get with another error": {func(context.Context, mysqltx.Querier, string) (int64, error) { return 0, other }, insertUser("bob"), 0,
			func(err error) bool { return err == other }, "no such host"},
		"create with another error": {getNothing, counted(func(context.Context, mysqltx.Querier) (int64, error) { return 0, other }), 1,
			func(err error) bool { return err == other }, "no such host"},
		"create that makes no row": {getID("bob"), counted(func(context.Context, mysqltx.Querier) (int64, error) { return 1, nil }), 1,
			func(err error) bool { return !errors.Is(err, sql.ErrNoRows) }, "get finds no row"},
		"create that makes another row": {getID("bob"), counted(insertUser("eve")), 1,
			func(err error) bool { return err != nil }, "get finds no row"},
		"create that collides with another key": {getID("bob"), collide, 5, isConflict("by_phone"), "does get look for it by that key"},
		"get that sees nothing":                 {getNothing, counted(insertUser("ann")), 5, isConflict("by_email"), "append lock"},
		"create that commits": {getID("bob"), counted(func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			_, err := q.ExecContext(ctx, "TRUNCATE mysqltx_log")
			return 1, errors.Join(err, write(ctx, q, "committed"))
		}), 1, func(err error) bool { return err != nil }, "get finds no row"},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, db, func(t *testing.T, q mysqltx.Querier, within bool) {
				calls, inTransaction = 0, within
				id, created, err := mysqltx.GetOrCreate(t.Context(), q, test.get, test.create)
				if id != 0 || created || !test.is(err) || calls != test.calls {
					t.Errorf("id %d, created %v, %d calls of create, %v", id, created, calls, err)
				}
				wantText(t, err, test.text)
				wantCount(t, q, "mysqltx_log WHERE entry = 'half'", 0)
				if !within { // create's statement has committed
					testserver.Exec(t, db, "DELETE FROM mysqltx_users WHERE email = 'eve'")
				}
				wantCount(t, q, "mysqltx_users", 1)
			})
		})
	}
	_, _, err := mysqltx.GetOrCreate[int64](t.Context(), db, nil, nil)
	wantText(t, err, "two functions")
}

// create ends the transaction with DDL, and then inserts the row, or collides with one.
func TestGetOrCreateWithDDL(t *testing.T) {
	db := newDB(t)
	db.SetMaxOpenConns(0)
	onEach(t, db, func(t *testing.T, q mysqltx.Querier, inTransaction bool) {
		if !inTransaction {
			return // there is none to end
		}
		testserver.Exec(t, db, "DELETE FROM mysqltx_users")
		_, _, err := mysqltx.GetOrCreate(t.Context(), q, getID("bob"), func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			testserver.Exec(t, q, "TRUNCATE mysqltx_log")
			return insertUser("bob")(ctx, q)
		})
		if !errors.Is(err, mysqltx.ErrTransactionLost) {
			t.Errorf("got %v", err)
		}
	})
	onEach(t, db, func(t *testing.T, q mysqltx.Querier, inTransaction bool) {
		if !inTransaction {
			return // there is none to end
		}
		testserver.Exec(t, db, "DELETE FROM mysqltx_users")
		_, _, err := mysqltx.GetOrCreate(t.Context(), q, getNothing, func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			testserver.Exec(t, q, "DELETE FROM mysqltx_users", "INSERT INTO mysqltx_users (email) VALUES ('bob')", "TRUNCATE mysqltx_log")
			return insertUser("bob")(ctx, q)
		})
		if !errors.Is(err, mysqltx.ErrTransactionLost) || !mysqltx.IsDuplicateKey(err) {
			t.Errorf("got %v", err)
		}
	})
}

// The row is deleted between the duplicate key and the locking read.
func TestRowDeletedInBetween(t *testing.T) {
	db := newDB(t)
	db.SetMaxOpenConns(0)
	testserver.Exec(t, db, "INSERT INTO mysqltx_users (email) VALUES ('ann')")
	err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
		calls := 0
		_, created, err := mysqltx.GetOrCreate(ctx, tx,
			func(ctx context.Context, q mysqltx.Querier, lock string) (int64, error) {
				if calls < 2 { // as if the row were deleted in between, and there again at the create
					return 0, sql.ErrNoRows
				}
				return getID("ann")(ctx, q, lock)
			},
			func(ctx context.Context, q mysqltx.Querier) (int64, error) {
				if calls++; calls == 2 {
					testserver.Exec(t, tx, "DELETE FROM mysqltx_users")
				}
				return insertUser("ann")(ctx, q)
			})
		if !created || calls != 2 {
			t.Errorf("created %v, %d calls", created, calls)
		}
		return err
	}, mysqltx.WithIsolation(sql.LevelReadCommitted))
	if err != nil {
		t.Error(err)
	}
	wantCount(t, db, "mysqltx_users", 1)
}

// create itself gets or creates the row that its row refers to.
func TestSavepointsNest(t *testing.T) {
	db := newDB(t)
	db.SetMaxOpenConns(0)
	onEach(t, db, func(t *testing.T, q mysqltx.Querier, _ bool) {
		testserver.Exec(t, db, "DELETE FROM mysqltx_users", "INSERT INTO mysqltx_users (email, phone) VALUES ('ann', '112')")
		_, created, err := mysqltx.GetOrCreate(t.Context(), q, getID("child"), func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			_, created, err := mysqltx.GetOrCreate(ctx, q, getNothing, insertUser("ann")) // fails and is undone
			if _, ok := errors.AsType[*mysqltx.ConflictError](err); !ok || created {
				t.Errorf("created %v, %v", created, err)
			}
			if _, created, err := mysqltx.GetOrCreate(ctx, q, getID("parent"), insertUser("parent")); !created || err != nil {
				t.Errorf("created %v, %v", created, err)
			}
			return insertUser("child")(ctx, q)
		})
		if !created || err != nil {
			t.Errorf("created %v, %v", created, err)
		}
		wantCount(t, q, "mysqltx_users", 3)
	})
}

// Inside a Run, its pool stands for its transaction. Inside create, the pool that
// GetOrCreate was given stands for create's transaction. The pool has one connection, so
// a second transaction would wait forever.
func TestThePoolWithinATransaction(t *testing.T) {
	db := newDB(t)
	want := errors.New("no money")
	for _, q := range []mysqltx.Querier{db, wrappedDB{db}, &wrappedDB{db}, store{&wrappedDB{db}}} {
		err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			_, created, err := mysqltx.GetOrCreate(ctx, q, getID("ann"), insertUser("ann"))
			if !created || err != nil {
				t.Errorf("created %v, %v", created, err)
			}
			return want
		})
		if err != want {
			t.Error(err)
		}
		wantCount(t, db, "mysqltx_users", 0)
		_, created, err := mysqltx.GetOrCreate(t.Context(), q, getID("child"), func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
				_, err := insertUser("parent")(ctx, tx)
				return err
			})
			if err != nil {
				return 0, err
			}
			return insertUser("child")(ctx, q)
		})
		if !created || err != nil {
			t.Errorf("created %v, %v", created, err)
		}
		testserver.Exec(t, db, "DELETE FROM mysqltx_users")
	}
}

// create doesn't return the error of a deadlock, and goes on.
func TestCreateThatSwallowsADeadlock(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.open(t, "")
		onEach(t, db, func(t *testing.T, q mysqltx.Querier, inTransaction bool) {
			if !inTransaction {
				return // each statement is its own transaction
			}
			testserver.Exec(t, db, "DELETE FROM mysqltx_users")
			calls := 0
			_, created, err := mysqltx.GetOrCreate(t.Context(), q, getID("ann"), func(ctx context.Context, q mysqltx.Querier) (int64, error) {
				calls++
				if err := write(ctx, q, "half"); err != nil {
					return 0, err
				}
				wantNumber(t, loseDeadlock(ctx, db, q), 1213)
				return insertUser("ann")(ctx, q)
			})
			if created || calls != 1 || !errors.Is(err, mysqltx.ErrTransactionLost) {
				t.Errorf("created %v, %d calls, %v", created, calls, err)
			}
			wantCount(t, db, "mysqltx_log WHERE entry = 'half'", 0)
		})
	})
}

// GetOrCreate cannot replace the lost connection of a *sql.Conn.
func TestConnIsLost(t *testing.T) {
	d := onMariaDB(t)
	db := d.open(t, "")
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var id int
	if err := conn.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	calls := 0
	_, _, err = mysqltx.GetOrCreate(t.Context(), conn, getID("ann"), func(ctx context.Context, q mysqltx.Querier) (int64, error) {
		calls++
		if _, err := db.ExecContext(ctx, "KILL ?", id); err != nil {
			t.Error(err)
		}
		return insertUser("ann")(ctx, q)
	})
	if _, ambiguous := errors.AsType[*mysqltx.AmbiguousCommitError](err); calls != 1 || !ambiguous {
		t.Errorf("%d calls, %v", calls, err)
	}
	_, _, err = mysqltx.GetOrCreate(t.Context(), conn, func(context.Context, mysqltx.Querier, string) (int64, error) {
		return 0, driver.ErrBadConn
	}, insertUser("ann"))
	wantText(t, err, "bad connection")
	wantCount(t, db, "mysqltx_users", 0)
}
