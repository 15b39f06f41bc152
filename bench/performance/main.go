// Command performance measures what mysqlinit costs, compared with what a user would
// choose instead. It writes docs/performance.md and its plots.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// effort is how much is measured.
type effort struct {
	servers                       []bool // for each server, whether it is MySQL
	samples                       int    // for each time
	calls                         int    // a sample is the median of so many, on a fast network
	storms, queries, transactions int
}

var (
	full  = effort{servers: []bool{false, true}, samples: 40, calls: 25, storms: 9, queries: 6400, transactions: 2560}
	quick = effort{servers: []bool{false}, samples: 10, calls: 4, storms: 2, queries: 640, transactions: 256}
)

func main() {
	log.SetFlags(0)
	_ = mysql.SetLogger(log.New(io.Discard, "", 0)) // silent about connections that end in the middle of a storm
	document := flag.String("update", "", "write this document, with its plots next to it, instead of printing")
	isQuick := flag.Bool("quick", false, "measure little, in less than a minute")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	e := full
	if *isQuick {
		if *document != "" {
			log.Fatal("performance: -quick measures too little for a document; remove -update")
		}
		e = quick
	}
	if err := run(ctx, e, *document); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, e effort, document string) error {
	var all []measured
	for _, isMySQL := range e.servers {
		m, err := measure(ctx, e, isMySQL)
		if err != nil {
			return err
		}
		all = append(all, m)
	}
	if document == "" {
		fmt.Print(page(all, e, ""))
		return nil
	}
	plots := filepath.Join(filepath.Dir(document), "performance")
	if err := drawAll(plots, all); err != nil {
		return err
	}
	return os.WriteFile(document, []byte(page(all, e, "performance")), 0o644)
}

// measured is all that was measured on one server.
type measured struct {
	version           string
	trips             []trips
	timings           []timing
	storms, kilobytes grown
	rates             grown
	purpose           purpose
}

func measure(ctx context.Context, e effort, isMySQL bool) (m measured, err error) {
	cfg := testserver.Config{MySQL: isMySQL, Binlog: "ROW", Args: []string{"--max-connections=2000", "--back-log=1000"}}
	started, err := testserver.Start(ctx, cfg)
	if err != nil {
		return m, err
	}
	defer func() { _ = started.Stop() }()
	s := server{addr: started.Addr, isolation: "tx_isolation"}
	if isMySQL {
		s.isolation = "transaction_isolation"
	}
	if err := setUp(ctx, s); err != nil {
		return m, err
	}
	if m.version, err = version(ctx, s); err != nil {
		return m, err
	}
	if m.trips, err = countTrips(ctx, s); err != nil {
		return m, err
	}
	if m.timings, err = timeAll(ctx, s, e); err != nil {
		return m, err
	}
	if m.storms, m.kilobytes, err = growStorms(ctx, s, e.storms); err != nil {
		return m, err
	}
	if m.rates, err = growWorkers(ctx, s, e.storms, e.queries); err != nil {
		return m, err
	}
	m.purpose, err = measurePurpose(ctx, s, e.transactions)
	return m, err
}

func setUp(ctx context.Context, s server) error {
	db, err := mysqlinit.Open(s.dsn("root", ""))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	for _, statement := range []string{
		"CREATE TABLE bench_keys (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(60) NOT NULL UNIQUE)",
		"CREATE TABLE bench_rows (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(60) NOT NULL)",
		"INSERT INTO bench_rows (name) VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f'), ('g'), ('h'), ('i'), ('j')",
		"INSERT INTO bench_rows (name) SELECT CONCAT(a.name, b.name, c.name) FROM bench_rows a, bench_rows b, bench_rows c LIMIT 990",
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func version(ctx context.Context, s server) (v string, err error) {
	db, err := openPlain("")(s)
	if err != nil {
		return "", err
	}
	defer func() { _ = db.Close() }()
	err = db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&v)
	return v, err
}
