//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/ngrok/sqlmw"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

const (
	keys    = 10
	callers = 24 // each of them asks for each key
)

// row is a row of the table users.
type row struct {
	id          uint64
	email, name string
	created     time.Time
}

func newRow(id uint64, email, name string, created time.Time) row {
	return row{id: id, email: email, name: name, created: created.UTC().Round(time.Millisecond)} // the column's precision
}

// getOrCreate is a recipe. It gets the row with an email, or creates it with a name.
type getOrCreate func(ctx context.Context, email, name string) (row, error)

// contend has many callers get or create the same rows at once, on a pool of prepared
// sessions. For each row at least two of them find nothing and insert. contend checks that
// those calls that succeed return the same row, and returns the errors of the others.
// params are more parameters of the DSN.
func (s *server) contend(t *testing.T, database, params string, open func(t *testing.T, pool *sql.DB) getOrCreate) (failures []error) {
	t.Helper()
	meeting := &meeting{waiting: map[string]chan struct{}{}}
	pool, err := mysqlinit.Open(s.dsn(database)+"?parseTime=true"+params, mysqlinit.WithInterceptor(meeting))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	pool.SetMaxIdleConns(callers)
	call := open(t, pool)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		found = map[string]row{}
	)
	for range callers {
		all.Go(func() {
			for key := range keys {
				email := fmt.Sprintf("user%d@example.com", key)
				got, err := call(ctx, email, "new")
				mu.Lock()
				first, ok := found[email]
				switch {
				case err != nil:
					failures = append(failures, err)
				case ok && got != first:
					t.Errorf("a call got %+v, another one %+v", got, first)
				case got.id == 0 || got.email != email || got.name != "new" || got.created.IsZero():
					t.Errorf("%s: got %+v", email, got)
				default:
					found[email] = got
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	s.want(t, "SELECT CONCAT(COUNT(*), ' rows, ', COUNT(DISTINCT email), ' emails') FROM "+database+".users WHERE deleted_at IS NULL",
		fmt.Sprintf("%d rows, %[1]d emails", keys))
	if meeting.duplicates < keys/2 { // the other half can have been restored
		t.Errorf("only %d inserts met a duplicate key: the callers did not collide", meeting.duplicates)
	}
	return failures
}

// recipe is a library's way to use mysqltx.
type recipe struct {
	getOrCreate func(ctx context.Context, q mysqltx.Querier, email, name string) (row, error)
	rename      func(ctx context.Context, tx *sql.Tx, id uint64, name string) error // some other statement
	// transact runs fn in a transaction that the library begins; nil: it has none that is a
	// Querier, and an *sql.Tx is used.
	transact func(ctx context.Context, fn func(q mysqltx.Querier) error) error
}

// use calls a recipe.
type use func(ctx context.Context, q mysqltx.Querier) error

// ways are the places where a program calls a recipe.
var ways = []struct {
	name, params string
	way          func(ctx context.Context, r recipe, pool *sql.DB, call use) error
}{
	{"pool", "", func(ctx context.Context, _ recipe, pool *sql.DB, call use) error {
		return call(ctx, pool)
	}},
	{"own transaction", "", func(ctx context.Context, r recipe, pool *sql.DB, call use) error {
		if r.transact != nil {
			return r.transact(ctx, func(q mysqltx.Querier) error { return call(ctx, q) })
		}
		tx, err := pool.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		return end(tx, call(ctx, tx))
	}},
	// Only a locking read sees the row then. There are deadlocks too.
	{"Run at REPEATABLE READ", "&isolation=repeatable-read", func(ctx context.Context, _ recipe, pool *sql.DB, call use) error {
		return mysqltx.Run(ctx, pool, func(ctx context.Context, tx *sql.Tx) error { return call(ctx, tx) })
	}},
	{"pool in Run", "", func(ctx context.Context, _ recipe, pool *sql.DB, call use) error {
		return mysqltx.Run(ctx, pool, func(ctx context.Context, _ *sql.Tx) error { return call(ctx, pool) })
	}},
}

func testGetOrCreate(t *testing.T, open func(t *testing.T, pool *sql.DB) recipe) {
	for _, s := range servers {
		for _, w := range ways {
			t.Run("GetOrCreate/"+s.name+"/"+w.name, func(t *testing.T) {
				failures := s.contend(t, s.database(t), w.params, func(t *testing.T, pool *sql.DB) getOrCreate {
					r := open(t, pool)
					return func(ctx context.Context, email, name string) (found row, err error) {
						err = w.way(ctx, r, pool, func(ctx context.Context, q mysqltx.Querier) error {
							found, err = r.getOrCreate(ctx, q, email, name)
							return err
						})
						return found, err
					}
				})
				wantNoFailure(t, failures)
			})
		}
		t.Run("GetOrCreate/"+s.name+"/undone", func(t *testing.T) { s.undone(t, open) })
	}
}

func wantNoFailure(t *testing.T, failures []error) {
	t.Helper()
	if len(failures) > 0 {
		t.Errorf("%d of %d calls failed, the first with: %v", len(failures), callers*keys, failures[0])
	}
}

// end ends a transaction after err.
func end(tx interface {
	Commit() error
	Rollback() error
}, err error) error {
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// undone fails in Run after a get-or-create and another statement.
func (s *server) undone(t *testing.T, open func(t *testing.T, pool *sql.DB) recipe) {
	database := s.database(t)
	pool, err := mysqlinit.Open(s.dsn(database) + "?parseTime=true&innodb_lock_wait_timeout=5")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	r := open(t, pool)
	for _, fail := range []error{errors.New("fail"), nil} {
		err := mysqltx.Run(t.Context(), pool, func(ctx context.Context, tx *sql.Tx) error {
			ann, err := r.getOrCreate(ctx, tx, "ann@example.com", "ann")
			if err != nil {
				return err
			}
			if err := r.rename(ctx, tx, ann.id, "renamed"); err != nil {
				return err
			}
			return fail
		})
		if err != fail {
			t.Errorf("Run returned %v, want %v", err, fail)
		}
		want := "renamed"
		if fail != nil {
			want = ""
		}
		s.want(t, "SELECT COALESCE(GROUP_CONCAT(name), '') FROM "+database+".users", want)
	}
}

// meeting has the first INSERT of each email wait for a second, whose session has not found
// the row either.
type meeting struct {
	sqlmw.NullInterceptor

	mu         sync.Mutex
	waiting    map[string]chan struct{} // by the email; closed when the second one comes
	duplicates int
}

var insertsUser = regexp.MustCompile(`(?s)\bINSERT INTO .?users\b.*?(user\d+@example\.com)`)

// meet waits before an INSERT.
func (m *meeting) meet(ctx context.Context, query string, args []driver.NamedValue) {
	email := insertsUser.FindStringSubmatch(fmt.Sprint(query, args))
	if email == nil {
		return
	}
	m.mu.Lock()
	second, ok := m.waiting[email[1]]
	switch {
	case !ok:
		second = make(chan struct{})
		m.waiting[email[1]] = second
	case second != nil:
		close(second)
		m.waiting[email[1]], second = nil, nil
	}
	m.mu.Unlock()
	if second != nil {
		select {
		case <-second:
		case <-ctx.Done():
		}
	}
}

// count counts the INSERTs that come too late.
func (m *meeting) count(err error) error {
	if number(err) == errDuplicateEntry {
		m.mu.Lock()
		m.duplicates++
		m.mu.Unlock()
	}
	return err
}

func (m *meeting) ConnExecContext(ctx context.Context, conn driver.ExecerContext, query string, args []driver.NamedValue) (driver.Result, error) {
	m.meet(ctx, query, args)
	result, err := conn.ExecContext(ctx, query, args)
	return result, m.count(err)
}

func (m *meeting) StmtExecContext(ctx context.Context, stmt driver.StmtExecContext, query string, args []driver.NamedValue) (driver.Result, error) {
	m.meet(ctx, query, args)
	result, err := stmt.ExecContext(ctx, args)
	return result, m.count(err)
}

// GORM and bun send INSERT … RETURNING to MariaDB, which answers with columns before it
// inserts.

func (m *meeting) ConnQueryContext(ctx context.Context, conn driver.QueryerContext, query string, args []driver.NamedValue) (context.Context, driver.Rows, error) {
	m.meet(ctx, query, args)
	rows, err := conn.QueryContext(ctx, query, args)
	return ctx, rows, m.count(err)
}

func (m *meeting) StmtQueryContext(ctx context.Context, stmt driver.StmtQueryContext, query string, args []driver.NamedValue) (context.Context, driver.Rows, error) {
	m.meet(ctx, query, args)
	rows, err := stmt.QueryContext(ctx, args)
	return ctx, rows, m.count(err)
}

func (m *meeting) RowsNext(_ context.Context, rows driver.Rows, values []driver.Value) error {
	return m.count(rows.Next(values))
}
