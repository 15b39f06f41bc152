package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/mysqlinit/mysqlinit/bench/internal/stats"
)

var (
	stormSizes  = []int{1, 8, 64, 256, 512}
	workerSizes = []int{1, 4, 16, 64, 256}
)

// grown holds a measurement of contenders at growing sizes.
type grown struct {
	Sizes []int
	At    []stats.Paired // by size
}

func (g grown) names() []string { return g.At[0].Names }

// storm opens size connections at once. It returns the seconds until all are ready, and
// the client's memory for each.
func storm(ctx context.Context, s server, c contender, size int) (seconds, bytes float64, err error) {
	db, err := c.open(s)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = db.Close() }()
	before := memory()
	conns, errs := make([]*sql.Conn, size), make([]error, size)
	var all sync.WaitGroup
	start := time.Now()
	for i := range size {
		all.Go(func() { conns[i], errs[i] = db.Conn(ctx) })
	}
	all.Wait()
	seconds = time.Since(start).Seconds()
	bytes = float64(memory()-before) / float64(size)
	for i := range conns {
		if errs[i] != nil {
			return 0, 0, errs[i]
		}
		defer func() { _ = conns[i].Close() }()
	}
	return seconds, bytes, nil
}

func memory() int64 {
	runtime.GC()
	runtime.GC() // a sync.Pool keeps its contents through the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// growStorms measures storms of connections. The contenders take turns, in random order.
func growStorms(ctx context.Context, s server, rounds int) (seconds, kilobytes grown, err error) {
	contenders := named(connecting, plain, variables, twoSets, ours)
	seconds.Sizes, kilobytes.Sizes = stormSizes, stormSizes
	for _, size := range stormSizes {
		times, sizes := stats.NewPaired(namesOf(contenders)...), stats.NewPaired(namesOf(contenders)...)
		for range rounds {
			for _, i := range rand.Perm(len(contenders)) {
				c := contenders[i]
				took, bytes, err := storm(ctx, s, c, size)
				if err != nil {
					return seconds, kilobytes, fmt.Errorf("%s, %d connections: %w", c.name, size, err)
				}
				times.Samples[i], sizes.Samples[i] = append(times.Samples[i], took), append(sizes.Samples[i], bytes/1024)
			}
		}
		seconds.At, kilobytes.At = append(seconds.At, times), append(kilobytes.At, sizes)
	}
	return seconds, kilobytes, nil
}

// growWorkers measures queries per second with more and more workers. The contenders take
// turns, in random order.
func growWorkers(ctx context.Context, s server, rounds, queries int) (rates grown, err error) {
	contenders := named(querying, plain, ours, withGuard)
	rates.Sizes = workerSizes
	for _, workers := range workerSizes {
		values := stats.NewPaired(namesOf(contenders)...)
		for range rounds {
			for _, i := range rand.Perm(len(contenders)) {
				c := contenders[i]
				rate, err := queryRate(ctx, s, c, workers, queries)
				if err != nil {
					return rates, fmt.Errorf("%s, %d workers: %w", c.name, workers, err)
				}
				values.Samples[i] = append(values.Samples[i], rate)
			}
		}
		rates.At = append(rates.At, values)
	}
	return rates, nil
}

// queryRate returns the queries per second that the workers reach together.
func queryRate(ctx context.Context, s server, c contender, workers, queries int) (float64, error) {
	db, err := c.open(s)
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(workers)
	db.SetMaxIdleConns(workers)
	work := func(n int) error {
		errs := make([]error, workers)
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for range n {
					if err := db.QueryRowContext(ctx, "SELECT 1").Scan(new(int)); err != nil {
						errs[w] = err
						return
					}
				}
			})
		}
		all.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := work(1); err != nil { // connects
		return 0, err
	}
	start := time.Now()
	each := max(1, queries/workers)
	if err := work(each); err != nil {
		return 0, err
	}
	return float64(each*workers) / time.Since(start).Seconds(), nil
}
