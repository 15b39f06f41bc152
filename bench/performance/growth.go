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

// grown is how contenders grow: by size and contender.
type grown struct {
	names  []string
	sizes  []int
	values [][]estimate
}

// storm opens as many connections at once, and returns the seconds until all are
// ready, and the client's memory for each.
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
	runtime.GC() // what a sync.Pool holds outlives one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// growStorms measures storms of the ways to a prepared connection, in turns.
func growStorms(ctx context.Context, s server, rounds int) (seconds, kilobytes grown, err error) {
	contenders := []contender{connecting[0], connecting[1], connecting[2], connecting[6]}
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

// growWorkers measures queries a second with ever more workers, in turns.
func growWorkers(ctx context.Context, s server, rounds, queries int) (rates grown, err error) {
	for _, c := range querying[:3] {
		rates.names = append(rates.names, c.name)
	}
	rates.sizes = workerSizes
	for _, workers := range workerSizes {
		values := make([][]float64, len(rates.names))
		for range rounds {
			for i, c := range querying[:3] {
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
