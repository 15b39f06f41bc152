//go:build matrix

package servers

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// A node that is killed comes back with its data and gets what it missed.
func TestKilledNodeComesBack(t *testing.T) {
	for _, k := range []Kind{MySQL56, Replica, Galera, GroupReplication} {
		t.Run(k.Name, func(t *testing.T) {
			d := New(t, k)
			first, last := d.Nodes[0], d.Nodes[len(d.Nodes)-1]
			write := func(statement string) {
				t.Helper()
				if err := first.exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			write("CREATE TABLE rows_kept (id INT PRIMARY KEY) ENGINE=InnoDB")
			write("INSERT INTO rows_kept VALUES (1)")
			want := 1
			if err := last.awaitValue(t.Context(), "SELECT COUNT(*) FROM rows_kept", "1"); err != nil {
				t.Fatal(err)
			}
			if err := last.Kill(); err != nil {
				t.Fatal(err)
			}
			if last != first {
				write("INSERT INTO rows_kept VALUES (2)")
				want++
			}
			if err := last.Restart(t.Context(), "--max-connections=123"); err != nil {
				t.Fatal(err)
			}
			for query, want := range map[string]string{"SELECT COUNT(*) FROM rows_kept": fmt.Sprint(want), "SELECT @@max_connections": "123"} {
				if err := last.awaitValue(t.Context(), query, want); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// The Router has fewer connections to the server than clients have to the Router. So the
// conformance suite really runs over shared connections.
func TestRouterShares(t *testing.T) {
	d := New(t, Router)
	db, err := mysqlinit.Open(d.DSN(testserver.Root, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const clients = 20
	servers := map[string]bool{}
	var conns []*sql.Conn
	for range clients {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		id, level := sessionOf(t.Context(), t, conn)
		servers[id] = true
		if level != "READ-COMMITTED" {
			t.Errorf("a client's session is %s on the server's connection %s", level, id)
		}
	}
	t.Logf("%d clients were served by %d connections", clients, len(servers))
	if len(servers) >= clients {
		t.Error("the Router does not share connections")
	}
}

func sessionOf(ctx context.Context, t *testing.T, conn *sql.Conn) (id, level string) {
	t.Helper()
	if err := conn.QueryRowContext(ctx, "SELECT CONNECTION_ID(), @@SESSION.transaction_isolation").Scan(&id, &level); err != nil {
		t.Fatal(err)
	}
	return id, level
}
