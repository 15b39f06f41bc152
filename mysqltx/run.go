package mysqltx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Run runs fn in a transaction. It commits if fn returns nil and rolls back if fn
// returns an error or panics.
//
// If the server rolled the transaction back for the sake of another one, or the
// connection was lost before COMMIT (or vtgate lost a shard), Run runs fn again, up to
// [WithAttempts] times in all. Before each retry it waits for a random time that grows,
// and it takes a new connection. After error 1205, a lock wait timeout, it retries only
// once, and after lost connections twice. So fn must be safe to run several times: what
// it does outside the database isn't undone.
//
// fn uses tx from one goroutine at a time, and passes its ctx to whatever it calls. With
// errgroup and its like, let the goroutines of a group not share tx: a call that fails
// would undo what another one does. Run refuses a nested call that runs at the same time
// as another one, and commits nothing if one still runs when fn returns, or fails in
// another goroutine.
//
// fn doesn't end tx, neither with a method nor with a statement. It returns the errors
// it gets: an error that Run doesn't retry is returned at once, unchanged.
//
// Half a transaction is never committed. If the server has ended the transaction
// and fn nevertheless returns nil, Run returns [ErrTransactionLost]. One case can't
// be recognised without the guard: a fn that commits, with DDL for example, and then
// returns error 1213 or loses its connection runs again. With it, there are two others:
// a committing statement whose own answer is lost, and a procedure or a prepared
// statement that ends the transaction and begins another.
//
// On a connection of mysqlinit with guard=true, Run sends BEGIN, what fn sends, and COMMIT.
// See [WithSentinel] for other connections. Their sessions must have autocommit on,
// which is the server's default.
//
// ctx bounds everything except COMMIT and ROLLBACK, because their answer is what
// matters. The driver's readTimeout bounds those two. Cleaning up the connection
// can take five more seconds. A COMMIT that succeeds after ctx has ended is a
// success. A COMMIT that was sent and got no answer is an [AmbiguousCommitError].
// If ctx ends during a wait, the error wraps both the cause of that and the last
// attempt's error.
//
// A Run inside fn, on the same db and with the ctx that fn was given, joins the
// transaction. It runs its function once, in a savepoint that is rolled back if
// the function fails, and leaves retries to the outer Run. It is an error if it
// asks for another isolation level or read-only mode than the outer Run has. Its
// other options are ignored.
func Run(ctx context.Context, db *sql.DB, fn func(ctx context.Context, tx *sql.Tx) error, opts ...Option) error {
	if db == nil || fn == nil {
		return errors.New("mysqltx: Run needs a database and a function")
	}
	s, err := newSettings(opts)
	if err != nil {
		return err
	}
	if outer := enclosingOn(ctx, db); outer != nil {
		return join(ctx, outer, s, fn)
	}
	return s.retry(ctx, func() (again bool, err error) {
		conn, err := connect(ctx, db)
		if err != nil {
			return s.retryable(err), err
		}
		defer func() { _ = conn.Close() }()
		return s.attempt(ctx, db, conn, fn)
	})
}

// join runs fn in the transaction of the Run around it.
func join(ctx context.Context, outer *enclosing, s *settings, fn func(context.Context, *sql.Tx) error) error {
	has, want := outer.opts, s.tx
	if want.Isolation != sql.LevelDefault && want.Isolation != has.Isolation || want.ReadOnly && !has.ReadOnly {
		return fmt.Errorf("mysqltx: a Run within a Run on the same database joins its transaction (isolation level %v, read-only %v), and cannot make it %v, read-only %v: give the outer Run the option",
			has.Isolation, has.ReadOnly, want.Isolation, want.ReadOnly)
	}
	_, err := inSavepoint(ctx, outer.tx, func(ctx context.Context) error { return fn(ctx, outer.tx) })
	return err
}
