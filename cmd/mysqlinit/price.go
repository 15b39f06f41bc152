package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// price plays act 4, which shows what READ COMMITTED takes away: two sessions
// find a slot free, with FOR UPDATE, and book it.
func (st *stage) price(ctx context.Context) error {
	st.title("4. The price: no gap locks")
	st.paragraph(plain, "Two sessions look for a booking between 9 and 10, with FOR UPDATE. Both find none, and book. First through the plain driver, then through this one.")
	if err := st.book(ctx, st.plain, 9); err != nil {
		return err
	}
	if err := st.book(ctx, st.prepared, 19); err != nil {
		return err
	}
	st.paragraph(plain, "If your code relies on that lock, use a unique key; or BeginTx with sql.LevelRepeatableRead or LevelSerializable, for that transaction alone; or a second pool with isolation=server.")
	return nil
}

// book makes both sessions look for a free slot and then book it.
func (st *stage) book(ctx context.Context, db *sql.DB, slot int) error {
	a, b, done, err := st.connect(ctx, db)
	if err != nil {
		return err
	}
	defer done()
	look := fmt.Sprintf("SELECT name FROM %s WHERE slot BETWEEN %d AND %d FOR UPDATE", st.table, slot, slot+1)
	insert := func(who string) string {
		return fmt.Sprintf("INSERT INTO %s (name, slot) VALUES ('%s-%d', %d)", st.table, who, slot, slot)
	}
	a.exec(ctx, "START TRANSACTION")
	b.exec(ctx, "START TRANSACTION")
	a.get(ctx, look)
	b.get(ctx, look)

	// At REPEATABLE READ, A's INSERT waits for B's gap lock, and B's INSERT then
	// makes it a deadlock.
	var bErr error
	aErr := a.execThen(ctx, insert("A"), func() { bErr = b.exec(ctx, insert("B")) })
	if aErr == nil {
		a.exec(ctx, "COMMIT")
	}
	if bErr == nil {
		b.exec(ctx, "COMMIT")
	}

	var booked int
	if err := a.conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+st.table+" WHERE slot = ?", slot).Scan(&booked); err != nil {
		return err
	}
	switch {
	case booked == 0 && st.slowDeadlocks:
		st.verdict(plain, "Booked by neither: "+noDeadlocks)
	case booked == 1:
		st.verdict(good, "Booked once: the gap lock made one of them the victim of a deadlock, to be run again.")
	case booked == 2:
		st.verdict(bad, "Booked twice: READ COMMITTED locks no gaps.")
	default:
		st.verdict(plain, fmt.Sprintf("Booked %d times.", booked))
	}
	fmt.Fprintln(st.w)
	return errors.Join(a.err, b.err)
}

// lockPatience is longer than an INSERT takes that waits for no lock, even on a
// busy server.
const lockPatience = 500 * time.Millisecond

// execThen runs a statement and then next. If the statement waits for a lock, next
// runs while it waits.
func (x *actor) execThen(ctx context.Context, statement string, next func()) error {
	x.say(x.thread, plain, statement)
	answered := make(chan error, 1)
	go func() {
		_, err := x.conn.ExecContext(ctx, statement)
		answered <- err
	}()
	select {
	case err := <-answered:
		x.answer(err, "OK")
		next()
		return err
	case <-time.After(lockPatience):
		x.say(x.thread, bold, "  … waits for B's gap lock")
		next()
		err := <-answered
		x.answer(err, "OK")
		return err
	}
}
