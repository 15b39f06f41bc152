//go:build matrix

package failover

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/integration/proxy"
	"github.com/mysqlinit/mysqlinit/integration/servers"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

const workers = 8

// load is a pool at work: each worker takes a connection, looks at its session and
// writes a row, over and over.
type load struct {
	mu        sync.Mutex
	written   map[string]map[int]bool // by the server's version: rows whose INSERT was acknowledged
	errors    map[string]int
	unready   []string // sessions that were handed out and not as promised
	checkouts int
}

// settled is a format that is any but STATEMENT.
const settled = "ROW or MIXED"

// session is what must be so in each one that is handed out.
type session struct{ isolation, format string }

// start lets a pool on an address write rows, numbered from first, until stop is
// called.
func start(t *testing.T, a *proxy.Proxy, account, params string, first int, promised session) (l *load, stop func()) {
	t.Helper()
	db, err := mysqlinit.Open(account + "@tcp(" + a.Addr + ")/test?" + params)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(workers)
	db.SetMaxIdleConns(workers)
	l = &load{written: map[string]map[int]bool{}, errors: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := l.work(ctx, db, first+i*workers+w, promised); err != nil {
					l.failed(err)
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			all.Wait()
			_ = db.Close()
		})
	}
	t.Cleanup(stop)
	return l, stop
}

func (l *load) work(ctx context.Context, db *sql.DB, id int, promised session) error {
	// The work outlives the end of the load, so that each answer is known.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	version, got, err := read(ctx, conn)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.checkouts++
	if promised.format == settled && got.format != "STATEMENT" {
		got.format = settled
	}
	if got != promised {
		l.unready = append(l.unready, version+": "+got.isolation+", "+got.format)
	}
	l.mu.Unlock()
	if _, err := conn.ExecContext(ctx, "INSERT INTO rows_written VALUES (?)", id); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.written[version] == nil {
		l.written[version] = map[int]bool{}
	}
	l.written[version][id] = true
	return nil
}

// read asks under both names of the isolation variable.
func read(ctx context.Context, conn *sql.Conn) (version string, s session, err error) {
	rows, err := conn.QueryContext(ctx, "SHOW SESSION VARIABLES WHERE Variable_name IN ('version', 'tx_isolation', 'transaction_isolation', 'binlog_format')")
	if err != nil {
		return "", s, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return "", s, err
		}
		switch name {
		case "version":
			version = value
		case "binlog_format":
			s.format = value
		default:
			s.isolation = value
		}
	}
	return version, s, rows.Err()
}

func (l *load) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[err.Error()]++
}

// writes returns how many rows were acknowledged by servers whose version begins so.
func (l *load) writes(version string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for v, ids := range l.written {
		if strings.HasPrefix(v, version) {
			n += len(ids)
		}
	}
	return n
}

// await waits until as many more rows are acknowledged by servers of a version.
func (l *load) await(t *testing.T, version string, more int) {
	t.Helper()
	want := l.writes(version) + more
	for range 600 {
		if l.writes(version) >= want {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Fatalf("the pool does not come back; errors: %v", l.errors)
}

// awaitError waits until an error with a text has come.
func (l *load) awaitError(t *testing.T, text string) {
	t.Helper()
	for range 600 {
		l.mu.Lock()
		for got := range l.errors {
			if strings.Contains(got, text) {
				l.mu.Unlock()
				return
			}
		}
		l.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("no error with %q; errors: %v", text, l.errors)
}

// verify checks what must hold in the end: no session was unready, and every
// acknowledged row is on the server that holds the rows of a version now.
func (l *load) verify(t *testing.T, holder map[string]*servers.Node) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.unready) > 0 {
		t.Errorf("%d sessions were not as promised: %v", len(l.unready), l.unready[:min(3, len(l.unready))])
	}
	rows := 0
	for version, ids := range l.written {
		for prefix, node := range holder {
			if !strings.HasPrefix(version, prefix) {
				continue
			}
			there := writtenOn(t, node)
			for id := range ids {
				if !there[id] {
					t.Errorf("row %d was acknowledged by %s, and is not there", id, version)
				}
				rows++
			}
		}
	}
	if rows == 0 {
		t.Error("no row was checked")
	}
	t.Logf("%d checkouts, %d acknowledged rows, %d kinds of errors: %v", l.checkouts, rows, len(l.errors), l.errors)
}

func writtenOn(t *testing.T, n *servers.Node) map[int]bool {
	t.Helper()
	db := openNode(t, n)
	rows, err := db.QueryContext(t.Context(), "SELECT id FROM rows_written")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	there := map[int]bool{}
	for rows.Next() {
		var id int
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		there[id] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return there
}

func openNode(t *testing.T, n *servers.Node) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", n.DSN(testserver.Root, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
