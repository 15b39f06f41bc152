package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// race plays all five acts. It reports whether this driver kept its promises: it
// lost no transaction to a row that the transaction could not see, and with the
// guard it left none half committed.
func race(ctx context.Context, out *screen, dsn string, workers, keys int) (kept bool, err error) {
	where := "your server"
	if dsn == "" {
		server, err := testserver.Start(ctx, testserver.Config{Binlog: "MIXED"})
		if err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		dsn, where = server.DSN(testserver.App, ""), "a throwaway server that this program started"
	}
	st := &stage{screen: out, table: "mysqlinit_race_" + strings.ToLower(rand.Text()[:6])}
	if st.prepared, err = mysqlinit.Open(dsn); err != nil {
		return false, err
	}
	defer st.prepared.Close()
	if st.plain, _, err = openPlain(dsn); err != nil {
		return false, err
	}
	defer st.plain.Close()
	for _, db := range []*sql.DB{st.plain, st.prepared} {
		db.SetMaxOpenConns(workers)
		db.SetMaxIdleConns(workers)
	}

	var version string
	var database sql.NullString
	if err := st.plain.QueryRowContext(ctx, "SELECT VERSION(), DATABASE()").Scan(&version, &database); err != nil {
		return false, err
	}
	if !database.Valid {
		return false, errors.New("the DSN names no database: add one after its '/', in which the account can create a table")
	}
	st.paragraph(bold, "Two transactions get-or-create the same row. Server: "+version+", "+where+".")
	if _, err := st.plain.ExecContext(ctx, "CREATE TABLE "+st.table+" (name VARCHAR(64) NOT NULL PRIMARY KEY, slot INT, KEY (slot)) ENGINE=InnoDB"); err != nil {
		return false, err
	}
	defer func() {
		// Ctrl-C ends ctx. The table has to go even then.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if _, dropErr := st.plain.ExecContext(ctx, "DROP TABLE "+st.table); dropErr != nil {
			err = errors.Join(err, fmt.Errorf("dropping table %s: %w", st.table, dropErr))
		}
	}()

	if _, err := st.plain.ExecContext(ctx, "SELECT name FROM "+st.table+" LIMIT 1"); err != nil {
		if strings.Contains(version, "Vitess") {
			return false, errors.New("this keyspace is sharded, so the race needs a table with a vindex, which this program cannot make: name an unsharded keyspace in the DSN")
		}
		return false, fmt.Errorf("reading the table that was just created: %w", err)
	}
	if err := st.story(ctx); err != nil {
		return false, err
	}
	kept, err = st.load(ctx, workers, keys)
	if err != nil {
		return false, err
	}
	if err := st.price(ctx); err != nil {
		return false, err
	}
	whole, err := st.half(ctx, dsn)
	return kept && whole, err
}
