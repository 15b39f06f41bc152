package mysqltx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// sharedLock makes a SELECT read the latest committed row, even under REPEATABLE
// READ. Both MySQL and MariaDB accept it, and it needs only the SELECT privilege. Two
// transactions that lost the same race can hold it at the same time; FOR UPDATE would
// deadlock them.
const sharedLock = " LOCK IN SHARE MODE"

// maxCreates is how often create is tried if it collides each time with a row that
// get doesn't find. A row that is deleted in between is worth another try.
const maxCreates = 5

// GetOrCreate returns the row that get finds or create makes. It is right at every
// isolation level except READ UNCOMMITTED, no matter who else is creating the row.
// created is true for exactly one caller.
//
// get looks for the row, and returns [sql.ErrNoRows] (wrapped or not) if there is
// none. It appends lock to its SELECT; lock is "" or a locking clause that begins
// with a space. create inserts the row with a plain INSERT, which fails on a
// duplicate key. It doesn't use IGNORE or ON DUPLICATE KEY UPDATE, because they hide
// who created the row. Both functions use the Querier and the context they are given,
// and return the errors they get.
//
// In a transaction (a *sql.Tx, or a *sql.Conn after BEGIN; from one goroutine at a
// time) create runs in a savepoint, so a duplicate key doesn't undo what the
// transaction did before. Then get reads again with a shared lock, which sees the
// latest committed row. Errors that end the transaction are returned unchanged, for
// [Run] to retry: a deadlock (1213), which two racers at SERIALIZABLE always meet, and
// 1020 on MariaDB 11.6 and later at REPEATABLE READ.
//
// Outside a transaction, create runs in its own transaction, which is retried as Run
// does it. Its connection is closed if the context ends it. A connection lost during
// its COMMIT is an [AmbiguousCommitError]; a second call finds the row or creates it.
// The sessions must have autocommit on, and have it on afterwards. Inside a Run on the
// same *sql.DB, with its ctx, that Run's transaction is used.
//
// After create has succeeded, get is called once more: it is an error if create
// made no row, or another row than get looks for. If create keeps colliding with a
// row that get doesn't find, the error is a [ConflictError]. On an error, create's
// changes are rolled back. If that isn't possible, because a table without
// transactions was changed anywhere in the transaction, a duplicate key is an error
// that says so.
func GetOrCreate[T any](ctx context.Context, q Querier,
	get func(ctx context.Context, q Querier, lock string) (T, error),
	create func(ctx context.Context, q Querier) (T, error),
) (value T, created bool, err error) {
	if q == nil || get == nil || create == nil {
		return value, false, errors.New("mysqltx: GetOrCreate needs a Querier and two functions")
	}
	g := getOrCreate[T]{get, create}
	if outer := enclosingOn(ctx, beneath[*sql.DB](q)); outer != nil {
		return g.within(ctx, outer.tx)
	}
	switch p := q.(type) {
	case transaction:
		return g.within(ctx, q)
	case pool:
		return g.onPool(ctx, q, p)
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

// createWithin creates the row in q's transaction, or gets the row that was in the
// way.
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

// onConn works on a connection that might be in a transaction, or on a Querier that
// doesn't show which of the three it is.
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
		return result(value, false, fmt.Errorf("mysqltx: GetOrCreate cannot begin a transaction on a %T, and it is not in one: pass the *sql.DB, *sql.Conn or *sql.Tx inside it", q))
	}
	return g.onIdleConn(ctx, conn)
}

// alone are the settings of create's own transaction. createWithin's savepoint
// watches over that transaction.
var alone = &settings{attempts: DefaultAttempts, contained: true}

// onPool works on connections of p, which is q, with a transaction for create alone.
func (g getOrCreate[T]) onPool(ctx context.Context, q Querier, p pool) (value T, created bool, err error) {
	err = alone.retry(ctx, func() (again bool, err error) {
		if value, err = g.get(ctx, q, ""); !errors.Is(err, sql.ErrNoRows) {
			return alone.retryable(err), err
		}
		conn, err := connect(ctx, p)
		if err != nil {
			return alone.retryable(err), err
		}
		defer func() { _ = conn.Close() }()
		value, created, again, err = g.createAlone(ctx, beneath[*sql.DB](q), conn)
		return again, err
	})
	return result(value, created, err)
}

// onIdleConn works on a connection that is in no transaction, and on which get has
// just found no row. It begins a transaction for create alone.
func (g getOrCreate[T]) onIdleConn(ctx context.Context, conn session) (value T, created bool, err error) {
	looked := true
	err = alone.retry(ctx, func() (again bool, err error) {
		if !looked {
			if value, err = g.get(ctx, conn, ""); !errors.Is(err, sql.ErrNoRows) {
				return alone.retryable(err), err
			}
		}
		looked = false
		value, created, again, err = g.createAlone(ctx, beneath[*sql.DB](conn), conn)
		if again && needsOtherConnection(err) {
			return false, &unrepeatableError{err: err, reason: errNoOther}
		}
		return again, err
	})
	return result(value, created, err)
}

// createAlone creates the row in its own transaction on conn, or gets the row that
// was in the way. If that fails, again reports whether to try again.
func (g getOrCreate[T]) createAlone(ctx context.Context, db *sql.DB, conn session) (value T, created, again bool, err error) {
	again, err = alone.attempt(ctx, db, conn, func(ctx context.Context, tx *sql.Tx) (err error) {
		value, created, err = g.createWithin(ctx, tx)
		return err
	})
	value, created, err = result(value, created, err)
	return value, created, again, err
}

// result leaves out the value if there is an error.
func result[T any](value T, created bool, err error) (T, bool, error) {
	if err != nil {
		var none T
		return none, false, err
	}
	return value, created, nil
}
