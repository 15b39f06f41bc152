package faults

import (
	"errors"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// TestRefused connects to servers that refuse everybody. Each call must connect once and
// return the server's error. Without a call nobody must connect.
func TestRefused(t *testing.T) {
	s := testserver.New(t, testserver.Config{Args: []string{"--max-connections=10", "--max-heap-table-size=16384"}})
	admin := openDB(t, s.DSN(testserver.Root, ""))
	admin.SetMaxOpenConns(1)
	testserver.Exec(t, admin,
		"CREATE USER faulty IDENTIFIED BY 'password'", "GRANT ALL ON test.* TO faulty",
		"CREATE TABLE small (filler CHAR(255)) ENGINE=MEMORY")
	for range 10 {
		conn, err := openDB(t, s.DSN(testserver.App, "")).Conn(t.Context())
		if err != nil {
			break // the server is full
		}
		defer func() { _ = conn.Close() }()
	}
	for _, refusal := range []struct {
		number  uint16
		account string
		params  string
		init    bool // the server refuses the preparation, not the connection
	}{
		{1040, testserver.App, "", false},
		{1045, "faulty:another", "", false},
		{1114, "faulty:password", "&initCommand=INSERT+INTO+small+SELECT+'full'+FROM+seq_1_to_10000", true},
	} {
		if refusal.number != 1040 {
			testserver.Exec(t, admin, "SET GLOBAL max_connections = 500")
		}
		f := newFaulty(t, s, refusal.account, "", refusal.params)
		f.Set(nil)
		f.storm(t, time.Hour, func(err error) bool {
			if bare, ok := err.(*mysql.MySQLError); ok && !refusal.init {
				return bare.Number == refusal.number
			}
			initErr, ok := errors.AsType[*mysqlinit.InitError](err)
			if !ok || !refusal.init {
				return false
			}
			server, ok := errors.AsType[*mysql.MySQLError](initErr)
			return ok && server.Number == refusal.number
		})
		if n := f.Connects(); n != *callers {
			t.Errorf("%d: %d connects for %d calls", refusal.number, n, *callers)
		}
		time.Sleep(200 * time.Millisecond)
		if n := f.Connects(); n != *callers {
			t.Errorf("%d: %d extra connects while nobody called", refusal.number, n-*callers)
		}
		if !f.Closed() {
			t.Errorf("%d: connections are left", refusal.number)
		}
	}
	wantNoThreads(t, admin)
}
