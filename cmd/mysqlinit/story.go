package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// story plays acts 1 and 2 of the race: two transactions get-or-create the same
// row, step by step, through each driver.
func (st *stage) story(ctx context.Context) error {
	for _, act := range []struct {
		title, key string
		db         *sql.DB
	}{
		{`1. sql.Open("mysql", dsn): the plain driver`, "ann", st.plain},
		{`2. sql.Open("mysqlinit", dsn): this driver`, "bob", st.prepared},
	} {
		st.title(act.title)
		if err := st.getOrCreateTwice(ctx, act.db, act.key); err != nil {
			return err
		}
	}
	return nil
}

// getOrCreateTwice makes B read, A insert and commit, then B insert and read
// again.
func (st *stage) getOrCreateTwice(ctx context.Context, db *sql.DB, key string) error {
	a, b, done, err := st.connect(ctx, db)
	if err != nil {
		return err
	}
	defer done()
	get := fmt.Sprintf("SELECT name FROM %s WHERE name = '%s'", st.table, key)
	create := fmt.Sprintf("INSERT INTO %s (name) VALUES ('%s')", st.table, key)

	b.exec(ctx, "START TRANSACTION")
	b.get(ctx, get)
	a.exec(ctx, "START TRANSACTION")
	a.exec(ctx, create)
	a.exec(ctx, "COMMIT")
	insertErr := b.exec(ctx, create)
	if errorNumber(insertErr) == errRecordChanged {
		b.exec(ctx, "ROLLBACK")
		st.verdict(bad, "B's transaction is gone: this server (MariaDB 11.6 and later, with innodb_snapshot_isolation) ends a REPEATABLE READ transaction with error 1020. Older servers continue and see no row.")
		return errors.Join(a.err, b.err)
	}
	found := b.get(ctx, get)
	b.exec(ctx, "COMMIT")
	switch {
	case errorNumber(insertErr) == errDuplicateKey && found:
		st.verdict(good, "B lost the race (1062), read again, and has the row: READ COMMITTED takes a new snapshot for each statement.")
	case errorNumber(insertErr) == errDuplicateKey:
		st.verdict(bad, "B cannot insert the row because it exists, and cannot read it because B's snapshot is older. Get-or-create fails.")
	default:
		st.verdict(plain, "This server did not answer as expected: see above.")
	}
	return errors.Join(a.err, b.err)
}
