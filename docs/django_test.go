package docs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// This is the code of docs/django.md, and of the cures of docs/get-or-create.md.
// TestDocsCodeCompiles compares them.

func updateOrCreate(ctx context.Context, db *sql.DB, email, name string) (created bool, err error) {
	err = mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) (err error) {
		get := func(ctx context.Context, q mysqltx.Querier, lock string) (id int64, err error) {
			err = q.QueryRowContext(ctx, "SELECT id FROM users WHERE email = ?"+lock, email).Scan(&id)
			return id, err
		}
		create := func(ctx context.Context, q mysqltx.Querier) (int64, error) {
			result, err := q.ExecContext(ctx, "INSERT INTO users (email, name) VALUES (?, ?)", email, name)
			if err != nil {
				return 0, err
			}
			return result.LastInsertId()
		}
		var id int64
		if id, created, err = mysqltx.GetOrCreate(ctx, tx, get, create); err != nil || created {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE users SET name = ? WHERE id = ?", name, id)
		return err
	})
	return created, err
}

// atomic gives each request a transaction. view can run again, so it reads the request's
// body before, and writes no response.
func atomic[Form any](db *sql.DB, view func(ctx context.Context, tx *sql.Tx, form Form) (answer any, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var form Form
		if err := json.NewDecoder(r.Body).Decode(&form); err != nil {
			http.Error(w, "not JSON", http.StatusBadRequest)
			return
		}
		var answer any
		err := mysqltx.Run(r.Context(), db, func(ctx context.Context, tx *sql.Tx) (err error) {
			answer, err = view(ctx, tx, form)
			return err
		})
		if err != nil { // nothing is committed; after an AmbiguousCommitError nobody knows
			http.Error(w, "try again later", http.StatusInternalServerError)
			return
		}
		// It is committed: what Django's on_commit does goes here.
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func callAgain(ctx context.Context, db *sql.DB, work func(context.Context, *sql.Tx) error) error {
	err := mysqltx.Run(ctx, db, work, mysqltx.WithRetryIf(mysqltx.IsDuplicateKey), mysqltx.WithAttempts(3))
	return err
}

const createUsers = "CREATE TABLE users (id INT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(80) UNIQUE, name VARCHAR(80)) ENGINE=InnoDB"

const (
	getAnn    = "SELECT id FROM users WHERE email = 'ann'"
	insertAnn = "INSERT INTO users (email) VALUES ('ann')"
)

// The story of docs/django.md, as Django's statements tell it.
func TestDjangoIntegrityErrorThenDoesNotExist(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		for driver, seen := range map[string]bool{"mysql": false, "mysqlinit": true} {
			db := pool(t, driver, s.DSN(testserver.App, ""))
			testserver.Exec(t, db, "DROP TABLE IF EXISTS users", createUsers)
			get := func(q querier) bool {
				t.Helper()
				err := q.QueryRow(getAnn).Scan(new(int))
				if err != nil && !errors.Is(err, sql.ErrNoRows) {
					t.Fatal(err)
				}
				return err == nil
			}
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if get(tx) {
				t.Error("the row is there already")
			}
			testserver.Exec(t, db, insertAnn) // the other request
			testserver.Exec(t, tx, "SAVEPOINT s")
			_, err = tx.Exec(insertAnn)
			wantNumber(t, driver, err, 1062)
			testserver.Exec(t, tx, "ROLLBACK TO SAVEPOINT s")
			if got := get(tx); got != seen {
				t.Errorf("%s: after 1062 the row is seen: %v, want %v", driver, got, seen)
			}
			if err := tx.Rollback(); err != nil {
				t.Error(err)
			}
			if !get(db) {
				t.Error("the next transaction does not see the row")
			}
		}
	})
}

// The cheapest cure works with the plain driver.
func TestCureCallAgain(t *testing.T) {
	onBoth(t, logsStatements, func(t *testing.T, s *testserver.Server) {
		db := pool(t, "mysql", s.DSN(testserver.App, ""))
		testserver.Exec(t, db, createUsers)
		calls := 0
		var id int
		err := callAgain(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
			calls++
			err := tx.QueryRowContext(ctx, getAnn).Scan(&id)
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			testserver.Exec(t, db, insertAnn) // the other request
			_, err = tx.ExecContext(ctx, insertAnn)
			return err
		})
		if err != nil || calls != 2 || id == 0 {
			t.Errorf("%d calls, id %d, %v; want 2 calls and the row", calls, id, err)
		}
	})
}

// Each of the four cures, on a server that logs statements, without its half about
// binlog_format and with it.
func TestCuresNeedTheBinlogFormat(t *testing.T) {
	onBoth(t, logsStatements, func(t *testing.T, s *testserver.Server) {
		const (
			level  = "TRANSACTION ISOLATION LEVEL READ COMMITTED"
			format = "binlog_format = ROW"
		)
		admin := pool(t, "mysql", s.DSN(testserver.Root, ""))
		testserver.Exec(t, admin, createUsers)
		wantInsert := func(what string, db *sql.DB, number uint16, sets ...string) {
			t.Helper()
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			testserver.Exec(t, conn, sets...)
			_, err = conn.ExecContext(t.Context(), "INSERT INTO users () VALUES ()")
			if number != 0 {
				wantNumber(t, what, err, number)
			} else if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		app := pool(t, "mysql", s.DSN(testserver.App, ""))
		wantInsert("no cure", app, 0)
		wantInsert("1, the session's level alone", app, 1665, "SET SESSION "+level)
		_, err := app.Exec("SET SESSION " + format)
		wantNumber(t, "1, the format, as an ordinary account", err, 1227)
		wantInsert("1, both", admin, 0, "SET SESSION "+level, "SET SESSION "+format)

		_, err = pool(t, "mysqlinit", s.DSN(testserver.App, "")).Exec("INSERT INTO users () VALUES ()")
		if _, ok := errors.AsType[*mysqlinit.InitError](err); !ok {
			t.Errorf("3, as an ordinary account: got %v, want an InitError", err)
		}
		wantInsert("3", pool(t, "mysqlinit", s.DSN(testserver.Root, "")), 0)

		_, _, err = mysqltx.GetOrCreate(t.Context(), pool(t, "mysql", s.DSN(testserver.App, "")),
			func(ctx context.Context, q mysqltx.Querier, lock string) (id int, err error) {
				err = q.QueryRowContext(ctx, getAnn+lock).Scan(&id)
				return id, err
			},
			func(ctx context.Context, q mysqltx.Querier) (int, error) {
				_, err := q.ExecContext(ctx, insertAnn)
				return 0, err
			}, mysqltx.WithLastRead(false))
		if err != nil {
			t.Errorf("4: %v", err)
		}
	})
}

// A global level holds for new connections only, and needs its half about binlog_format.
func TestCureSetGlobal(t *testing.T) {
	onBothFresh(t, testserver.Config{Binlog: "STATEMENT"}, func(t *testing.T, s *testserver.Server) {
		admin := pool(t, "mysql", s.DSN(testserver.Root, ""))
		before := pool(t, "mysql", s.DSN(testserver.App, ""))
		const insert = "INSERT INTO users () VALUES ()"
		testserver.Exec(t, before, createUsers, insert)
		testserver.Exec(t, admin, "SET GLOBAL TRANSACTION ISOLATION LEVEL READ COMMITTED")
		testserver.Exec(t, before, insert)
		_, err := pool(t, "mysql", s.DSN(testserver.App, "")).Exec(insert)
		wantNumber(t, "the level alone", err, 1665)
		testserver.Exec(t, admin, "SET GLOBAL binlog_format = ROW")
		after := pool(t, "mysql", s.DSN(testserver.App, ""))
		testserver.Exec(t, after, insert)
		wantValue(t, after, "SELECT @@SESSION."+isolationVariable(s), "READ-COMMITTED")
	})
}

// With clientFoundRows=true an UPDATE counts the rows that it found, changed or not.
func TestFoundRows(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		testserver.Exec(t, pool(t, "mysql", s.DSN(testserver.App, "")), createUsers, "INSERT INTO users (email, name) VALUES ('ann', 'Ann')")
		for params, want := range map[string][]int64{
			"": {0, 0}, "clientFoundRows=true": {1, 1},
		} {
			db := pool(t, "mysqlinit", s.DSN(testserver.App, params))
			for i, statement := range []string{
				"UPDATE users SET name = 'Ann' WHERE email = 'ann'",
				"INSERT INTO users (email) VALUES ('ann') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)",
			} {
				if got := affected(t, db, statement); got != want[i] {
					t.Errorf("%q: %s: %d rows affected, want %d", params, statement, got, want[i])
				}
			}
			if got := affected(t, db, fmt.Sprintf("INSERT INTO users (email) VALUES ('%s') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)", "new"+params)); got != 1 {
				t.Errorf("%q: a new row: %d rows affected, want 1", params, got)
			}
		}
	})
}

func affected(t *testing.T, db *sql.DB, statement string) int64 {
	t.Helper()
	result, err := db.Exec(statement)
	if err != nil {
		t.Fatal(statement+":", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDjangoUpdateOrCreate(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		db := pool(t, "mysqlinit", s.DSN(testserver.App, "guard=true"))
		testserver.Exec(t, db, createUsers)
		var all sync.WaitGroup
		var lock sync.Mutex
		creators := 0
		for i := range 8 {
			all.Go(func() {
				created, err := updateOrCreate(t.Context(), db, "ann", fmt.Sprint("name ", i))
				if err != nil {
					t.Error(err)
				}
				lock.Lock()
				defer lock.Unlock()
				if created {
					creators++
				}
			})
		}
		all.Wait()
		if created, err := updateOrCreate(t.Context(), db, "ann", "the last"); err != nil || created || creators != 1 {
			t.Errorf("%d creators, then created %v, %v; want 1, and an update", creators, created, err)
		}
		wantValue(t, db, "SELECT CONCAT(COUNT(*), ' ', MAX(name)) FROM users", "1 the last")
	})
}

func TestDjangoAtomicRequests(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	db := pool(t, "mysqlinit", s.DSN(testserver.App, "guard=true"))
	testserver.Exec(t, db, createUsers)
	var end error // of the next call of the view
	handler := atomic(db, func(ctx context.Context, tx *sql.Tx, form struct{ Email string }) (any, error) {
		_, err := tx.ExecContext(ctx, "INSERT INTO users (email) VALUES (?)", form.Email)
		failed := end
		end = nil
		return form.Email, errors.Join(err, failed)
	})
	for _, test := range []struct {
		name   string
		err    error
		status int
	}{
		{"committed", nil, http.StatusOK},
		{"failed", errors.New("no"), http.StatusInternalServerError},
		{"again", &mysql.MySQLError{Number: 1213}, http.StatusOK}, // a deadlock: the view runs again
	} {
		end = test.err
		response := httptest.NewRecorder()
		handler(response, httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(`{"Email": "`+test.name+`"}`)))
		if response.Code != test.status {
			t.Errorf("%s: status %d, want %d", test.name, response.Code, test.status)
		}
	}
	wantValue(t, db, "SELECT GROUP_CONCAT(email ORDER BY email) FROM users", "again,committed")
}

// Outside a transaction a FOR UPDATE locks nothing that lasts.
func TestDjangoSelectForUpdate(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		db := pool(t, "mysqlinit", s.DSN(testserver.App, ""))
		testserver.Exec(t, db, createUsers, insertAnn)
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		for _, q := range []querier{db, tx} {
			value(t, q, getAnn+" FOR UPDATE")
			err := db.QueryRow(getAnn + " FOR UPDATE NOWAIT").Scan(new(int))
			switch {
			case q == db && err != nil:
				t.Errorf("the lock has outlived its statement: %v", err)
			case q == tx:
				wantNumber(t, "NOWAIT", err, map[bool]uint16{true: 3572, false: 1205}[s.MySQL])
			}
		}
	})
}
