// Command performance measures what mysqlinit costs, compared with what a user would
// choose instead. It writes docs/performance.md and its plots.
package main

import (
	"context"
	"encoding/json"
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
	Samples      int // for each time
	Calls        int // a sample is the median of so many, on a fast network
	Rounds       int // of storms and of workers
	Queries      int // in a round of workers
	Runs         int // of get or create, for each number of workers
	Transactions int // in a run of get or create
}

var (
	full  = effort{Samples: 40, Calls: 25, Rounds: 15, Queries: 6400, Runs: 9, Transactions: 2560}
	quick = effort{Samples: 10, Calls: 4, Rounds: 2, Queries: 640, Runs: 2, Transactions: 256}
)

func main() {
	log.SetFlags(0)
	_ = mysql.SetLogger(log.New(io.Discard, "", 0)) // silent about connections that end in the middle of a storm
	document := flag.String("update", "", "write this document, with its plots next to it, instead of printing")
	isQuick := flag.Bool("quick", false, "measure little, on MariaDB alone, in less than a minute")
	save := flag.String("save", "", "write the measurements to this file too")
	from := flag.String("from", "", "read the measurements from a file of -save, and measure nothing")
	flag.Parse()
	if *isQuick && *document != "" {
		log.Fatal("performance: -quick measures too little for a document; remove -update")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := measureOrRead(ctx, *isQuick, *from)
	if err == nil && *save != "" {
		err = r.save(*save)
	}
	if err == nil {
		err = r.write(*document)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// report is everything that the document and its plots are made of.
type report struct {
	Machine string
	Effort  effort
	Servers []measured
}

func measureOrRead(ctx context.Context, isQuick bool, from string) (r report, err error) {
	if from != "" {
		text, err := os.ReadFile(from)
		if err != nil {
			return r, err
		}
		return r, json.Unmarshal(text, &r)
	}
	r.Machine, r.Effort = machine(), full
	servers := []bool{false, true} // whether it is MySQL
	if isQuick {
		r.Effort, servers = quick, servers[:1]
	}
	for _, isMySQL := range servers {
		m, err := measure(ctx, r.Effort, isMySQL)
		if err != nil {
			return r, err
		}
		r.Servers = append(r.Servers, m)
	}
	return r, nil
}

func (r report) save(file string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

func (r report) write(document string) error {
	if document == "" {
		fmt.Print(r.page(""))
		return nil
	}
	if err := drawAll(filepath.Join(filepath.Dir(document), "performance"), r.Servers); err != nil {
		return err
	}
	return os.WriteFile(document, []byte(r.page("performance")), 0o644)
}

// measured is all that was measured on one server.
type measured struct {
	Version   string
	Trips     []trips
	Timings   []timing
	Storms    grown // seconds
	Kilobytes grown
	Rates     grown // queries a second
	Races     []race
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
	if m.Version, err = version(ctx, s); err != nil {
		return m, err
	}
	if m.Trips, err = countTrips(ctx, s); err != nil {
		return m, err
	}
	if m.Timings, err = timeAll(ctx, s, e); err != nil {
		return m, err
	}
	if m.Storms, m.Kilobytes, err = growStorms(ctx, s, e.Rounds); err != nil {
		return m, err
	}
	if m.Rates, err = growWorkers(ctx, s, e.Rounds, e.Queries); err != nil {
		return m, err
	}
	m.Races, err = measurePurpose(ctx, s, e.Runs, e.Transactions)
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
