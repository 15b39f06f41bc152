package main

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"sync"
	"time"
)

var (
	stormSizes  = []int{1, 8, 64, 256, 512}
	workerSizes = []int{1, 4, 16, 64, 256}
)

// grown holds a measurement of contenders at growing sizes.
type grown struct {
	names  []string
	sizes  []int
	values [][]estimate // by size and contender
}

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

// growStorms measures storms of connections, with each contender in turn.
func growStorms(ctx context.Context, s server, rounds int) (seconds, kilobytes grown, err error) {
	contenders := named(connecting, plain, variables, twoSets, ours)
	for _, c := range contenders {
		seconds.names = append(seconds.names, c.name)
	}
	seconds.sizes = stormSizes
	kilobytes.names, kilobytes.sizes = seconds.names, stormSizes
	for _, size := range stormSizes {
		times, sizes := make([][]float64, len(contenders)), make([][]float64, len(contenders))
		for range rounds {
			for i, c := range contenders {
				took, bytes, err := storm(ctx, s, c, size)
				if err != nil {
					return seconds, kilobytes, fmt.Errorf("%s, %d connections: %w", c.name, size, err)
				}
				times[i], sizes[i] = append(times[i], took), append(sizes[i], bytes/1024)
			}
		}
		seconds.values = append(seconds.values, estimates(times))
		kilobytes.values = append(kilobytes.values, estimates(sizes))
	}
	return seconds, kilobytes, nil
}

// growWorkers measures queries per second with more and more workers, with each
// contender in turn.
func growWorkers(ctx context.Context, s server, rounds, queries int) (rates grown, err error) {
	contenders := named(querying, plain, ours, withGuard)
	for _, c := range contenders {
		rates.names = append(rates.names, c.name)
	}
	rates.sizes = workerSizes
	for _, workers := range workerSizes {
		values := make([][]float64, len(rates.names))
		for range rounds {
			for i, c := range contenders {
				rate, err := queryRate(ctx, s, c, workers, queries)
				if err != nil {
					return rates, fmt.Errorf("%s, %d workers: %w", c.name, workers, err)
				}
				values[i] = append(values[i], rate)
			}
		}
		rates.values = append(rates.values, estimates(values))
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

func estimates(samples [][]float64) (all []estimate) {
	for _, s := range samples {
		all = append(all, estimateOf(s))
	}
	return all
}
