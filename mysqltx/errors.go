package mysqltx

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Numbers of server errors, from the error message references of MySQL and
// MariaDB.
const (
	errRecordChanged      = 1020 // MariaDB 11.6 and later, with innodb_snapshot_isolation
	errDuplicateKey       = 1022 // by engines that do not say which entry
	errFromEngine         = 1030
	errWSREPNotReady      = 1047 // a Galera node outside the primary component
	errShutdown           = 1053
	errDuplicateEntry     = 1062
	errDuringCommit       = 1180
	errNotRolledBack      = 1196 // a warning: a table without transactions was changed
	errLogCacheFull       = 1197 // max_binlog_cache_size
	errLockWaitTimeout    = 1205
	errDeadlock           = 1213
	errReadOnlyOption     = 1290
	errNoSuchSavepoint    = 1305
	errTableChanged       = 1412 // by another session's DDL, since the snapshot was taken
	errDuplicateForKey    = 1586
	errReadOnlyTx         = 1792
	errReadOnlyMode       = 1836
	errConnectionKilled   = 1927 // MariaDB
	errBeforeCommitHook   = 3100 // Group Replication
	errRolledBackByPlugin = 3101 // Group Replication: a conflict
	errSessionKilled      = 3169 // MySQL
	errIdleTooLong        = 4031 // MySQL
)

// ErrTransactionLost says that the server had ended a transaction before it was to
// be committed: by an error of a statement that rolls back
// the whole transaction (1213, 1020, 1205 with innodb_rollback_on_timeout) and that
// nobody returned; by a statement that commits, such as DDL; or without a word, as a Galera node
// does for another node's sake where statements are prepared on the server. What
// came before a statement that commits was committed by it. What came after the end
// [Run] has rolled back; in a transaction of the caller's without Run,
// [GetOrCreate] can only report it, for most servers have committed it.
var ErrTransactionLost = errors.New("mysqltx: the transaction ended early, or a savepoint in it is gone: by an error that was not returned (such as 1213, deadlock), by a statement that commits implicitly (such as DDL), " +
	"or by a call that was not given the context of the function around it; return such errors, take such statements out, and pass that context")

var (
	errNothingCreated = errors.New("mysqltx: create returned no error, and yet get finds no row: did create insert one, and with the key that get looks for?")
	errEndedByFn      = errors.New("mysqltx: the function ended the transaction itself; take its Commit and Rollback out: Run commits where it returns nil and rolls back where it does not")
	errNoOther        = errors.New("it would need another connection than the one that GetOrCreate was given")
	errMixed          = errors.New("a table without transactions (not InnoDB) was changed in this transaction, which no rollback undoes; convert it: ALTER TABLE … ENGINE=InnoDB")
)

// AmbiguousCommitError says that the connection was lost during COMMIT, or that the
// answer does not tell: nobody knows whether the transaction was committed. Look for what
// it should have written before running it again, or let [Run] do so with
// [WithIdempotent].
type AmbiguousCommitError struct {
	Err error // what COMMIT failed with
}

// Error says what to do, and what COMMIT failed with.
func (e *AmbiguousCommitError) Error() string {
	return fmt.Sprintf("mysqltx: COMMIT failed in a way that does not tell whether the transaction was committed; look before you run it again: %v", e.Err)
}

// Unwrap returns Err.
func (e *AmbiguousCommitError) Unwrap() error { return e.Err }

// ConflictError says that create keeps failing with a duplicate key while get
// keeps finding no row.
type ConflictError struct {
	Key string // the key's name as the server gives it ("PRIMARY", "users.email"); "" where it gives none
	Err error  // the server's last error
}

// Error names the key, and what to look at.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("mysqltx: create collides with a row on key %q, and get does not find that row: "+
		"does get look for it by that key, append lock to its SELECT, and ask the server that create writes to? "+
		"(a replica lags; so does a Galera node without wsrep_sync_wait): %v", e.Key, e.Err)
}

// Unwrap returns Err.
func (e *ConflictError) Unwrap() error { return e.Err }

func isAmbiguous(err error) bool {
	return errors.As(err, new(*AmbiguousCommitError))
}

// isFinal reports whether an error says that nothing may run again, whatever it
// wraps.
func isFinal(err error) bool {
	return errors.As(err, new(*unrepeatableError)) || errors.Is(err, errEndedByFn) || errors.Is(err, ErrTransactionLost)
}

// unrepeatableError is an error after which a transaction would run again, but for
// a reason not to.
type unrepeatableError struct{ err, reason error }

func (e *unrepeatableError) Error() string {
	return fmt.Sprintf("%v (not run again: %v)", e.err, e.reason)
}

func (e *unrepeatableError) Unwrap() []error { return []error{e.err, e.reason} }

// number returns the number of the first server error in a tree of errors, or 0.
func number(err error) uint16 {
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return serverErr.Number
	}
	return 0
}

// hasNumber reports whether a tree of errors has a server error with one of the
// numbers. Where a function has joined several, each counts.
func hasNumber(err error, numbers ...uint16) bool {
	switch e := err.(type) {
	case nil:
		return false
	case *mysql.MySQLError:
		return slices.Contains(numbers, e.Number)
	case interface{ Unwrap() error }:
		return hasNumber(e.Unwrap(), numbers...)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return hasNumber(err, numbers...) })
	}
	return false
}

// IsDuplicateKey reports whether a statement failed because its row would have
// had the same primary or unique key as another: the server's errors 1062, 1022 and 1586.
func IsDuplicateKey(err error) bool {
	return hasNumber(err, errDuplicateEntry, errDuplicateKey, errDuplicateForKey)
}

// IsRetryable reports whether a transaction in which a statement failed with err
// may succeed when the whole of it runs again:
//
//   - 1213, a deadlock, in a Galera cluster also with another node's transaction;
//     3101, the same in Group Replication, and 1180 and 1030 where they say so
//   - 1205, a lock wait that timed out, after which the transaction is still open: roll back first
//   - 1020, a row changed since the snapshot (MariaDB 11.6 and later at REPEATABLE READ)
//   - 1412, a table's definition changed since the snapshot
//   - 1047, a Galera node that is not ready: on another connection
//   - a connection that was lost or ended by the server (1053, 1927, 3169, 4031)
//
// Of several joined errors one is enough. It is not to be asked about what COMMIT
// returned: a connection lost there leaves unknown whether it was done. It is false
// for an [AmbiguousCommitError], whatever is in it, and where Run
// found that running again would do harm.
func IsRetryable(err error) bool {
	if isFinal(err) || isAmbiguous(err) {
		return false
	}
	return mayEndTransaction(err) || hasNumber(err, errTableChanged) || needsOtherConnection(err)
}

// Errors that pass on an engine's error have its number in the text. These are
// HA_ERR_LOCK_DEADLOCK and HA_ERR_NO_SAVEPOINT of MySQL's my_base.h, as Group Replication
// gives them, to COMMIT and to statements about savepoints, for a transaction that
// yielded to another member's: the engine has rolled it back.
var yielded = regexp.MustCompile(`Error 1180\b.*\b149\b|Error 1030\b.*\b153\b`)

func hasYielded(err error) bool {
	return hasNumber(err, errDuringCommit, errFromEngine) && yielded.MatchString(err.Error())
}

// mayEndTransaction reports whether the statement that failed may have ended the
// transaction by that.
func mayEndTransaction(err error) bool {
	return hasNumber(err, errDeadlock, errRolledBackByPlugin, errLockWaitTimeout, errRecordChanged) || hasYielded(err)
}

// needsOtherConnection reports whether nothing good is to be had any more from the
// connection that gave an error.
func needsOtherConnection(err error) bool {
	return hasNumber(err, errWSREPNotReady, errShutdown, errConnectionKilled, errSessionKilled, errIdleTooLong) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn)
}

// rolledBack reports whether the server's answer to COMMIT says for certain that
// nothing was committed.
func rolledBack(err error) bool {
	return mayEndTransaction(err) || // 1205: of the lock that FLUSH TABLES WITH READ LOCK holds; seen on five servers
		hasNumber(err, errBeforeCommitHook, errLogCacheFull, errReadOnlyOption, errReadOnlyTx, errReadOnlyMode, errWSREPNotReady) ||
		hasNumber(err, errIdleTooLong) || // sent before COMMIT came, which nobody has read
		// The driver has not sent it, or has the server's refusal (rejectReadOnly).
		errors.Is(err, driver.ErrBadConn)
}

// keyName finds the key's name in "Duplicate entry 'ann' for key 'users.email'".
// Messages may be translated, but in all of them the key is quoted last. The
// entry is any text.
func keyName(err error) string {
	serverErr, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		return ""
	}
	parts := strings.Split(serverErr.Message, "'")
	if len(parts) < 3 { // nothing is quoted
		return ""
	}
	return parts[len(parts)-2]
}
