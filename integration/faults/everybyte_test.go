package faults

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/integration/proxy"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

var every = flag.Int("every", 97, "at which bytes connections have faults: one in so many")

// logins differ in what goes over the wire.
var logins = []struct {
	name    string
	mysql   bool
	params  string
	forgets bool // the server has forgotten the password each time, and asks for more than its hash
}{
	{"mysql_native_password", false, "", false},
	{"mysql_native_password, TLS", false, "&tls=skip-verify&verify=true", false},
	{"caching_sha2_password", true, "", false},
	{"caching_sha2_password, not cached", true, "&verify=true", true},
	{"caching_sha2_password, TLS", true, "&tls=skip-verify&verify=true", false},
	{"caching_sha2_password, not cached, TLS", true, "&tls=skip-verify", true},
}

// promised is a session as params ask for it. The server's own is MIXED.
const (
	params   = "time_zone=%27%2B03:00%27&initCommand=SET+@traced+%3D+1"
	promised = "READ-COMMITTED, ROW, +03:00, 1"
)

// connectingAtOnce is how many connections have faults at a time.
const connectingAtOnce = 8

// TestEveryByte lets connections have each fault at each byte of their connecting and
// preparation.
func TestEveryByte(t *testing.T) {
	for _, mysql := range []bool{false, true} {
		s := testserver.New(t, testserver.Config{MySQL: mysql, Binlog: "MIXED", TLS: true})
		admin := openDB(t, s.DSN(testserver.Root, ""))
		admin.SetMaxOpenConns(1)
		for n := range connectingAtOnce {
			testserver.Exec(t, admin, fmt.Sprintf("CREATE USER faulty%d IDENTIFIED BY 'password'", n), fmt.Sprintf("GRANT ALL ON *.* TO faulty%d", n))
		}
		for _, login := range logins {
			if login.mysql == mysql {
				t.Run(login.name, func(t *testing.T) {
					wantNoGoroutines(t)
					everyByte(t, s, admin, login.params, login.forgets)
					wantNoThreads(t, admin)
				})
			}
		}
	}
}

func everyByte(t *testing.T, s *testserver.Server, admin *sql.DB, more string, forgets bool) {
	var pools []*faulty
	for n := range connectingAtOnce {
		f := newFaulty(t, s, fmt.Sprintf("faulty%d:password", n), "", more)
		if forgets {
			f.forget = admin
		}
		pools = append(pools, f)
	}
	lengths, err := pools[0].lengths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var faults []proxy.Fault
	for toServer, length := range lengths {
		for after := rand.IntN(*every); after < length; after += *every {
			for _, what := range []proxy.What{proxy.Cut, proxy.Reset, proxy.Stall, proxy.HalfClose, proxy.Split} {
				faults = append(faults, proxy.Fault{What: what, ToServer: toServer, After: after})
			}
		}
	}
	next := make(chan proxy.Fault)
	var meeting sync.WaitGroup
	for _, f := range pools {
		meeting.Go(func() {
			for fault := range next {
				if err := f.meets(t.Context(), fault); err != nil {
					t.Errorf("%+v: %v", fault, err)
				}
			}
		})
	}
	for _, fault := range faults {
		if t.Failed() {
			break
		}
		next <- fault
	}
	close(next)
	meeting.Wait()
}

// faulty is a pool behind a proxy.
type faulty struct {
	*proxy.Proxy
	db        *sql.DB
	isolation string  // the variable's name
	forget    *sql.DB // has the server forget passwords; nil: not
}

// newFaulty opens a pool whose sessions are promised, at the address of another proxy or,
// where that is "", of one of its own.
func newFaulty(t *testing.T, s *testserver.Server, account, addr, more string) *faulty {
	t.Helper()
	f := &faulty{isolation: "tx_isolation"}
	if s.MySQL {
		f.isolation = "transaction_isolation"
	}
	if addr == "" {
		f.Proxy = proxy.New(t, s.Addr)
		addr = f.Addr
	}
	f.db = openDB(t, account+"@tcp("+addr+")/test?"+params+more)
	f.db.SetMaxIdleConns(0) // each Conn connects
	return f
}

// lengths returns how many bytes a connection takes until it is handed out, by whether
// they go to the server.
func (f *faulty) lengths(ctx context.Context) (lengths map[bool]int, err error) {
	f.Set(nil)
	conn, err := f.checkout(ctx)
	if err != nil {
		return nil, err
	}
	lengths = f.Passed()
	return lengths, conn.Close()
}

// checkout connects.
func (f *faulty) checkout(ctx context.Context) (*sql.Conn, error) {
	if f.forget != nil {
		if _, err := f.forget.ExecContext(ctx, "FLUSH PRIVILEGES"); err != nil {
			return nil, err
		}
	}
	return f.db.Conn(ctx)
}

// check looks at a session that was handed out, and closes it.
func (f *faulty) check(ctx context.Context, conn *sql.Conn) error {
	defer func() { _ = conn.Close() }()
	figures.checkouts.Add(1)
	var got string
	err := conn.QueryRowContext(ctx, "SELECT CONCAT_WS(', ', @@SESSION."+f.isolation+", @@SESSION.binlog_format, @@SESSION.time_zone, @traced)").Scan(&got)
	if err == nil && got != promised {
		figures.unprepared.Add(1)
		err = fmt.Errorf("handed out with %s, promised %s", got, promised)
	}
	return err
}

// meets has one connection meet a fault, and the next none.
func (f *faulty) meets(ctx context.Context, met proxy.Fault) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	caller, leave := context.WithCancel(ctx)
	defer leave()
	happened := f.Set(&met)
	if met.What == proxy.Stall {
		go func() {
			select {
			case <-happened:
				leave() // nothing else ends it: connectTimeout is half a minute
			case <-caller.Done():
			}
		}()
	}
	conn, err := f.checkout(caller)
	select {
	case <-happened:
		figures.cutPoints.Add(1)
	default: // it took fewer bytes than the first: a signature's length varies
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	connects := f.Connects()
	f.Set(nil)
	switch {
	case connects != 1:
		return fmt.Errorf("%d connects for one call", connects)
	case met.What == proxy.Split:
		if err == nil {
			err = f.check(ctx, conn)
		}
		return err
	case err == nil:
		return errors.Join(errors.New("it was handed out"), f.check(ctx, conn))
	case met.What == proxy.Stall && !errors.Is(err, context.Canceled), met.What != proxy.Stall && isContexts(err):
		return fmt.Errorf("whose error is it? %w", err)
	case errors.Is(err, driver.ErrBadConn):
		return fmt.Errorf("database/sql would connect again: %w", err)
	}
	if !f.Closed() {
		figures.leakedThreads.Add(1)
		return errors.New("it was not closed")
	}
	if conn, err = f.checkout(ctx); err != nil {
		return fmt.Errorf("the next connection: %w", err)
	}
	return f.check(ctx, conn)
}

func isContexts(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func openDB(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := mysqlinit.Open(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// wantNoGoroutines checks, when the test has ended, that all that it began has.
func wantNoGoroutines(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := goleak.Find(before); err != nil {
			figures.leakedGoroutines.Add(int64(strings.Count(err.Error(), "Goroutine ")))
			t.Error(err)
		}
	})
}

// wantNoThreads waits until the server has ended the threads of faulty pools.
func wantNoThreads(t *testing.T, admin *sql.DB) {
	t.Helper()
	left := 0
	for range 400 {
		if err := admin.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER LIKE 'faulty%' OR USER = 'unauthenticated user'").Scan(&left); err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	figures.leakedThreads.Add(int64(left))
	t.Errorf("%d threads of the server are left", left)
}
