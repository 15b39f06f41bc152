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

// GetOrCreate returns the row that get finds or create makes, at every isolation
// level but READ UNCOMMITTED, and whoever else is creating it. created is true for exactly
// one caller.
//
// get looks for the row and returns [sql.ErrNoRows] (wrapped or not) where there is none.
// It appends lock to its SELECT, which is "" or a locking clause that begins with a space. create
// inserts the row with a plain INSERT, which fails on a duplicate key: not with
// IGNORE or ON DUPLICATE KEY UPDATE, which hide whose row it is. Both use the Querier and context
// they are given, and return the errors they get.
//
// In a transaction (a *sql.Tx, a *sql.Conn after BEGIN; from one goroutine at a time) create runs in a
// savepoint: what the transaction did before survives a duplicate key. Then get reads again with a shared
// lock, which sees the latest committed row. Errors that end the transaction come back as
// they are, for [Run]: a deadlock (1213), which two racers at SERIALIZABLE
// always meet, and on MariaDB 11.6 and later 1020 at REPEATABLE READ.
//
// Otherwise create runs in a transaction of its own, on a connection that is closed where
// the context ends it, and which is retried as by Run. A connection lost
// during its COMMIT is an [AmbiguousCommitError]; calling again finds the row, or
// creates it. Sessions have autocommit on then, and afterwards. Within a Run on the same *sql.DB, with its ctx, the
// transaction of that Run is used.
//
// After create has succeeded get is asked once more, for a create that has made no row, or
// another than get looks for, is an error. Where create collides again and again with a row
// that get does not find, the error is a [ConflictError]. On an error create's changes are
// rolled back. Where they cannot be, because a table without transactions was changed
// anywhere in the transaction, a duplicate key is an error that says so.
func GetOrCreate[T any](ctx context.Context, q Querier,
	get func(ctx context.Context, q Querier, lock string) (T, error),
	create func(ctx context.Context, q Querier) (T, error),
) (value T, created bool, err error) {
	if q == nil || get == nil || create == nil {
		return value, false, errors.New("mysqltx: GetOrCreate needs a Querier and two functions")
	}
	g := getOrCreate[T]{get, create}
	if a := attemptOn(ctx, beneath[*sql.DB](q)); a != nil {
		return g.within(ctx, a.tx)
	}
	switch p := q.(type) {
	case transaction:
		return g.within(ctx, q)
	case pool:
		return g.outside(ctx, q, p, nil)
	}
	return g.onConn(ctx, q)
}

type getOrCreate[T any] struct {
	get    func(ctx context.Context, q Querier, lock string) (T, error)
	create func(ctx context.Context, q Querier) (T, error)
}

// within works in q's transaction.
func (g getOrCreate[T]) within(ctx context.Context, q Querier) (value T, created bool, err error) {
	defer func() { suspect(ctx, q, err) }()
	value, err = g.get(ctx, q, "")
	if !errors.Is(err, sql.ErrNoRows) {
		return result(value, false, err)
	}
	return g.createWithin(ctx, q)
}

// createWithin creates the row, or gets what was in the way of that.
func (g getOrCreate[T]) createWithin(ctx context.Context, q Querier) (value T, created bool, err error) {
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
			return result(value, false, err)
		}
		conflict = err
		value, err = g.get(ctx, q, sharedLock)
		if !errors.Is(err, sql.ErrNoRows) {
			return result(value, false, err)
		}
	}
	return result(value, false, &ConflictError{Key: keyName(conflict), Err: conflict})
}

// onConn works on a connection that may be in a transaction, or on a Querier that
// does not show what it is.
func (g getOrCreate[T]) onConn(ctx context.Context, q Querier) (value T, created bool, err error) {
	value, err = g.get(ctx, q, "")
	if !errors.Is(err, sql.ErrNoRows) {
		return result(value, false, err)
	}
	open, err := inTransaction(ctx, q)
	switch {
	case err != nil:
		return result(value, false, err)
	case open:
		return g.createWithin(ctx, q)
	}
	conn, ok := q.(session)
	if !ok {
		return result(value, false, fmt.Errorf("mysqltx: GetOrCreate cannot begin a transaction on a %T, which is in none: give it the *sql.DB, *sql.Conn or *sql.Tx beneath", q))
	}
	return g.outside(ctx, q, nil, conn)
}

// outsideSettings are those of create's own transaction. Its savepoint watches over it.
var outsideSettings = &settings{attempts: DefaultAttempts, contained: true}

// outside works in a transaction of its own: on connections of p, or on own, where get has
// just found no row and which cannot be replaced.
func (g getOrCreate[T]) outside(ctx context.Context, q Querier, p pool, own session) (value T, created bool, err error) {
	s, looked := outsideSettings, own != nil
	err = s.retry(ctx, func() (again bool, err error) {
		created = false // a COMMIT may have failed since
		if !looked {
			value, err = g.get(ctx, q, "")
			if !errors.Is(err, sql.ErrNoRows) {
				return s.retryable(err), err
			}
		}
		looked = false
		conn := own
		if p != nil {
			lent, err := connect(ctx, p)
			if err != nil {
				return s.retryable(err), err
			}
			defer func() { _ = lent.Close() }()
			conn = lent
		}
		again, err = s.once(ctx, beneath[*sql.DB](q), conn, func(ctx context.Context, tx *sql.Tx) (err error) {
			value, created, err = g.createWithin(ctx, tx)
			return err
		})
		if own != nil && again && needsOtherConnection(err) {
			return false, &unrepeatableError{err: err, reason: errNoOther}
		}
		return again, err
	})
	return result(value, created, err)
}

// result has no value beside an error.
func result[T any](value T, created bool, err error) (T, bool, error) {
	if err != nil {
		var none T
		return none, false, err
	}
	return value, created, nil
}
