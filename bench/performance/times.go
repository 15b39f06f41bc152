package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/mysqlinit/mysqlinit/bench/internal/stats"
	"github.com/mysqlinit/mysqlinit/bench/internal/wire"
)

// latencies are the network's delays, each way. The first is measured without a proxy.
var latencies = []struct {
	name  string
	proxy bool
	delay time.Duration
}{
	{loopback, false, 0},
	{"proxy", true, 0},
	{slowNetwork, true, time.Millisecond},
	{slowestNetwork, true, 10 * time.Millisecond},
}

// slowFewer is by how much fewer samples there are on the slowest network.
const slowFewer = 4

// operation is something to time on a pool of one connection.
type operation struct {
	name       string
	contenders []contender
	prepare    func(ctx context.Context, db *sql.DB) (run func() error, err error) // run is what is timed
}

var operations = []operation{
	// The others are mysqlinit with options whose cost shows in the round trips.
	{newConnection, connecting[:8], connectAndClose},
	{endlessContext, named(connecting, plain, variables, twoSets, ours, untimed), func(_ context.Context, db *sql.DB) (func() error, error) {
		return connectAndClose(context.Background(), db) // as database/sql's own opener does
	}},
	{queryRowName, querying, onPool(queryRow)},
	{queryRowName + inTx, transacting, inTransaction(queryRow)},
	{preparedName, querying, onPool(preparedExec)},
	{preparedName + inTx, transacting, inTransaction(preparedExec)},
	{rowsName, querying, onPool(thousandRows)},
	{rowsName + inTx, transacting, inTransaction(thousandRows)},
}

// querier is a pool or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// onPool runs an operation on the pool itself.
func onPool(prepare func(ctx context.Context, q querier) (func() error, error)) func(context.Context, *sql.DB) (func() error, error) {
	return func(ctx context.Context, db *sql.DB) (func() error, error) { return prepare(ctx, db) }
}

// inTransaction runs an operation in one transaction, which ends with the connection.
func inTransaction(prepare func(ctx context.Context, q querier) (func() error, error)) func(context.Context, *sql.DB) (func() error, error) {
	return func(ctx context.Context, db *sql.DB) (func() error, error) {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return nil, err
		}
		return prepare(ctx, tx)
	}
}

func queryRow(ctx context.Context, q querier) (func() error, error) {
	return func() error { return q.QueryRowContext(ctx, "SELECT 1").Scan(new(int)) }, nil
}

func preparedExec(ctx context.Context, q querier) (func() error, error) {
	stmt, err := q.PrepareContext(ctx, "DO ?")
	if err != nil {
		return nil, err
	}
	return func() error {
		_, err := stmt.ExecContext(ctx, 1)
		return err
	}, nil
}

func thousandRows(ctx context.Context, q querier) (func() error, error) {
	return func() error {
		rows, err := q.QueryContext(ctx, "SELECT id, name FROM bench_rows")
		if err != nil {
			return err
		}
		n := 0
		for rows.Next() {
			var id int
			var name string
			if err := rows.Scan(&id, &name); err != nil {
				return err
			}
			n++
		}
		if n != 1000 {
			return fmt.Errorf("%d rows", n)
		}
		return rows.Close()
	}, nil
}

func connectAndClose(ctx context.Context, db *sql.DB) (func() error, error) {
	db.SetMaxIdleConns(0)
	return func() error {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		return conn.Close()
	}, nil
}

// timing holds the measurements of an operation at one latency.
type timing struct {
	Operation, Latency string
	stats.Paired                 // seconds
	Allocations        []float64 // per call, by contender; measured only without a proxy
}

// allocationsOf returns the allocations of a contender's call.
func (t timing) allocationsOf(name string) float64 { return t.Allocations[slices.Index(t.Names, name)] }

func timeAll(ctx context.Context, s server, e effort) (timings []timing, err error) {
	for _, latency := range latencies {
		measured := s
		if latency.proxy {
			proxy, err := wire.New(s.addr, latency.delay)
			if err != nil {
				return nil, err
			}
			defer func() { _ = proxy.Close() }()
			measured.addr = proxy.Addr
		}
		// On a slow network few samples do, since nearly all of the time is the network's.
		samples, calls := e.Samples, e.Calls
		switch {
		case latency.delay >= 10*time.Millisecond:
			samples, calls = samples/slowFewer, 1
		case latency.delay > 0:
			calls = max(1, calls/5)
		}
		for _, op := range operations {
			t, err := timeOne(ctx, measured, op, samples, calls, !latency.proxy)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", op.name, latency.name, err)
			}
			t.Latency = latency.name
			timings = append(timings, t)
		}
	}
	return timings, nil
}

// timeOne measures all contenders in turns. Each sample uses a new connection, because
// the core that serves a connection affects all of its calls.
func timeOne(ctx context.Context, s server, op operation, samples, calls int, allocations bool) (t timing, err error) {
	t.Operation, t.Paired = op.name, stats.NewPaired(namesOf(op.contenders)...)
	for n := range samples {
		if err := t.sample(ctx, s, op, calls, allocations && n == samples-1); err != nil {
			return t, err
		}
	}
	return t, nil
}

// sample adds one sample for each contender: the median of some calls on a new
// connection. The contenders take turns, in random order.
func (t *timing) sample(ctx context.Context, s server, op operation, calls int, allocations bool) error {
	ctx, end := context.WithCancel(ctx)
	defer end() // ends the transactions of operations, so that their connections close
	runs := make([]func() error, len(op.contenders))
	for i, c := range op.contenders {
		db, err := c.open(s)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		defer func() { _ = db.Close() }()
		db.SetMaxOpenConns(1)
		if runs[i], err = op.prepare(ctx, db); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := runs[i](); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	seconds := make([][]float64, len(runs))
	for range calls {
		for _, i := range rand.Perm(len(runs)) { // because the call before affects the time
			start := time.Now()
			if err := runs[i](); err != nil {
				return err
			}
			seconds[i] = append(seconds[i], time.Since(start).Seconds())
		}
	}
	for i := range runs {
		slices.Sort(seconds[i])
		t.Samples[i] = append(t.Samples[i], seconds[i][calls/2])
	}
	if !allocations {
		return nil
	}
	for _, run := range runs {
		n, err := countAllocations(run)
		if err != nil {
			return err
		}
		t.Allocations = append(t.Allocations, n)
	}
	return nil
}

// countAllocations returns the allocations of one call. It is the median of several
// measurements, because goroutines that are ending can add some.
func countAllocations(run func() error) (float64, error) {
	var counts []float64
	for range 7 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const calls = 20
		for range calls {
			if err := run(); err != nil {
				return 0, err
			}
		}
		runtime.ReadMemStats(&after)
		counts = append(counts, float64(after.Mallocs-before.Mallocs)/calls)
	}
	slices.Sort(counts)
	return counts[len(counts)/2], nil
}
