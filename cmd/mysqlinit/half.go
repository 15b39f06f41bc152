package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
)

// half plays act 5: a deadlock ends a transaction halfway, and the program
// swallows the error. It reports whether the guard kept the transaction whole.
func (st *stage) half(ctx context.Context, dsn string) (whole bool, err error) {
	st.title("5. One swallowed error: half a transaction")
	st.paragraph(plain, "A inserts an order, takes a pen out of stock, and inserts the payment. Meanwhile B adds ten pens and looks at the order: a deadlock, which ends the smaller transaction, A's. The program swallows that error. First without the guard (the plain driver does the same), then with guard=true in the DSN.")
	if _, err := st.orderAndPay(ctx, dsn, false, 1); err != nil {
		return false, err
	}
	fmt.Fprintln(st.w)
	return st.orderAndPay(ctx, dsn, true, 2)
}

// orderAndPay makes A the victim of a deadlock between its order and its payment,
// and lets it go on. It reports whether both are committed or neither is.
func (st *stage) orderAndPay(ctx context.Context, dsn string, guard bool, number int) (whole bool, err error) {
	db, err := openWithGuard(dsn, guard)
	if err != nil {
		return false, err
	}
	defer db.Close()
	a, b, done, err := st.open(ctx, db)
	if err != nil {
		return false, err
	}
	defer done()
	st.columns(fmt.Sprintf("A  (guard=%t)", guard), "B")
	order, payment := fmt.Sprintf("order-%d", number), fmt.Sprintf("payment-%d", number)
	insert := func(name string) string { return fmt.Sprintf("INSERT INTO %s (name) VALUES ('%s')", st.table, name) }
	get := func(name string) string { return fmt.Sprintf("SELECT name FROM %s WHERE name = '%s'", st.table, name) }
	takePen := "DELETE FROM " + st.table + " WHERE name = 'pen1'"
	tenPens := "INSERT INTO " + st.table + " (name) VALUES ('pen0'), ('pen1'), ('pen2'), ('pen3'), ('pen4'), ('pen5'), ('pen6'), ('pen7'), ('pen8'), ('pen9')"

	if err := errors.Join(a.begin(ctx), a.exec(ctx, insert(order)), b.begin(ctx), b.exec(ctx, tenPens)); err != nil {
		return false, err
	}
	// Each waits for a row of the other. It does not matter who waits first: InnoDB
	// ends the transaction that has changed fewer rows.
	var takeErr error
	b.getWhile(ctx, get(order)+" FOR UPDATE", "A holds this row", func() {
		takeErr = a.exec(ctx, takePen)
		if errorNumber(takeErr) != errDeadlock {
			a.rollback() // so that B's wait ends
			return
		}
		a.say(a.thread, bold, "  (the program swallows this error)")
	})
	b.rollback()
	if errorNumber(takeErr) != errDeadlock {
		if errorNumber(takeErr) == errLockWait && st.slowDeadlocks {
			st.verdict(plain, "No transaction was ended: "+noDeadlocks)
		} else {
			st.verdict(plain, "This server did not answer as expected: see above.")
		}
		return true, errors.Join(a.err, b.err)
	}
	a.exec(ctx, insert(payment))
	commitErr := a.commit()
	ordered := b.get(ctx, get(order))
	paid := b.get(ctx, get(payment))
	switch {
	case commitErr == nil && paid && !ordered:
		st.verdict(bad, "Half of A's transaction is committed, and Commit returned no error: a payment without an order. The deadlock had rolled back the order, and the server ran the rest without it.")
	case errors.Is(commitErr, mysqlinit.ErrTransactionLost) && !paid && !ordered:
		st.verdict(good, "Nothing of A's transaction is committed: the guard did not send the INSERT, and Commit rolled back. Commit's error:")
		st.paragraph(plain, commitErr.Error())
	default:
		st.verdict(plain, "This server did not answer as expected: see above.")
	}
	return paid == ordered, errors.Join(a.err, b.err)
}

// openWithGuard opens a DSN through this driver with the guard on or off, whatever
// the DSN has for it.
func openWithGuard(dsn string, on bool) (*sql.DB, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errNotAccepted
	}
	if cfg.Params == nil {
		cfg.Params = map[string]string{}
	}
	cfg.Params["guard"] = strconv.FormatBool(on)
	connector, err := mysqlinit.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// getWhile is get for a query that waits for a lock. Something else happens while
// it waits.
func (x *actor) getWhile(ctx context.Context, query, why string, meanwhile func()) {
	x.say(x.thread, plain, query)
	x.say(x.thread, bold, "  … "+why)
	var name string
	var err error
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		name, err = x.read(ctx, query)
	}()
	meanwhile()
	<-answered
	x.found(name, err)
}
