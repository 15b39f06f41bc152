package faults

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

var soak = flag.Duration("soak", 3*time.Second, "how long connections churn")

// TestSoak opens and closes many connections: they live for 20 ms, callers leave before
// they get one, and some cannot be prepared. Memory and the number of goroutines must not
// grow.
func TestSoak(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "MIXED"})
	admin := openDB(t, s.DSN(testserver.Root, ""))
	admin.SetMaxOpenConns(1)
	testserver.Exec(t, admin, "CREATE USER faulty", "GRANT ALL ON *.* TO faulty")
	wantNoGoroutines(t)
	before := connectionsOf(t, admin)
	var pools []*sql.DB
	for _, more := range []string{"", "&guard=true", "&initCommand=no+statement"} {
		db := openDB(t, s.DSN("faulty", params+more))
		db.SetConnMaxLifetime(20 * time.Millisecond)
		pools = append(pools, db)
	}
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	var churning sync.WaitGroup
	for range 8 {
		churning.Go(func() {
			for ctx.Err() == nil {
				churn(ctx, pools[rand.IntN(len(pools))])
			}
		})
	}
	const samples = 40
	var heap, goroutines []float64
	for range samples {
		time.Sleep(*soak / (samples + 1))
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap, goroutines = append(heap, float64(m.HeapAlloc)), append(goroutines, float64(runtime.NumGoroutine()))
	}
	enoughBy := time.Now().Add(5 * time.Minute) // on a busy machine
	for connectionsOf(t, admin)-before < 100 && time.Now().Before(enoughBy) {
		time.Sleep(10 * time.Millisecond)
	}
	enough()
	churning.Wait()
	// The first quarter is left out, because some things are allocated only once. Medians,
	// because a single sample includes whatever is in use at that moment.
	flat := func(what string, values []float64, slack float64) (early, late float64) {
		early, late = median(values[samples/4:samples/2]), median(values[3*samples/4:])
		if late > early*1.1+slack {
			t.Errorf("%s grew from %.0f to %.0f; samples: %.0f", what, early, late, values)
		}
		return early, late
	}
	earlyHeap, lateHeap := flat("the heap", heap, 1<<20)
	earlyGoroutines, lateGoroutines := flat("the number of goroutines", goroutines, 20)
	for _, db := range pools {
		_ = db.Close()
	}
	wantNoThreads(t, admin)
	opened := connectionsOf(t, admin) - before
	if opened < 100 {
		t.Errorf("only %d connections were opened", opened)
	}
	figures.soaked(fmt.Sprintf("soak of %v: %s connections, heap %s to %s, %.0f to %.0f goroutines", *soak, humanize.Comma(opened),
		humanize.Bytes(uint64(earlyHeap)), humanize.Bytes(uint64(lateHeap)), earlyGoroutines, lateGoroutines))
}

// churn uses one connection, or leaves before it gets one.
func churn(ctx context.Context, db *sql.DB) {
	if rand.IntN(4) == 0 {
		var leave context.CancelFunc
		ctx, leave = context.WithTimeout(ctx, time.Duration(rand.IntN(2000))*time.Microsecond)
		defer leave()
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = conn.ExecContext(ctx, changes[rand.IntN(len(changes))])
}

// connectionsOf returns how many connections the server has had.
func connectionsOf(t *testing.T, admin *sql.DB) (n int64) {
	t.Helper()
	if err := admin.QueryRow("SHOW GLOBAL STATUS LIKE 'Connections'").Scan(new(string), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
