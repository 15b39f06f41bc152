package faults

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/document"
)

var update = flag.String("update", "", "write the figures into this document")

// figures are what the tests of this run have counted.
var figures tally

type tally struct {
	cutPoints        atomic.Int64
	checkouts        atomic.Int64 // each with a check of its session
	unprepared       atomic.Int64
	transactions     atomic.Int64 // under the guard
	refused          atomic.Int64 // of them, as lost
	runs             atomic.Int64 // transactions of mysqltx.Run
	retries          atomic.Int64 // in them
	ambiguous        atomic.Int64 // of them, whose COMMIT was not answered
	halves           atomic.Int64 // transactions of both kinds that left something that their end does not allow
	leakedThreads    atomic.Int64 // on the servers
	leakedGoroutines atomic.Int64

	mu      sync.Mutex
	longest float64 // Connect that a connectTimeout ended, in connectTimeouts
	storm   string
	soak    string
}

// ended records how long a Connect took that its connectTimeout ended.
func (f *tally) ended(took, connectTimeout time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.longest = max(f.longest, float64(took)/float64(connectTimeout))
}

// waited records when the last of many callers got an answer from the pool of a hanging
// server.
func (f *tally) waited(callers, pool int, last, connectTimeout time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.storm = fmt.Sprintf("last of %d callers of a hanging server (%d connections) answered after %.0f × connectTimeout", callers, pool, float64(last)/float64(connectTimeout))
}

// soaked records the result of a soak.
func (f *tally) soaked(seen string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.soak = seen
}

func (f *tally) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var parts []string
	count := func(n *atomic.Int64, of string) {
		parts = append(parts, humanize.Comma(n.Load())+" "+of)
	}
	count(&f.cutPoints, "cut points")
	count(&f.checkouts, "checkouts")
	count(&f.unprepared, "unprepared")
	count(&f.transactions, "transactions under the guard")
	count(&f.refused, "of them refused as lost")
	count(&f.runs, "transactions of Run, half of them without the guard")
	count(&f.retries, "retries in them")
	count(&f.ambiguous, "of them ambiguous")
	count(&f.halves, "of both kinds half, repeated or untold")
	count(&f.leakedThreads, "leaked threads")
	count(&f.leakedGoroutines, "leaked goroutines")
	if f.longest > 0 {
		parts = append(parts, fmt.Sprintf("longest Connect %.3f × connectTimeout", f.longest))
	}
	if f.storm != "" {
		parts = append(parts, f.storm)
	}
	if f.soak != "" {
		parts = append(parts, f.soak)
	}
	return "faults: " + strings.Join(parts, ", ")
}

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		*checkouts, *transactions, *runs, *callers, *soak = 1000, 2000, 600, 16, time.Second
	}
	_ = mysql.SetLogger(log.New(io.Discard, "", 0)) // it would log each fault
	code := m.Run()
	fmt.Println(&figures)
	if *update != "" && code == 0 {
		if err := document.Replace(*update, "<!-- figures -->", "<!-- end of figures -->", "    "+figures.String()+"\n\n"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
