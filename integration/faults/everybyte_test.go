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

var every = flag.Int("every", 97, "connections have faults at one byte in this many")

// logins are ways to log in. They send different bytes.
var logins = []struct {
	name    string
	mysql   bool
	params  string
	forgets bool // the server forgets the password before each login, so it asks for more than the hash
}{
	{"mysql_native_password", false, "", false},
	{"mysql_native_password, TLS", false, "&tls=skip-verify&verify=true", false},
	{"caching_sha2_password", true, "", false},
	{"caching_sha2_password, not cached", true, "&verify=true", true},
	{"caching_sha2_password, TLS", true, "&tls=skip-verify&verify=true", false},
	{"caching_sha2_password, not cached, TLS", true, "&tls=skip-verify", true},
}

// promised is the session that params ask for. The server's binlog_format is MIXED.
const (
	params   = "time_zone=%27%2B03:00%27&initCommand=SET+@traced+%3D+1"
	promised = "READ-COMMITTED, ROW, +03:00, 1"
)

// connectingAtOnce is how many connections have faults at the same time.
const connectingAtOnce = 8

// TestEveryByte gives connections each fault at each byte of connecting and preparing.
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
	var connecting sync.WaitGroup
	for _, f := range pools {
		connecting.Go(func() {
			for fault := range next {
				if err := f.connectWith(t.Context(), fault); err != nil {
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
	connecting.Wait()
}

// faulty is a pool behind a proxy.
type faulty struct {
	*proxy.Proxy
	db        *sql.DB
	isolation string  // the variable's name
	forget    *sql.DB // if not nil, makes the server forget passwords before each connect
}

// newFaulty opens a pool whose sessions must be as promised. It connects to addr, which is
// the address of some proxy. If addr is "", it starts its own proxy.
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
	f.db.SetMaxIdleConns(0) // each checkout connects
	return f
}

// lengths returns how many bytes a connection takes until it is handed out, to the server
// (true) and to the client (false).
func (f *faulty) lengths(ctx context.Context) (lengths map[bool]int, err error) {
	f.Set(nil)
	conn, err := f.checkout(ctx)
	if err != nil {
		return nil, err
	}
	lengths = f.Passed()
	return lengths, conn.Close()
}

// checkout opens a connection.
func (f *faulty) checkout(ctx context.Context) (*sql.Conn, error) {
	if f.forget != nil {
		if _, err := f.forget.ExecContext(ctx, "FLUSH PRIVILEGES"); err != nil {
			return nil, err
		}
	}
	return f.db.Conn(ctx)
}

// check checks a session that was handed out, and closes it.
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

// connectWith opens one connection that has the fault and one that has none, and checks
// how both end.
func (f *faulty) connectWith(ctx context.Context, fault proxy.Fault) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	caller, leave := context.WithCancel(ctx)
	defer leave()
	happened := f.Set(&fault)
	if fault.What == proxy.Stall {
		go func() {
			select {
			case <-happened:
				leave() // nothing else ends the connect soon: connectTimeout is 30 s
			case <-caller.Done():
			}
		}()
	}
	conn, err := f.checkout(caller)
	select {
	case <-happened:
		figures.cutPoints.Add(1)
	default: // the connection took fewer bytes than lengths found, since a signature's length varies
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
	case fault.What == proxy.Split:
		if err == nil {
			err = f.check(ctx, conn)
		}
		return err
	case err == nil:
		return errors.Join(errors.New("the broken connection was handed out"), f.check(ctx, conn))
	case fault.What == proxy.Stall && !errors.Is(err, context.Canceled):
		return fmt.Errorf("want the error of the caller's context, got %w", err)
	case fault.What != proxy.Stall && isContextError(err):
		return fmt.Errorf("want the connection's error, got %w", err)
	case errors.Is(err, driver.ErrBadConn):
		return fmt.Errorf("this error makes database/sql connect again: %w", err)
	}
	if !f.Closed() {
		figures.leakedThreads.Add(1)
		return errors.New("the connection was not closed")
	}
	if conn, err = f.checkout(ctx); err != nil {
		return fmt.Errorf("the next connection: %w", err)
	}
	return f.check(ctx, conn)
}

func isContextError(err error) bool {
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

// wantNoGoroutines checks at the end of the test that all goroutines that it started have
// ended.
func wantNoGoroutines(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		var err error
		for range 40 { // Find waits for half a second, which is too short on a busy machine
			if err = goleak.Find(before); err == nil {
				return
			}
		}
		figures.leakedGoroutines.Add(int64(strings.Count(err.Error(), "Goroutine ")))
		t.Error(err)
	})
}

// wantNoThreads waits until the server has ended all threads of the pools' accounts, whose
// names begin with faulty.
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
	t.Errorf("%d threads are left on the server", left)
}
