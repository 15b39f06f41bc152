package faults

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-sql-driver/mysql"
)

// disturbances are what happens to the pools of a world. One with twice the weight of
// another happens twice as often.
var disturbances = []struct {
	name   string
	weight int
	do     func(ctx context.Context, w *world, random *rand.Rand) error
}{
	{"KILL CONNECTION", 30, func(ctx context.Context, w *world, random *rand.Rand) error { return w.kill(ctx, random, "CONNECTION") }},
	{"KILL QUERY", 30, func(ctx context.Context, w *world, random *rand.Rand) error { return w.kill(ctx, random, "QUERY") }},
	{"resize", 20, func(_ context.Context, w *world, random *rand.Rand) error {
		db := w.pools[random.IntN(len(w.pools))].db
		db.SetMaxOpenConns(1 + random.IntN(visitors))
		db.SetMaxIdleConns(random.IntN(visitors))
		db.SetConnMaxLifetime(time.Duration(random.IntN(200)) * time.Millisecond)
		return nil
	}},
	{"failover", 8, func(_ context.Context, w *world, random *rand.Rand) error {
		w.To(w.servers[random.IntN(len(w.servers))].Addr)
		return nil
	}},
	{"other defaults", 20, func(ctx context.Context, w *world, random *rand.Rand) error {
		levels, formats := []string{"REPEATABLE READ", "SERIALIZABLE", "READ UNCOMMITTED"}, []string{"MIXED", "STATEMENT"}
		return w.setDefaults(ctx, w.admins[random.IntN(len(w.admins))], levels[random.IntN(len(levels))], formats[random.IntN(len(formats))])
	}},
	{"cut", 4, func(_ context.Context, w *world, _ *rand.Rand) error { w.CutAll(); return nil }},
	{"server killed", 1, func(ctx context.Context, w *world, random *rand.Rand) error {
		return w.servers[random.IntN(len(w.servers))].Restart(context.WithoutCancel(ctx))
	}},
}

// disturb causes each disturbance once, and then random ones until ctx ends. When it
// returns, all servers are up.
func (w *world) disturb(ctx context.Context, random *rand.Rand) {
	next := random.Perm(len(disturbances))
	var weighted []int // each index, repeated by its disturbance's weight
	for i, d := range disturbances {
		weighted = append(weighted, slices.Repeat([]int{i}, d.weight)...)
	}
	for ctx.Err() == nil {
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		if len(next) == 0 {
			w.allHappened.Store(true)
			next = append(next, weighted[random.IntN(len(weighted))])
		}
		d := disturbances[next[0]]
		next = next[1:]
		if err := d.do(ctx, w, random); err != nil && ctx.Err() == nil && !w.revive() {
			w.Errorf("%s: %v", d.name, err)
		}
		w.did[d.name]++
	}
}

// revive restarts servers that have crashed by themselves, as some do after thousands of
// KILLs. It waits until one has, and reports whether one had.
func (w *world) revive() (crashed bool) {
	for range 200 {
		for _, s := range w.servers {
			select {
			case <-s.Ended():
				crashed = true
				w.did["server crashed"]++
				if err := s.Restart(context.WithoutCancel(w.Context())); err != nil {
					w.Error(err)
				}
			default:
			}
		}
		if crashed {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// setDefaults changes the isolation level and binlog format with which sessions begin.
// While the format is STATEMENT, an account that is not allowed to change it gets no
// connection.
func (w *world) setDefaults(ctx context.Context, admin *sql.DB, level, format string) error {
	_, err := admin.ExecContext(ctx, "SET GLOBAL TRANSACTION ISOLATION LEVEL "+level)
	if err == nil {
		_, err = admin.ExecContext(ctx, "SET GLOBAL binlog_format = '"+format+"'")
	}
	return err
}

// kill runs KILL, with what CONNECTION or QUERY, on a random thread of a random server.
func (w *world) kill(ctx context.Context, random *rand.Rand, what string) error {
	admin := w.admins[random.IntN(len(w.admins))]
	var id string
	err := admin.QueryRowContext(ctx, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER LIKE 'faulty%' ORDER BY RAND() LIMIT 1").Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = admin.ExecContext(ctx, "KILL "+what+" "+id)
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == 1094 { // no such thread: it has ended by itself
		return nil
	}
	return err
}
