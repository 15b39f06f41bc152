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
	"github.com/mysqlinit/mysqlinit/integration/servers"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

const workers = 8

// load is a pool at work: each worker repeatedly takes a connection, looks at its session
// and writes a row.
type load struct {
	mu        sync.Mutex
	written   map[string]map[int]bool // rows whose INSERT was acknowledged, by the server's version
	errors    map[string]int          // by text
	unready   []string                // sessions that were handed out but not as promised
	checkouts int
}

// notStatement stands for any format except STATEMENT.
const notStatement = "ROW or MIXED"

// session is what is promised for a session.
type session struct{ isolation, format string }

// startLoad has a pool write rows at the address until stop is called. The rows
// are numbered from first.
func startLoad(t *testing.T, addr, account, params string, first int, promised session) (l *load, stop func()) {
	t.Helper()
	db, err := mysqlinit.Open(account + "@tcp(" + addr + ")/test?" + params)
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
					l.countError(err)
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

// work uses one connection to write the row.
func (l *load) work(ctx context.Context, db *sql.DB, id int, promised session) error {
	// Work that has begun continues after the end of the load, so that every answer is
	// seen.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	version, got, err := readSession(ctx, conn)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.checkouts++
	if promised.format == notStatement && got.format != "STATEMENT" {
		got.format = notStatement
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

// readSession works on any server: it asks for both names of the isolation level's
// variable.
func readSession(ctx context.Context, conn *sql.Conn) (version string, s session, err error) {
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

func (l *load) countError(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[err.Error()]++
}

// writes returns how many rows were acknowledged by servers whose version begins with
// version.
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

// await waits until servers of a version have acknowledged that many more rows.
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
	t.Fatalf("the pool does not write again; errors: %v", l.errors)
}

// awaitError waits for an error that contains the text.
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

// verify checks the result: every session was as promised, and every acknowledged row is
// on a server. The holder of a version is the server that now must have the rows that
// servers of that version acknowledged.
func (l *load) verify(t *testing.T, holder map[string]*sql.DB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.unready) > 0 {
		t.Errorf("%d sessions were not as promised: %v", len(l.unready), l.unready[:min(3, len(l.unready))])
	}
	rows := 0
	for version, ids := range l.written {
		for prefix, db := range holder {
			if !strings.HasPrefix(version, prefix) {
				continue
			}
			there := writtenOn(t, db)
			for id := range ids {
				if !there[id] {
					t.Errorf("row %d was acknowledged by %s but is not there", id, version)
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

// writtenOn returns the rows on a server.
func writtenOn(t *testing.T, db *sql.DB) map[int]bool {
	t.Helper()
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
	return openPlain(t, n.DSN(testserver.Root, ""))
}

func openPlain(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
