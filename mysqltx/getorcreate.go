package mysqltx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// sharedLock makes a SELECT read the latest committed row, also under REPEATABLE
// READ. MySQL and MariaDB both take it, and it needs no more than SELECT. Two
// that lost the same race may hold it at once, where FOR UPDATE would deadlock them.
const sharedLock = " LOCK IN SHARE MODE"

// maxCreates is how often create is tried where each try collides with a row that
// get does not find. One that is deleted in between is a reason for another try.
const maxCreates = 5

// GetOrCreate returns the row that get finds or create makes, whatever the
// isolation level and whoever else is creating it. created is true for exactly
// one caller.
//
// get looks for the row and returns [sql.ErrNoRows] (wrapped or not) where there is none.
// It appends lock to its SELECT, which is "" or a locking clause that begins with a space. create
// inserts the row with a plain INSERT, which fails on a duplicate key: not with
// IGNORE or ON DUPLICATE KEY UPDATE, which hide whose row it is. Both use the Querier and context
// they are given, and return the errors they get.
//
// In a transaction (a *sql.Tx, a *sql.Conn after BEGIN) create runs in a savepoint: what the
// transaction did before survives a duplicate key. Then get reads again with a shared
// lock, which sees the latest committed row. Errors that end the transaction come back as
// they are, for [Run]: a deadlock (1213), which two racers at SERIALIZABLE
// always meet, and on MariaDB 11.6 and later 1020 at REPEATABLE READ.
//
// Otherwise create runs in a transaction of its own, which is retried as by Run. A connection lost
// during its COMMIT is an [AmbiguousCommitError]; calling again finds the row, or
// creates it. Within a Run on the same *sql.DB, with its ctx, the
// transaction of that Run is used.
//
// After create has succeeded get is asked once more, for a create that has made no row, or
// another than get looks for, is an error. Where create collides again and again with a row
// that get does not find, the error is a [ConflictError]. On any error create's changes are
// rolled back.
func GetOrCreate[T any](ctx context.Context, q Querier,
	get func(ctx context.Context, q Querier, lock string) (T, error),
	create func(ctx context.Context, q Querier) (T, error),
) (value T, created bool, err error) {
	if q == nil || get == nil || create == nil {
		return value, false, errors.New("mysqltx: GetOrCreate needs a Querier and two functions")
	}
	g := getOrCreate[T]{get, create}
	if db, ok := q.(*sql.DB); ok {
		if a := attemptIn(ctx, db); a != nil {
			q = a.tx
		}
	}
	switch q := q.(type) {
	case transaction:
		return g.within(ctx, q.(Querier))
	case pool:
		return g.outside(ctx, q.(Querier), func() (session, func(), error) {
			conn, err := q.Conn(ctx)
			if err != nil {
				return nil, nil, err
			}
			return conn, func() { _ = conn.Close() }, nil
		})
	}
	return g.onConn(ctx, q)
}

type getOrCreate[T any] struct {
	get    func(ctx context.Context, q Querier, lock string) (T, error)
	create func(ctx context.Context, q Querier) (T, error)
}

// within works in q's transaction.
func (g getOrCreate[T]) within(ctx context.Context, q Querier) (value T, created bool, err error) {
	value, err = g.get(ctx, q, "")
	if !errors.Is(err, sql.ErrNoRows) {
		return value, false, err
	}
	return g.createWithin(ctx, q)
}

// createWithin creates the row, or gets what was in the way of that.
func (g getOrCreate[T]) createWithin(ctx context.Context, q Querier) (value T, created bool, err error) {
	var none T
	var conflict error
	for range maxCreates {
		intact, err := inSavepoint(ctx, q, func(ctx context.Context) (err error) {
			if value, err = g.create(ctx, q); err != nil {
				return err
			}
			_, err = g.get(ctx, q, "")
			if errors.Is(err, sql.ErrNoRows) {
				return errNothingCreated
			}
			return err
		})
		if err == nil {
			return value, true, nil
		}
		if !intact || !IsDuplicateKey(err) {
			return none, false, err
		}
		conflict = err
		value, err = g.get(ctx, q, sharedLock)
		if !errors.Is(err, sql.ErrNoRows) {
			return value, false, err
		}
	}
	return none, false, &ConflictError{Key: keyName(conflict), Err: conflict}
}

// onConn works on a connection that may be in a transaction, or on a Querier that
// does not show what it is.
func (g getOrCreate[T]) onConn(ctx context.Context, q Querier) (value T, created bool, err error) {
	value, err = g.get(ctx, q, "")
	if !errors.Is(err, sql.ErrNoRows) {
		return value, false, err
	}
	var none T
	open, err := inTransaction(ctx, q)
	if err != nil {
		return none, false, err
	}
	if open {
		return g.createWithin(ctx, q)
	}
	conn, ok := q.(session)
	if !ok {
		return none, false, fmt.Errorf("mysqltx: GetOrCreate cannot begin a transaction on a %T, which is in none: give it the *sql.DB, *sql.Conn or *sql.Tx beneath", q)
	}
	return g.outside(ctx, q, func() (session, func(), error) { return conn, func() {}, nil })
}

// outside works on what is in no transaction: create runs in one of its own, on a
// connection that connect lends.
func (g getOrCreate[T]) outside(ctx context.Context, q Querier, connect func() (session, func(), error)) (value T, created bool, err error) {
	s := &settings{attempts: DefaultAttempts}
	err = s.retry(ctx, func() (err error) {
		created = false
		value, err = g.get(ctx, q, "")
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		conn, giveBack, err := connect()
		if err != nil {
			return err
		}
		defer giveBack()
		err = s.once(ctx, nil, conn, func(ctx context.Context, tx *sql.Tx) (err error) {
			value, created, err = g.createWithin(ctx, tx)
			return err
		})
		if conn == any(q) && s.retryable(err) && needsOtherConnection(err) {
			return &unrepeatableError{err: err, reason: errNoOther}
		}
		return err
	})
	if err != nil {
		var none T
		return none, false, err
	}
	return value, created, nil
}
