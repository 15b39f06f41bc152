package mysqltx

import (
	"context"
	"database/sql"
	"errors"
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
// get looks for the row. If there is none, it returns [sql.ErrNoRows] (wrapped or not)
// or an error of [WithNotFoundIf]. It appends lock to its SELECT; lock is "" or a
// locking clause that begins with a space. create inserts the row with a plain INSERT,
// which fails on a duplicate key. It doesn't use IGNORE or ON DUPLICATE KEY UPDATE,
// because they hide who created the row. Both functions use the Querier and the context
// they are given, and return the errors they get.
//
// After a duplicate key, get reads again with a shared lock, which sees the latest
// committed row. After create has succeeded, get is called once more: all callers
// get the same value, and it is an error if create made no row, or another row than get
// looks for. [WithLastRead] leaves that call out. If create keeps colliding with a row
// that get doesn't find, the error is a [ConflictError].
//
// Outside a transaction (a *sql.DB, or a *sql.Conn that isn't in one) all statements
// run with autocommit, as others do there. So create is one INSERT: if it takes several
// statements, which have to be undone together, use [Run]. Deadlocks and the like
// are retried as Run does it, with the same options. A connection lost during create is
// an [AmbiguousCommitError]; a second call finds the row or creates it. If the context
// ends during create, it is not known whether the row was created. Inside a Run on the
// same *sql.DB, with its ctx, that Run's transaction is used.
//
// In a transaction (a *sql.Tx, or a *sql.Conn after BEGIN; from one goroutine at a
// time) create runs in a savepoint, so an error doesn't undo what the transaction
// did before, and create's changes are rolled back. If that isn't possible, because a
// table without transactions was changed anywhere in the transaction, a duplicate
// key is an error that says so. Errors that end the transaction are returned unchanged,
// for [Run] to retry: a deadlock (1213), which two racers at SERIALIZABLE always meet,
// and 1020 on MariaDB 11.6 and later at REPEATABLE READ.
func GetOrCreate[T any](ctx context.Context, q Querier,
	get func(ctx context.Context, q Querier, lock string) (T, error),
	create func(ctx context.Context, q Querier) (T, error),
	opts ...Option,
) (value T, created bool, err error) {
	if q == nil || get == nil || create == nil {
		return value, false, errors.New("mysqltx: GetOrCreate needs a Querier and two functions")
	}
	s, err := newSettings(opts)
	if err != nil {
		return value, false, err
	}
	g := getOrCreate[T]{settings: s, q: q, get: get, create: create}
	if outer := enclosingOn(ctx, beneath[*sql.DB](q)); outer != nil {
		g.q = outer.tx
	}
	if err := g.do(ctx); err != nil {
		return value, false, err
	}
	return g.value, g.created, nil
}

// getOrCreate is one call of GetOrCreate.
type getOrCreate[T any] struct {
	settings *settings
	q        Querier
	get      func(ctx context.Context, q Querier, lock string) (T, error)
	create   func(ctx context.Context, q Querier) (T, error)

	value   T
	created bool
}

func (g *getOrCreate[T]) do(ctx context.Context) error {
	switch {
	case isTransaction(g.q):
		return g.inTransaction(ctx)
	case isPool(g.q):
		return g.autocommit(ctx, false)
	}
	// A connection that might be in a transaction, or a Querier that doesn't show
	// which of the three it is.
	found, err := g.find(ctx, "")
	if found || err != nil {
		return err
	}
	open, err := inTransaction(ctx, plain(g.q))
	switch {
	case err != nil:
		return err
	case open:
		return g.makeOrFind(ctx, g.makeInTransaction)
	}
	return g.autocommit(ctx, true)
}

// find gets the row, if it is there.
func (g *getOrCreate[T]) find(ctx context.Context, lock string) (found bool, err error) {
	g.value, err = g.get(ctx, g.q, lock)
	if g.settings.isNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// makeOrFind makes the row, or finds the one that it collides with. make reports whether
// its error is a duplicate key and it has left nothing.
func (g *getOrCreate[T]) makeOrFind(ctx context.Context, make func(context.Context) (collided bool, err error)) error {
	var conflict error
	for range maxCreates {
		collided, err := make(ctx)
		if !collided {
			return err
		}
		conflict = err
		if found, err := g.find(ctx, sharedLock); found || err != nil {
			return err
		}
	}
	return &ConflictError{Key: keyName(conflict), Err: conflict}
}

// make creates the row, and reads it.
func (g *getOrCreate[T]) make(ctx context.Context, lock string) (err error) {
	g.created = false
	if g.value, err = g.create(ctx, g.q); err != nil {
		return err
	}
	g.created = true
	if g.settings.readsLast {
		return g.readLast(ctx, lock)
	}
	return nil
}

func (g *getOrCreate[T]) readLast(ctx context.Context, lock string) error {
	found, err := g.find(ctx, lock)
	if err == nil && !found {
		return errNothingCreated
	}
	return err
}

func (g *getOrCreate[T]) inTransaction(ctx context.Context) error {
	found, err := g.find(ctx, "")
	if !found && err == nil {
		err = g.makeOrFind(ctx, g.makeInTransaction)
	}
	enclosingOf(ctx, g.q).noteSuspect(err)
	return err
}

func (g *getOrCreate[T]) makeInTransaction(ctx context.Context) (collided bool, err error) {
	intact, err := inSavepoint(ctx, g.q, func(ctx context.Context) error { return g.make(ctx, "") })
	return intact && !g.created && g.settings.isDuplicate(err), err
}

// autocommit works on a pool, or on a connection that is in no transaction. looked
// reports whether get has just found no row.
func (g *getOrCreate[T]) autocommit(ctx context.Context, looked bool) error {
	return g.settings.retry(ctx, func() (again bool, err error) {
		if err = g.autocommitOnce(ctx, looked); err == nil {
			return false, nil
		}
		looked = false
		again = g.settings.retryable(err) || g.settings.idempotent && isAmbiguous(err)
		if again && !isPool(g.q) && needsOtherConnection(err) {
			return false, &unrepeatableError{err: err, reason: errNoOther}
		}
		return again, err
	})
}

func (g *getOrCreate[T]) autocommitOnce(ctx context.Context, looked bool) error {
	switch {
	case g.created: // by the attempt before, which failed later
		return g.readLast(ctx, sharedLock)
	case !looked:
		if found, err := g.find(ctx, ""); found || err != nil {
			return err
		}
	}
	return g.makeOrFind(ctx, func(ctx context.Context) (collided bool, err error) {
		err = g.make(ctx, sharedLock)
		if !g.created && unknownOutcome(err) && ctx.Err() == nil && !isFinal(err) && !isAmbiguous(err) {
			err = &AmbiguousCommitError{Err: err}
		}
		return !g.created && g.settings.isDuplicate(err), err
	})
}
