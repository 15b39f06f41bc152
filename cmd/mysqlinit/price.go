package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// price shows what READ COMMITTED takes away: two sessions that find a slot
// free, with FOR UPDATE, and book it.
func (st *stage) price(ctx context.Context) error {
	st.title("4. The price: no gap locks")
	st.paragraph(plain, "Two sessions look for a booking between 9 and 10, with FOR UPDATE, find none, and book. First through the plain driver, then through this one.")
	if err := st.book(ctx, st.plain, 9); err != nil {
		return err
	}
	if err := st.book(ctx, st.prepared, 19); err != nil {
		return err
	}
	st.paragraph(plain, "Where code relies on that lock: a unique key; or BeginTx with sql.LevelRepeatableRead or LevelSerializable, for that transaction alone; or a second pool with isolation=server.")
	return nil
}

// book lets both sessions look for a free slot and then book it.
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

	// A's INSERT may wait for B's gap lock until B's own shows the deadlock.
	statement := insert("A")
	st.say(threadA, plain, statement)
	answered := make(chan error, 1)
	go func() {
		_, err := a.conn.ExecContext(ctx, statement)
		answered <- err
	}()
	var aErr error
	waiting := false
	select {
	case aErr = <-answered:
		a.answer(aErr, "OK")
	case <-time.After(500 * time.Millisecond):
		waiting = true
		st.say(threadA, bold, "  … waits for B's gap lock")
	}
	bErr := b.exec(ctx, insert("B"))
	if waiting {
		aErr = <-answered
		a.answer(aErr, "OK")
	}
	for _, x := range []struct {
		*actor
		err error
	}{{a, aErr}, {b, bErr}} {
		if x.err == nil {
			x.exec(ctx, "COMMIT")
		}
	}
	var booked int
	if err := a.conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+st.table+" WHERE slot = ?", slot).Scan(&booked); err != nil {
		return err
	}
	switch booked {
	case 1:
		st.verdict(good, "Booked once: the gap lock made one of them a deadlock's victim, to be run again.")
	case 2:
		st.verdict(bad, "Booked twice: READ COMMITTED locks no gaps.")
	default:
		st.verdict(plain, fmt.Sprintf("Booked %d times.", booked))
	}
	fmt.Fprintln(st.w)
	return errors.Join(a.err, b.err)
}
