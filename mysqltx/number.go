package mysqltx

import (
	"database/sql/driver"
	"errors"
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

// answered reports whether err is an answer of the server, and not the driver's.
func answered(err error) bool { return errors.As(err, new(*mysql.MySQLError)) }

// hasNumber reports whether a tree of errors has a server error with one of the
// numbers. If a function has joined several errors, each of them counts.
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

// IsDuplicateKey reports whether a statement failed because its row would have had
// the same primary or unique key as another row: the server's errors 1062, 1022 and
// 1586.
func IsDuplicateKey(err error) bool {
	return hasNumber(err, errDuplicateEntry, errDuplicateKey, errDuplicateForKey)
}

// IsRetryable reports whether a transaction in which a statement failed with err can
// succeed if the whole transaction runs again:
//
//   - 1213, a deadlock; in a Galera cluster also one with another node's transaction
//   - 3101, the same in Group Replication; 1180 and 1030 if their text shows it
//   - 1205, a lock wait timeout; the transaction is still open, so roll back first
//   - 1020, a row changed since the snapshot (MariaDB 11.6 and later at REPEATABLE READ)
//   - 1412, a table's definition changed since the snapshot
//   - 1047, a Galera node that isn't ready; run again on another connection
//   - a connection that was lost, or that the server ended (1053, 1927, 3169, 4031)
//
// If several errors are joined, one of these is enough. Don't use IsRetryable for the
// error of a COMMIT: if the connection was lost there, nobody knows whether the
// transaction was committed. IsRetryable is false for an [AmbiguousCommitError],
// whatever it wraps, and for an error of Run that found that running again would do
// harm.
func IsRetryable(err error) bool {
	if isFinal(err) || isAmbiguous(err) {
		return false
	}
	return mayEndTransaction(err) || hasNumber(err, errTableChanged) || needsOtherConnection(err)
}

// yielded matches errors that pass on an engine's error, whose number is in the
// text. 149 and 153 are HA_ERR_LOCK_DEADLOCK and HA_ERR_NO_SAVEPOINT in MySQL's
// my_base.h. Group Replication answers so to COMMIT and to statements about savepoints
// if the transaction yielded to another member's: the engine has rolled it back.
var yielded = regexp.MustCompile(`Error 1180\b.*\b149\b|Error 1030\b.*\b153\b`)

func hasYielded(err error) bool {
	return hasNumber(err, errDuringCommit, errFromEngine) && yielded.MatchString(err.Error())
}

// mayEndTransaction reports whether the server can have ended the transaction when
// it returned err.
func mayEndTransaction(err error) bool {
	return hasNumber(err, errDeadlock, errRolledBackByPlugin, errLockWaitTimeout, errRecordChanged) || hasYielded(err)
}

// needsOtherConnection reports whether the connection that returned err is unusable.
func needsOtherConnection(err error) bool {
	return hasNumber(err, errWSREPNotReady, errShutdown, errConnectionKilled, errSessionKilled, errIdleTooLong) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn)
}

// rolledBack reports whether the server's answer to COMMIT means for certain that
// nothing was committed.
func rolledBack(err error) bool {
	return mayEndTransaction(err) || // 1205: of the lock that FLUSH TABLES WITH READ LOCK holds; seen on five servers
		hasNumber(err, errBeforeCommitHook, errLogCacheFull, errReadOnlyOption, errReadOnlyTx, errReadOnlyMode, errWSREPNotReady) ||
		hasNumber(err, errIdleTooLong) || // sent before COMMIT arrived; the server has not read it
		// The driver has not sent COMMIT, or has got the server's refusal (rejectReadOnly).
		errors.Is(err, driver.ErrBadConn)
}

// keyName finds the key's name in "Duplicate entry 'ann' for key 'users.email'".
// Messages can be translated, but in all languages the key is the last quoted text.
// The entry can be any text.
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
