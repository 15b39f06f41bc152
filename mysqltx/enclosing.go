package mysqltx

import (
	"context"
	"database/sql"
	"iter"
	"sync"
)

// enclosing is the transaction of a Run, as the calls inside its function see it. They
// find it through their context, use its transaction instead of beginning another, and
// note in it what the function might not return.
type enclosing struct {
	outer   *enclosing // around this one, on another database; or nil
	db      *sql.DB
	conn    session
	tx      *sql.Tx
	opts    sql.TxOptions
	watched bool // Run notices at the end if the transaction is lost

	mu         sync.Mutex
	savepoints int   // that calls inside have set and not given up, each inside the one before
	closed     bool  // no call can join any more: COMMIT or ROLLBACK comes next
	over       bool  // Run has returned; contexts can outlive it
	doomed     error // why it must not be committed: a part of it could not be undone
	suspect    error // what has ended it, if it turns out to be lost
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
			if !e.isOver() && !yield(e) {
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

// The methods below also take nil, a transaction that no Run has begun.

// enter lets a call set a savepoint. known is how many savepoints of this transaction
// there are around the call. If there are more, another call runs at the same time, and
// each would undo or release what the other does.
func (e *enclosing) enter(known int) error {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return errInFlight
	case e.savepoints > known:
		return errAtOnce
	}
	e.savepoints++
	return nil
}

func (e *enclosing) leave() {
	if e != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.savepoints--
	}
}

// close lets no further call join. It is an error if one still runs.
func (e *enclosing) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.savepoints > 0 {
		return errInFlight
	}
	return e.doomed
}

func (e *enclosing) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed, e.over = true, true
}

func (e *enclosing) isOver() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.over
}

// doom keeps the transaction from being committed. The function might not return err.
func (e *enclosing) doom(err error) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.doomed == nil {
		e.doomed = err
	}
}

// noteSuspect notes an error that can have ended the transaction. The function might
// not return it. Error 1205 doesn't count, because it usually leaves the transaction
// open: the function can go on, and end the transaction later by DDL.
func (e *enclosing) noteSuspect(err error) {
	if e == nil || !mayEndTransaction(err) || hasNumber(err, errLockWaitTimeout) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.suspect = err
}

// notedSuspect returns the error that has ended the transaction, or nil.
func (e *enclosing) notedSuspect() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.suspect
}
