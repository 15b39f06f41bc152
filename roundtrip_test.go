package mysqlinit_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

func typeName(v any) string { return fmt.Sprintf("%T", v) }

// turnsConn counts round trips: each write that follows a read.
type turnsConn struct {
	net.Conn
	turns   *atomic.Int32
	reading bool
}

func (c *turnsConn) Write(p []byte) (int, error) {
	if c.reading {
		c.turns.Add(1)
		c.reading = false
	}
	return c.Conn.Write(p)
}

func (c *turnsConn) Read(p []byte) (int, error) {
	c.reading = true
	return c.Conn.Read(p)
}

// registerTurns registers a network whose connections count their round trips.
func registerTurns(t *testing.T, network string, turns *atomic.Int32) {
	mysql.RegisterDialContext(network, func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return &turnsConn{Conn: conn, turns: turns}, nil
	})
	t.Cleanup(func() { mysql.DeregisterDialContext(network) })
}

func TestRoundTripsFromDialToReady(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, roundTrips)
}

func roundTrips(t *testing.T, s *testserver.Server) {
	var turns atomic.Int32
	registerTurns(t, "turns", &turns)
	// connect returns how many round trips a pool's second connection takes until it is handed out.
	connect := func(driverName, account, params string) int32 {
		t.Helper()
		db, err := sql.Open(driverName, account+"@turns("+s.Addr+")/test?"+params)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		db.SetMaxIdleConns(0)
		for range 2 {
			turns.Store(0)
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n := turns.Load()
			conn.Close()
			turns.Store(n)
		}
		return turns.Load()
	}
	for _, account := range []string{testserver.Root, testserver.App} {
		bare := connect("mysql", account, "")
		variable := connect("mysql", account, "time_zone=%27%2B00:00%27")
		if bare == 0 || variable != bare+1 {
			t.Fatalf("the plain driver: %d and %d round trips: the test counts wrongly", bare, variable)
		}
		for _, test := range []struct {
			params string
			want   int32
		}{
			{"", bare + 1},
			{"time_zone=%27%2B00:00%27", variable},
			{"time_zone=%27%2B00:00%27&sql_mode=%27ANSI%27", variable},
			{"binlog=server", bare + 1},
			{"binlog=server&isolation=server", bare},
			{"verify=true", bare + 2},
			{"verify=true&binlog=server", bare + 2},
			{"verify=true&binlog=server&isolation=server", bare + 1},
			{"guard=true", bare + 1},
			{"initCommand=DO+1&initCommand=DO+2", bare + 3},
		} {
			if got := connect(mysqlinit.DriverName, account, test.params); got != test.want {
				t.Errorf("%s, %q: %d round trips, want %d", account, test.params, got, test.want)
			}
		}
	}
}
