package mysqlinit_test

import (
	"context"
	"database/sql"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
	"github.com/mysqlinit/mysqlinit/mysqltx"
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

// The server's status flags show a transaction that no text does.
func TestGuardClosesWithATransactionOpen(t *testing.T) {
	for _, mysql := range []bool{false, true} {
		s := testserver.New(t, testserver.Config{MySQL: mysql, Binlog: "MIXED", Args: []string{"--completion-type=CHAIN"}})
		closes := func(name string, use func(db *sql.DB) error) {
			t.Helper()
			db := onePool(t, s, "guard=true")
			before := readVariable(t, db, "CONNECTION_ID()")
			if err := use(db); err != nil {
				t.Fatal(err)
			}
			if after := readVariable(t, db, "CONNECTION_ID()"); after == before {
				t.Errorf("MySQL %v, after %s: the same connection", mysql, name)
			}
		}
		closes("a COMMIT that chains", func(db *sql.DB) error {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				return err
			}
			return tx.Commit()
		})
		if mysql {
			closes("CREATE TABLE", func(db *sql.DB) error {
				_, err := db.Exec("CREATE TABLE made (id INT) ENGINE=InnoDB START TRANSACTION")
				return err
			})
		}
	}
}

// What leaves autocommit on and no transaction open costs no connection.
func TestGuardKeepsConnectionsWithAutocommit(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		parent, err := new(mysql.MySQLDriver).OpenConnector(s.DSN(testserver.Root, ""))
		if err != nil {
			t.Fatal(err)
		}
		wrapped := sql.OpenDB(wrap(t, parent, mysqlinit.WithGuard(true)))
		defer wrapped.Close()
		wrapped.SetMaxOpenConns(1)
		for name, db := range map[string]*sql.DB{
			"Wrap":              wrapped,
			"autocommit=1":      onePool(t, s, "guard=true&autocommit=1"),
			"completion_type=0": onePool(t, s, "guard=true&completion_type=0"),
			"NO_CHAIN":          onePool(t, s, "guard=true&completion_type=%27no_chain%27"),
			"an init command":   onePool(t, s, "guard=true&initCommand=CALL+sets()"),
		} {
			testserver.Exec(t, open(t, s.DSN(testserver.Root, "")), "DROP PROCEDURE IF EXISTS sets", "CREATE PROCEDURE sets() SET @a = 1")
			before := readVariable(t, db, "CONNECTION_ID()")
			for range 2 {
				err := mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
					_, err := tx.ExecContext(ctx, "DO 1")
					return err
				})
				if err != nil {
					t.Error(err)
				}
				tx, err := db.BeginTx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := tx.Rollback(); err != nil {
					t.Error(err)
				}
			}
			if after := readVariable(t, db, "CONNECTION_ID()"); after != before {
				t.Errorf("%s: connection %s, then %s", name, before, after)
			}
		}
	})
}
