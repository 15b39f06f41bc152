//go:build matrix

package matrix

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/integration/servers"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// On Group Replication, a SAVEPOINT right after another member's conflicting change hides
// that the transaction was rolled back: COMMIT answers OK, and rows are missing on this
// member. Each acknowledged call must have all its rows on every member.

const (
	acknowledged = 1000 // calls, for each kind
	hotRows      = 24
	perMember    = 3 // workers
)

// groupCall is what a transaction does between its two rows in the journal.
var groupCalls = map[string]func(ctx context.Context, db *sql.DB, tx *sql.Tx, id string) error{
	"a SAVEPOINT of the user's": func(ctx context.Context, _ *sql.DB, tx *sql.Tx, _ string) error {
		_, err := tx.ExecContext(ctx, "SAVEPOINT own")
		return err
	},
	"a nested Run": func(ctx context.Context, db *sql.DB, _ *sql.Tx, id string) error {
		return mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error { return journal(ctx, tx, id, 1) })
	},
	"GetOrCreate": func(ctx context.Context, _ *sql.DB, tx *sql.Tx, id string) error {
		return getOrCreateHot(ctx, tx, id)
	},
}

// journal writes one of a call's rows.
func journal(ctx context.Context, q mysqltx.Querier, id string, part int) error {
	_, err := q.ExecContext(ctx, "INSERT INTO journal VALUES (?, ?)", id, part)
	return err
}

// getOrCreateHot gets or creates a row that a few calls ask for at the same time.
func getOrCreateHot(ctx context.Context, q mysqltx.Querier, id string) error {
	n, err := strconv.Atoi(id)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("name-%d", n/4)
	_, _, err = mysqltx.GetOrCreate(ctx, q,
		func(ctx context.Context, q mysqltx.Querier, lock string) (got string, err error) {
			err = q.QueryRowContext(ctx, "SELECT name FROM names WHERE name = ?"+lock, name).Scan(&got)
			return got, err
		},
		func(ctx context.Context, q mysqltx.Querier) (string, error) {
			_, err := q.ExecContext(ctx, "INSERT INTO names VALUES (?)", name)
			return name, err
		})
	return err
}

func TestGroupReplicationUnderLoad(t *testing.T) {
	d := servers.New(t, servers.GroupReplication)
	for name, between := range groupCalls {
		for _, params := range []string{"guard=true", "guard=false"} {
			t.Run(name+", "+params, func(t *testing.T) {
				var dbs []*sql.DB
				for _, node := range d.Nodes {
					db, err := mysqlinit.Open(node.DSN(testserver.Root, params))
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = db.Close() })
					db.SetMaxIdleConns(perMember)
					dbs = append(dbs, db)
				}
				testserver.Exec(t, dbs[0],
					"DROP TABLE IF EXISTS journal, hot, names",
					"CREATE TABLE journal (id INT, part INT, PRIMARY KEY (id, part))",
					"CREATE TABLE hot (id INT PRIMARY KEY, n INT NOT NULL)",
					"CREATE TABLE names (name VARCHAR(20) PRIMARY KEY)")
				for i := range hotRows {
					testserver.Exec(t, dbs[0], fmt.Sprintf("INSERT INTO hot VALUES (%d, 0)", i))
				}
				for _, db := range dbs {
					awaitCount(t, db, "hot", hotRows)
				}
				ok, retries := load(t, dbs, between)
				testserver.Exec(t, dbs[0], "INSERT INTO journal VALUES (-1, 0)", "INSERT INTO hot VALUES (-1, 0)")
				for _, db := range dbs {
					awaitCount(t, db, "journal WHERE id = -1", 1)
					time.Sleep(time.Second) // the other members' last ones
					missing := 0
					for _, id := range ok {
						var parts int
						if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM journal WHERE id = ? AND part IN (0, 2)", id).Scan(&parts); err != nil {
							t.Fatal(err)
						}
						if parts != 2 {
							missing++
						}
					}
					if missing > 0 {
						t.Errorf("a member lacks rows of %d of %d acknowledged calls", missing, len(ok))
					}
				}
				t.Logf("%d calls acknowledged, %d attempts run again", len(ok), retries)
				if retries == 0 {
					t.Error("there was no conflict")
				}
			})
		}
	}
}

// load runs calls on all members until enough are acknowledged, and returns their ids.
func load(t *testing.T, dbs []*sql.DB, between func(context.Context, *sql.DB, *sql.Tx, string) error) (ok []int, retries int) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var mu sync.Mutex
	next, failed := 0, 0
	var all sync.WaitGroup
	for worker := range perMember * len(dbs) {
		db := dbs[worker%len(dbs)]
		all.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				id := next
				next++
				enough := len(ok) >= acknowledged
				mu.Unlock()
				if enough {
					return
				}
				err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
					steps := []func() error{
						func() error { return journal(ctx, tx, strconv.Itoa(id), 0) },
						func() error {
							_, err := tx.ExecContext(ctx, "UPDATE hot SET n = n + 1 WHERE id = ?", rand.IntN(hotRows))
							return err
						},
						func() error { return between(ctx, db, tx, strconv.Itoa(id)) },
						func() error { return journal(ctx, tx, strconv.Itoa(id), 2) },
					}
					for _, step := range steps {
						if err := step(); err != nil {
							return err
						}
						time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // so that others' changes arrive between
					}
					return nil
				}, mysqltx.WithOnRetry(func(context.Context, mysqltx.Retry) {
					mu.Lock()
					defer mu.Unlock()
					retries++
				}))
				mu.Lock()
				if err == nil {
					ok = append(ok, id)
				} else if failed++; failed < 5 {
					t.Log(err)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(ok) < acknowledged {
		t.Errorf("only %d calls of %d were acknowledged", len(ok), acknowledged)
	}
	slices.Sort(ok)
	return ok, retries
}

func awaitCount(t *testing.T, db *sql.DB, what string, want int) {
	t.Helper()
	got := 0
	var err error
	for range 2000 {
		if err = db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+what).Scan(&got); err == nil && got == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d rows in %s, want %d; %v", got, what, want, err)
}
