package docs

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// This is the code of docs/migrating.md. TestDocsCodeCompiles compares the two.

func openDSNBefore() (*sql.DB, error) {
	db, err := sql.Open("mysql", "user:password@tcp(db:3306)/app?transaction_isolation=%27READ-COMMITTED%27&lock_wait_timeout=60")
	return db, err
}

func openDSNNow() (*sql.DB, error) {
	db, err := sql.Open("mysqlinit", "user:password@tcp(db:3306)/app?lock_wait_timeout=60")
	return db, err
}

type initConnector struct{ driver.Connector }

func (c initConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	_, err = conn.(driver.ExecerContext).ExecContext(ctx, "SET SESSION lock_wait_timeout = 60", nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func wrapNow(parent driver.Connector) (driver.Connector, error) {
	connector, err := mysqlinit.Wrap(parent, mysqlinit.WithInitCommand("SET SESSION lock_wait_timeout = 60"))
	return connector, err
}

func TestMigratingDSNs(t *testing.T) {
	for _, open := range []func() (*sql.DB, error){openDSNBefore, openDSNNow} {
		db, err := open()
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
	docs, err := os.ReadFile("docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	server := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"}).DSN(testserver.App, "")
	testserver.Exec(t, pool(t, "mysql", server), "CREATE TABLE found (n INT)", "INSERT INTO found VALUES (1)")
	elsewhere, fromGo, _ := strings.Cut(string(docs), "\n## Go:")
	for text, found := range map[string]int64{elsewhere: 1, fromGo: 0} { // programs in other languages counted rows found
		const base = "user:password@tcp(db:3306)/app"
		dsns := regexp.MustCompile(regexp.QuoteMeta(base)+`\?[^\s"`+"`"+`]+`).FindAllString(text, -1)
		if len(dsns) == 0 {
			t.Fatal("no DSN is found")
		}
		for _, dsn := range dsns {
			_, keys, _ := strings.Cut(dsn, base+"?")
			db, err := sql.Open("mysqlinit", server+"?verify=true&"+keys)
			if err != nil {
				t.Errorf("%s: %v", dsn, err)
				continue
			}
			defer db.Close()
			wantMigrated(t, dsn, db)
			if got := affected(t, db, "UPDATE found SET n = 1"); got != found {
				t.Errorf("%s: %d rows affected by an UPDATE that changes nothing, want %d", dsn, got, found)
			}
		}
	}
}

func TestMigratingConnector(t *testing.T) {
	d := &mysql.MySQLDriver{}
	parent, err := d.OpenConnector(testserver.Borrow(t, testserver.Config{Binlog: "MIXED"}).DSN(testserver.App, "tx_isolation=%27READ-COMMITTED%27"))
	if err != nil {
		t.Fatal(err)
	}
	now, err := wrapNow(parent)
	if err != nil {
		t.Fatal(err)
	}
	for name, connector := range map[string]driver.Connector{"before": initConnector{parent}, "now": now} {
		db := sql.OpenDB(connector)
		defer db.Close()
		wantMigrated(t, name, db)
	}
}

// wantMigrated fails unless a session has what every line of docs/migrating.md asks for.
func wantMigrated(t *testing.T, what string, db *sql.DB) {
	t.Helper()
	var session string
	err := db.QueryRowContext(t.Context(), "SELECT CONCAT_WS(' ', @@SESSION.tx_isolation, @@SESSION.lock_wait_timeout)").Scan(&session)
	if want := "READ-COMMITTED 60"; err != nil || session != want {
		t.Errorf("%s: the session is %q, want %q; %v", what, session, want, err)
	}
}
