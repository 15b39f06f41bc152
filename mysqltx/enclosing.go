package mysqltx

import (
	"context"
	"database/sql"
	"iter"
	"sync/atomic"
)

// enclosing is the transaction of a Run or a GetOrCreate, as the calls inside its
// function see it. They find it through their context, use its transaction
// instead of beginning another, and note in it what the function might not return.
type enclosing struct {
	outer *enclosing // around this one, on another database; or nil
	db    *sql.DB    // nil if it isn't known
	tx    *sql.Tx
	opts  sql.TxOptions
	over  atomic.Bool // set when it has returned; contexts can outlive it

	doomed  error // why it must not be committed: a part of it could not be undone
	suspect error // what has ended it, if it turns out to be lost
}

type enclosingKey struct{}

// innermost returns the transaction nearest to a context, over or not, or nil.
func innermost(ctx context.Context) *enclosing {
	e, _ := ctx.Value(enclosingKey{}).(*enclosing)
	return e
}

// allEnclosing returns the transactions around a call, the innermost first.
func allEnclosing(ctx context.Context) iter.Seq[*enclosing] {
	return func(yield func(*enclosing) bool) {
		for e := innermost(ctx); e != nil; e = e.outer {
			if !e.over.Load() && !yield(e) {
				return
			}
		}
	}
}

// enclosingOn returns the transaction on db around a call, or nil.
func enclosingOn(ctx context.Context, db *sql.DB) *enclosing {
	for e := range allEnclosing(ctx) {
		if db != nil && e.db == db {
			return e
		}
	}
	return nil
}

// enclosingOf returns the transaction around a call if q works in it, or nil.
func enclosingOf(ctx context.Context, q Querier) *enclosing {
	tx := beneath[*sql.Tx](q)
	for e := range allEnclosing(ctx) {
		if tx != nil && e.tx == tx {
			return e
		}
	}
	return nil
}

// doom keeps q's transaction from being committed, if a Run or GetOrCreate has
// begun it. The function might not return err.
func doom(ctx context.Context, q Querier, err error) {
	if e := enclosingOf(ctx, q); e != nil && e.doomed == nil {
		e.doomed = err
	}
}

// suspect notes an error that can have ended q's transaction. The function might
// not return it. Error 1205 doesn't count, because it usually leaves the
// transaction open: the function can go on, and end the transaction later by DDL.
func suspect(ctx context.Context, q Querier, err error) {
	if !mayEndTransaction(err) || hasNumber(err, errLockWaitTimeout) {
		return
	}
	if e := enclosingOf(ctx, q); e != nil {
		e.suspect = err
	}
}
