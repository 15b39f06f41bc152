package mysqlinit_test

import (
	"database/sql"
	"sync/atomic"
	"testing"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// The tests in this file are about transactions that are open before anybody has
// begun one.

// init_connect runs before our SET, for accounts without special privileges. On
// MySQL the SET would not reach a transaction that it leaves open, nor the one
// after it.
func TestTransactionOfInitConnectIsCommitted(t *testing.T) {
	for _, mysql := range []bool{false, true} {
		// The server is not borrowed, since its global variables change.
		transactionOfInitConnect(t, testserver.New(t, testserver.Config{MySQL: mysql, Binlog: "MIXED"}))
	}
}

func transactionOfInitConnect(t *testing.T, s *testserver.Server) {
	root := open(t, s.DSN(testserver.Root, ""))
	testserver.Exec(t, root, "CREATE TABLE test.logins (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB",
		"CREATE USER privileged", "GRANT ALL ON test.* TO privileged", "GRANT "+smallestPrivilege(s)+" ON *.* TO privileged")
	logins := 0
	for _, test := range []struct {
		initConnect string
		inserts     int
	}{
		{"START TRANSACTION", 0},
		{"SET autocommit = 0; INSERT INTO test.logins VALUES ()", 1},
		{"BEGIN; INSERT INTO test.logins VALUES ()", 1},
	} {
		for _, account := range []string{testserver.App, "privileged"} { // the latter's SET names binlog_format, and is refused: error 1679
			testserver.Exec(t, root, "SET GLOBAL init_connect = '"+test.initConnect+"'")
			db := open(t, s.DSN(account, "verify=true"))
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(test.initConnect, account, err)
			}
			testserver.Exec(t, tx, "INSERT INTO logins VALUES ()")
			var id int64
			if err := tx.QueryRow("SELECT CONNECTION_ID()").Scan(&id); err != nil {
				t.Fatal(err)
			}
			if level := transactionLevels(t, root)[id]; level != "READ COMMITTED" {
				t.Errorf("%s, %s: the first transaction is %s", test.initConnect, account, level)
			}
			if err := tx.Rollback(); err != nil {
				t.Error(err)
			}
			logins += test.inserts
			var got int
			if err := root.QueryRow("SELECT COUNT(*) FROM test.logins").Scan(&got); err != nil || got != logins {
				t.Errorf("%s, %s: %d rows of init_connect, want %d, %v", test.initConnect, account, got, logins, err)
			}
		}
	}
}

// With autocommit off an init command's INSERT would hold its row's lock, and go
// with the connection.
func TestTransactionOfInitCommandsIsCommitted(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		root := open(t, s.DSN(testserver.Root, ""))
		testserver.Exec(t, root, "CREATE TABLE test.visits (name VARCHAR(20) PRIMARY KEY, n INT) ENGINE=InnoDB")
		visit := mysqlinit.WithInitCommand("INSERT INTO visits VALUES ('me', 1) ON DUPLICATE KEY UPDATE n = n + 1")
		for _, opts := range [][]mysqlinit.Option{{visit}, {mysqlinit.WithInitCommand("SET autocommit = 0"), visit}} {
			params := "connectTimeout=5s"
			if len(opts) == 1 {
				params += "&autocommit=0"
			}
			db := open(t, s.DSN(testserver.App, params), opts...)
			var txs []*sql.Tx
			for range 2 { // at once
				tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable}) // error 1568 in a transaction
				if err != nil {
					t.Fatal(err)
				}
				txs = append(txs, tx)
			}
			for _, tx := range txs {
				if err := tx.Rollback(); err != nil {
					t.Error(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
		if got := readVariable(t, root, "n FROM test.visits"); got != "4" {
			t.Errorf("%s visits, want 4", got)
		}
	})
}

// A COMMIT is sent only if a transaction is open.
func TestRoundTripsWithAutocommitOff(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		var turns atomic.Int32
		registerTurns(t, "turns-autocommit", &turns)
		trips := func(params string) int32 {
			turns.Store(0)
			db := open(t, testserver.Root+"@turns-autocommit("+s.Addr+")/test?"+params)
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			return turns.Load()
		}
		on := trips("verify=true&initCommand=DO+1")
		if off := trips("verify=true&initCommand=DO+1&autocommit=0"); off != on {
			t.Errorf("%d round trips with autocommit off, %d with autocommit on", off, on)
		}
		if open := trips("verify=true&initCommand=START+TRANSACTION"); open != on+1 {
			t.Errorf("%d round trips with a transaction open, want %d", open, on+1)
		}
	})
}
