package mysqltx

import (
	"errors"
	"fmt"
)

// ErrTransactionLost means that the server ended a transaction before it was due to
// be committed. There are three causes:
//
//   - a statement failed with an error that rolls back the whole transaction
//     (1213, 1020, 1205 with innodb_rollback_on_timeout), and nobody returned it
//   - a statement committed it, such as DDL
//   - a Galera node ended it without an error, for the sake of another node, which
//     it does if statements are prepared on the server
//
// What came before a committing statement was committed by it. What came after the
// end, [Run] has rolled back. In the caller's own transaction, outside Run,
// [GetOrCreate] can only report the loss, because most servers have committed what
// came after.
var ErrTransactionLost = errors.New("mysqltx: the transaction ended early, or a savepoint in it is gone: because of an error that was not returned (such as 1213, deadlock), a statement that commits implicitly (such as DDL), " +
	"or a call that was not given the context of the function around it; return such errors, remove such statements, and pass that context")

var (
	errNothingCreated = errors.New("mysqltx: create returned no error, but get finds no row: did create insert one, and with the key that get looks for?")
	errEndedByFn      = errors.New("mysqltx: the function ended the transaction itself; remove its Commit and Rollback: Run commits if it returns nil and rolls back if it returns an error")
	errNoOther        = errors.New("it would need another connection than the one that GetOrCreate was given")
	errMixed          = errors.New("a table without transactions (not InnoDB) was changed in this transaction, and no rollback undoes that; convert it: ALTER TABLE … ENGINE=InnoDB")
)

// AmbiguousCommitError means that nobody knows whether the transaction was
// committed: the connection was lost during COMMIT, or the server's answer doesn't
// show it. Check for what it should have written before running it again, or let
// [Run] run it again with [WithIdempotent].
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

// Error names the key, and says what to check.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("mysqltx: create collides with a row on key %q, and get does not find that row: "+
		"does get look for it by that key, append lock to its SELECT, and ask the server that create writes to? "+
		"(a replica lags; so does a Galera node without wsrep_sync_wait): %v", e.Key, e.Err)
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

func isAmbiguous(err error) bool {
	return errors.As(err, new(*AmbiguousCommitError))
}

// isFinal reports whether nothing is allowed to run again after err, whatever it
// wraps.
func isFinal(err error) bool {
	return errors.As(err, new(*unrepeatableError)) || errors.Is(err, errEndedByFn) || errors.Is(err, ErrTransactionLost)
}
