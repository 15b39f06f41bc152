package conformance

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"

	"github.com/mysqlinit/mysqlinit/mysqltx"
)

const (
	keys      = 100
	keyRacers = 4
)

// way is one of the things that GetOrCreate runs on: a pool, a connection, a transaction.
type way struct {
	name string
	call func(ctx context.Context, db *sql.DB, table, key string) (created bool, err error)
}

var ways = []way{
	{"DB", func(ctx context.Context, db *sql.DB, table, key string) (bool, error) {
		return getOrCreateName(ctx, db, table, key)
	}},
	{"Conn", func(ctx context.Context, db *sql.DB, table, key string) (bool, error) {
		conn, err := db.Conn(ctx)
		if err != nil {
			return false, err
		}
		defer func() { _ = conn.Close() }()
		return getOrCreateName(ctx, conn, table, key)
	}},
	{"Run", func(ctx context.Context, db *sql.DB, table, key string) (created bool, err error) {
		err = mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
			created, err = getOrCreateName(ctx, tx, table, key)
			return err
		})
		return created, err
	}},
}

func getOrCreateName(ctx context.Context, q mysqltx.Querier, table, key string) (created bool, err error) {
	_, created, err = mysqltx.GetOrCreate(ctx, q, getName(table, key), insertName(table, key))
	return created, err
}

// raceForKeys has keyRacers callers get or create the row of each key, with keysAtOnce keys
// at a time. The callers take turns at the pools. No call is allowed to fail, and each row
// must have exactly one creator.
func raceForKeys(t *testing.T, w way, table string, keysAtOnce int, dbs ...*sql.DB) {
	var sum tally
	next := make(chan int)
	var all sync.WaitGroup
	for range keysAtOnce {
		all.Go(func() {
			for key := range next {
				var racing sync.WaitGroup
				for racer := range keyRacers {
					racing.Go(func() {
						created, err := w.call(t.Context(), dbs[racer%len(dbs)], table, fmt.Sprintf("%s-%d", w.name, key))
						sum.add(created, err)
					})
				}
				racing.Wait()
			}
		})
	}
	for key := range keys {
		next <- key
	}
	close(next)
	all.Wait()
	if sum.ok != keys*keyRacers || sum.created != keys {
		t.Errorf("%s: %s", w.name, &sum)
	}
	await(t, dbs[0], fmt.Sprintf("COUNT(*) FROM %s WHERE name LIKE '%s-%%'", table, w.name), fmt.Sprint(keys))
}

func (s *suite) getOrCreate(t *testing.T) string {
	return s.getOrCreateAt(t, "read-committed")
}

func (s *suite) getOrCreateRepeatableRead(t *testing.T) string {
	return s.getOrCreateAt(t, "repeatable-read")
}

func (s *suite) getOrCreateAt(t *testing.T, level string) string {
	db := open(t, s.Root, "isolation="+level)
	name := table(t, db, "getorcreate", raceColumns)
	for _, w := range ways {
		raceForKeys(t, w, name, 8, db)
	}
	return "none lost"
}
