// Command getorcreate compares ways to get or create a row, and to run a transaction: how
// many statements each way sends, and how fast it is. It prints Markdown or writes it into a document.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/bench/internal/stats"
	"github.com/mysqlinit/mysqlinit/internal/document"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// load describes which rows the workers ask for, and in which ways.
type load struct {
	name, what string
	methods    []method
	key        func(method, round, worker, i int) string // the row of a worker's i-th call
}

var loads = []load{
	{"there", "the row is there", getOrCreate, func(_, _, _, i int) string { return fmt.Sprintf("there-%d", i%100) }},
	{"cold", "each call asks for a row that is not there and that no other call asks for", getOrCreate, func(m, r, w, i int) string { return fmt.Sprintf("cold-%d-%d-%d-%d", m, r, w, i) }},
	{"hot", "all workers ask for the same rows in the same order; the rows are not there at first", getOrCreate, func(m, r, _, i int) string { return fmt.Sprintf("hot-%d-%d-%d", m, r, i) }},
	{"transaction", "each call inserts a row in its own transaction", transactions, func(m, r, w, i int) string { return fmt.Sprintf("tx-%d-%d-%d-%d", m, r, w, i) }},
}

// turns is how often methods are measured in turns, and how many calls a turn has.
type turns struct{ rounds, calls int }

// effort is how much is measured.
type effort struct{ tables, targets turns }

var workerCounts = []int{1, 4, 16, 64}

func main() {
	log.SetFlags(0)
	page := flag.String("update", "", "write the tables into this document, between its marks, instead of printing them")
	e := effort{
		tables:  turns{rounds: 7, calls: 640},
		targets: turns{rounds: 100, calls: 320}, // short ones, because a slow moment then affects both of a round
	}
	flag.IntVar(&e.tables.rounds, "rounds", e.tables.rounds, "how many times each way is measured for the tables, in turns")
	flag.IntVar(&e.targets.rounds, "pairs", e.targets.rounds, "how many times each way of a target is measured, in turns with what it is compared with")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var out strings.Builder
	for _, isMySQL := range []bool{false, true} {
		if err := measureServer(ctx, &out, isMySQL, e); err != nil {
			log.Fatal(err)
		}
	}
	if *page == "" {
		fmt.Print(out.String())
		return
	}
	if err := document.Replace(*page, beginMark, endMark, out.String()); err != nil {
		log.Fatal(err)
	}
}

func measureServer(ctx context.Context, out *strings.Builder, isMySQL bool, e effort) error {
	s, err := testserver.Start(ctx, testserver.Config{MySQL: isMySQL, Binlog: "ROW"})
	if err != nil {
		return err
	}
	defer func() { _ = s.Stop() }()
	var p pools
	for params, pool := range map[string]**sql.DB{"interpolateParams=true": &p.plain, "interpolateParams=true&guard=true": &p.guarded} {
		db, err := mysqlinit.Open(s.DSN(testserver.Root, params))
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		db.SetMaxIdleConns(slices.Max(workerCounts))
		*pool = db
	}
	db := p.plain
	b := bench{ctx: ctx, pools: p}
	if _, err := db.ExecContext(ctx, "CREATE TABLE bench (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(60) NOT NULL UNIQUE)"); err != nil {
		return err
	}
	for i := range 100 {
		if _, err := db.ExecContext(ctx, "INSERT INTO bench (name) VALUES (?)", fmt.Sprintf("there-%d", i)); err != nil {
			return err
		}
	}
	var version string
	if err := db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
		return err
	}
	fmt.Fprintf(out, "### %s\n\n%d CPUs, %s/%s, %s, server and client on one machine, binary log on. %d rounds of %d calls for each figure, in turns; medians.\n\n",
		serverName(version), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), e.tables.rounds, e.tables.calls)
	if err := b.tables(out, e.tables); err != nil {
		return err
	}
	return b.targets(out, e.targets)
}

func serverName(version string) string {
	if strings.Contains(version, "MariaDB") {
		return "MariaDB " + version
	}
	return "MySQL " + version
}

type bench struct {
	ctx   context.Context
	pools pools
	round int // of the whole run: keys contain it, so no key is used twice
}

func (b *bench) tables(out *strings.Builder, t turns) error {
	for _, l := range loads {
		fmt.Fprintf(out, "**%s**: %s. Calls a second.\n\n| |statements a call|%s|\n|---|--:|%s\n",
			strings.ToUpper(l.name[:1])+l.name[1:], l.what, workerColumns(), strings.Repeat("--:|", len(workerCounts)))
		all, err := b.compareAll(l, l.methods, t)
		if err != nil {
			return err
		}
		for _, m := range l.methods {
			fmt.Fprintf(out, "|%s|%.1f|", m.name, all[0].statements.Median(m.name))
			for _, c := range all {
				fmt.Fprintf(out, "%.0f|", c.rates.Median(m.name))
			}
			fmt.Fprintln(out)
		}
		fmt.Fprintln(out)
	}
	return nil
}

// workerColumns are the heads of a table's columns for numbers of workers.
func workerColumns() string {
	var heads []string
	for _, workers := range workerCounts {
		noun := "workers"
		if workers == 1 {
			noun = "worker"
		}
		heads = append(heads, fmt.Sprintf("%d %s", workers, noun))
	}
	return strings.Join(heads, "|")
}

// compared holds what methods were measured to do with one number of workers.
type compared struct {
	rates      stats.Paired // calls a second
	statements stats.Paired // a call
}

// compareAll compares methods with each number of workers.
func (b *bench) compareAll(l load, methods []method, t turns) (all []compared, err error) {
	for _, workers := range workerCounts {
		c, err := b.compare(l, methods, workers, t)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// compare measures the methods in turns, in random order.
func (b *bench) compare(l load, methods []method, workers int, t turns) (c compared, err error) {
	var names []string
	for _, m := range methods {
		names = append(names, m.name)
	}
	c.rates, c.statements = stats.NewPaired(names...), stats.NewPaired(names...)
	for range t.rounds {
		b.round++
		for _, m := range rand.Perm(len(methods)) {
			before, err := b.questions()
			if err != nil {
				return c, err
			}
			elapsed, err := b.measure(l, methods[m], m, workers, t.calls/workers)
			if err != nil {
				return c, fmt.Errorf("%s, %s, %d workers: %w", names[m], l.name, workers, err)
			}
			after, err := b.questions()
			if err != nil {
				return c, err
			}
			calls := float64(t.calls / workers * workers)
			c.rates.Samples[m] = append(c.rates.Samples[m], calls/elapsed.Seconds())
			sent := after - before - 1 // questions itself sends one
			c.statements.Samples[m] = append(c.statements.Samples[m], float64(sent)/calls)
		}
	}
	return c, nil
}

// measure returns how long the workers take for so many calls each of a method, the m-th of
// this round.
func (b *bench) measure(l load, way method, m, workers, calls int) (time.Duration, error) {
	errs := make([]error, workers)
	var all sync.WaitGroup
	start := time.Now()
	for w := range workers {
		all.Go(func() {
			for i := range calls {
				if _, err := way.do(b.ctx, b.pools, l.key(m, b.round, w, i)); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	all.Wait()
	elapsed := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return elapsed, nil
}

// questions returns how many statements the server has received.
func (b *bench) questions() (n int, err error) {
	var name string
	err = b.pools.plain.QueryRowContext(b.ctx, "SHOW GLOBAL STATUS LIKE 'Questions'").Scan(&name, &n)
	return n, err
}

const (
	beginMark = "<!-- figures: made by make bench-getorcreate -->"
	endMark   = "<!-- end of figures -->"
)
