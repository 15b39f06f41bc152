package mysqltx

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/mysqlinit/mysqlinit/internal/txlost"
)

// ErrTransactionLost means that a transaction ended before it was due to be committed.
// It is the same value as mysqlinit.ErrTransactionLost. There are three causes:
//
//   - a statement failed with an error that rolls back the whole transaction
//     (1213, 1020, 1205 with innodb_rollback_on_timeout), and nobody returned it
//   - a statement committed it, such as DDL
//   - a node of a cluster ended it without an error, for the sake of another node
//
// What came before a committing statement was committed by it. What came after the
// end, [Run] has rolled back, or a guarded connection has not sent. In the caller's own
// transaction, outside Run and without the guard, [GetOrCreate] can only report the
// loss, because most servers have committed what came after.
var ErrTransactionLost = txlost.Err

var (
	errSavepointGone  = fmt.Errorf("mysqltx: %w; or a call in it was not given the context of the function around it. Return such errors, remove such statements, and pass that context", ErrTransactionLost)
	errNothingCreated = errors.New("mysqltx: create returned no error, but get finds no row: did create insert one, and with the key that get looks for? (Or the connections of the pool lead to several nodes, one of which lags: pass a *sql.Conn)")
	errEndedByFn      = errors.New("mysqltx: the function ended the transaction itself; remove its Commit and Rollback: Run commits if it returns nil and rolls back if it returns an error")
	errInFlight       = errors.New("mysqltx: the function has returned while a Run or GetOrCreate in its transaction still runs in another goroutine: wait for it (with errgroup: Wait)")
	errAtOnce         = errors.New("mysqltx: a Run or GetOrCreate already runs in this transaction, and this one is not inside it: pass the context of the function around it, and do not run two at once in goroutines (errgroup)")
	errOtherGoroutine = errors.New("mysqltx: a Run or GetOrCreate in another goroutine has failed; undoing it has also undone what the transaction did meanwhile")
	errRowsOpen       = errors.New("mysqltx: the function has left a result set open (close its Rows, scan its Row), or did not return the error of a lost connection")
	errNoOther        = errors.New("it would need another connection than the one that GetOrCreate was given")
	errMixed          = errors.New("a table without transactions (not InnoDB) was changed in this transaction, and no rollback undoes that; convert it: ALTER TABLE … ENGINE=InnoDB")
)

// errNoWarnings stands for errMixed if nobody knows.
var errNoWarnings = fmt.Errorf("the session has max_error_count=0, so the server does not say what a rollback could not undo; perhaps %w", errMixed)

// AmbiguousCommitError means that nobody knows whether the transaction was
// committed: the connection was lost during COMMIT, or the server's answer doesn't
// show it. Check for what it should have written before running it again, or let
// [Run] run it again with [WithIdempotent]. From [GetOrCreate] outside a transaction
// it is about create's statement.
type AmbiguousCommitError struct {
	Err error // the error of COMMIT
}

// Error says what to do, and quotes the error of COMMIT.
func (e *AmbiguousCommitError) Error() string {
	return fmt.Sprintf("mysqltx: COMMIT failed, and the error does not show whether the transaction was committed; check before you run it again: %v", e.Err)
}

// Unwrap returns Err.
func (e *AmbiguousCommitError) Unwrap() error { return e.Err }

// ConflictError means that create keeps failing with a duplicate key while get keeps
// finding no row.
type ConflictError struct {
	Key string // the key's name, as the server gives it ("PRIMARY", "users.email"); "" if it gives none
	Err error  // the server's last error
}

// Error names the key, if there is a name, and says what to check.
func (e *ConflictError) Error() string {
	key := "key " + strconv.Quote(e.Key)
	if e.Key == "" {
		key = "a unique key"
	}
	return fmt.Sprintf("mysqltx: create collides with a row on %s, and get does not find that row: "+
		"does get look for it by that key (even if it is soft-deleted), append lock to its SELECT, and ask the server that create writes to? "+
		"(a replica lags; so does a Galera node without wsrep_sync_wait): %v", key, e.Err)
}

// Unwrap returns Err.
func (e *ConflictError) Unwrap() error { return e.Err }

// unrepeatableError is an error that would be retried, if there were no reason
// against it.
type unrepeatableError struct{ err, reason error }

func (e *unrepeatableError) Error() string {
	return fmt.Sprintf("%v (not run again: %v)", e.err, e.reason)
}

func (e *unrepeatableError) Unwrap() []error { return []error{e.err, e.reason} }
