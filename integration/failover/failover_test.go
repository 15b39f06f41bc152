//go:build matrix

package failover

import (
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit/integration/proxy"
	"github.com/mysqlinit/mysqlinit/integration/servers"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

const createTable = "CREATE TABLE rows_written (id INT PRIMARY KEY) ENGINE=InnoDB"

// MySQL 5.6 knows tx_isolation, 9.7 transaction_isolation.
func TestServerOfAnotherDialect(t *testing.T) {
	old, current := servers.New(t, servers.MySQL56).Nodes[0], servers.New(t, servers.MySQL97).Nodes[0]
	for _, n := range []*servers.Node{old, current} {
		testserver.Exec(t, openNode(t, n), createTable)
	}
	a := proxy.New(t, old.Addr)
	l, stop := startLoad(t, a.Addr, testserver.Root, "time_zone="+url.QueryEscape("'+03:00'"), 0, session{"READ-COMMITTED", "ROW"})
	l.await(t, "5.6", 100)
	for range 3 { // there and back
		a.To(current.Addr)
		a.CutAll()
		l.await(t, "9.7", 100)
		a.To(old.Addr)
		a.CutAll()
		l.await(t, "5.6", 100)
	}
	stop()
	l.verify(t, map[string]*sql.DB{"5.6": openNode(t, old), "9.7": openNode(t, current)})
}

// A primary becomes read-only, and its replica takes over behind the same address.
// Connections to the old primary stay open: rejectReadOnly closes each at its first
// write.
func TestPrimaryTurnsReadOnly(t *testing.T) {
	d := servers.New(t, servers.Replica)
	primary, second := openNode(t, d.Nodes[0]), openNode(t, d.Nodes[1])
	testserver.Exec(t, primary, createTable)
	a := proxy.New(t, d.Nodes[0].Addr)
	// read_only stops this account, unlike root. It is not allowed to set binlog_format.
	l, stop := startLoad(t, a.Addr, testserver.App, "rejectReadOnly=true", 0, session{"READ-COMMITTED", "MIXED"})
	l.await(t, "", 100)
	testserver.Exec(t, primary, "SET GLOBAL read_only = 1")
	awaitSame(t, primary, second, "@@GLOBAL.gtid_current_pos")
	testserver.Exec(t, second, "STOP SLAVE", "SET GLOBAL read_only = 0")
	a.To(d.Nodes[1].Addr)
	l.await(t, "", 100)
	stop()
	l.verify(t, map[string]*sql.DB{"": openNode(t, d.Nodes[1])})
}

// awaitSame waits until an SQL expression has the same value on both servers.
func awaitSame(t *testing.T, one, other *sql.DB, expr string) {
	t.Helper()
	for range 600 {
		var a, b string
		if err := errors.Join(one.QueryRow("SELECT "+expr).Scan(&a), other.QueryRow("SELECT "+expr).Scan(&b)); err != nil {
			t.Fatal(err)
		}
		if a == b {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s is still different after 30 s", expr)
}

// A Galera node is killed under load, and the address then leads to another node.
func TestGaleraNodeIsKilled(t *testing.T) {
	d := servers.New(t, servers.Galera)
	testserver.Exec(t, openNode(t, d.Nodes[0]), createTable)
	a := proxy.New(t, d.Nodes[0].Addr)
	l, stop := startLoad(t, a.Addr, testserver.Root, "", 0, session{"READ-COMMITTED", "ROW"})
	l.await(t, "", 100)
	if err := d.Nodes[0].Kill(); err != nil {
		t.Fatal(err)
	}
	a.To(d.Nodes[1].Addr)
	l.await(t, "", 100)
	stop()
	// A node can still lag, although the cluster has accepted a row.
	awaitSame(t, openNode(t, d.Nodes[1]), openNode(t, d.Nodes[2]), "COUNT(*) FROM rows_written")
	l.verify(t, map[string]*sql.DB{"": openNode(t, d.Nodes[2])})
	if err := d.Nodes[0].Restart(t.Context()); err != nil {
		t.Error(err)
	}
}

// A shard's server and then its tablet are killed under load, several times. vtgate stays,
// and with it the pool's connections.
func TestVitessShardIsKilled(t *testing.T) {
	d := servers.New(t, servers.Vitess)
	gate := openPlain(t, d.DSN(testserver.Root, ""))
	testserver.Exec(t, gate, createTable)
	l, stop := startLoad(t, d.Addr, testserver.Root, "", 0, session{"READ-COMMITTED", "ROW"})
	shard := d.Shards[1]
	server := openPlain(t, testserver.Root+"@tcp("+shard.Addr+")/vt_test")
	for range 2 {
		for _, restart := range []func() error{
			func() error { return shard.Restart(t.Context()) },
			func() error { return shard.RestartTablet(t.Context()) },
		} {
			before := len(writtenOn(t, server))
			l.await(t, "", 100)
			if after := len(writtenOn(t, server)); after == before {
				t.Fatal("the load writes nothing on this shard")
			}
			if err := restart(); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.await(t, "", 100)
	stop()
	l.verify(t, map[string]*sql.DB{"": gate})
}

// A server comes back with another binlog_format, three times. With MIXED, READ COMMITTED
// can write. With STATEMENT the driver refuses to connect an account that is not allowed to
// change the format. With ROW that account can write again.
func TestServerComesBackWithAnotherFormat(t *testing.T) {
	node := servers.New(t, servers.MariaDB1011).Nodes[0]
	// Acknowledged rows must survive a kill.
	restart := func(format string) {
		t.Helper()
		if err := node.Restart(t.Context(), "--binlog-format="+format, "--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"); err != nil {
			t.Fatal(err)
		}
	}
	restart("MIXED")
	testserver.Exec(t, openNode(t, node), createTable)
	a := proxy.New(t, node.Addr)
	app, stopApp := startLoad(t, a.Addr, testserver.App, "connectTimeout=5s", 0, session{"READ-COMMITTED", notStatement})
	app.await(t, "", 50)
	restart("STATEMENT")
	app.awaitError(t, "1665")
	refused := app.writes("")
	time.Sleep(200 * time.Millisecond)
	if got := app.writes(""); got != refused {
		t.Errorf("%d rows were written under STATEMENT", got-refused)
	}
	root, stopRoot := startLoad(t, a.Addr, testserver.Root, "guard=true", 1<<20, session{"READ-COMMITTED", "ROW"})
	root.await(t, "", 50)
	restart("ROW")
	app.await(t, "", 50)
	root.await(t, "", 50)
	stopApp()
	stopRoot()
	app.verify(t, map[string]*sql.DB{"": openNode(t, node)})
	root.verify(t, map[string]*sql.DB{"": openNode(t, node)})
	for text := range app.errors {
		if strings.Contains(text, "Cure: ") && !strings.Contains(text, "binlog_format = ROW") {
			t.Error(text)
		}
	}
}
