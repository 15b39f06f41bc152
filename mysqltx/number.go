package mysqltx

import (
	"database/sql/driver"
	"errors"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/txlost"
)

// Numbers of server errors, from the error message references of MySQL and
// MariaDB. Those that always end a transaction are in txlost.
const (
	errRecordChanged    = 1020 // MariaDB 11.6 and later, with innodb_snapshot_isolation
	errDuplicateKey     = 1022 // by engines that do not say which entry
	errWSREPNotReady    = 1047 // a Galera node outside the primary component
	errShutdown         = 1053
	errDuplicateEntry   = 1062
	errUnknown          = 1105 // ER_UNKNOWN_ERROR: vtgate does not know the statement
	errDuringCommit     = 1180
	errNotRolledBack    = 1196 // a warning: a table without transactions was changed
	errLogCacheFull     = 1197 // max_binlog_cache_size
	errLockWaitTimeout  = 1205
	errReadOnlyOption   = 1290
	errNoSuchSavepoint  = 1305
	errTableChanged     = 1412 // by another session's DDL, since the snapshot was taken
	errDuplicateForKey  = 1586
	errReadOnlyTx       = 1792
	errReadOnlyMode     = 1836
	errConnectionKilled = 1927 // MariaDB
	errBeforeCommitHook = 3100 // Group Replication: it has perhaps sent the transaction to the group
	errSessionKilled    = 3169 // MySQL
	errIdleTooLong      = 4031 // MySQL
)

// hasServerError reports whether a tree of errors has a server error that is one of
// those sought. If a function has joined several errors, each of them counts.
func hasServerError(err error, sought func(*mysql.MySQLError) bool) bool {
	switch e := err.(type) {
	case nil:
		return false
	case *mysql.MySQLError:
		return sought(e)
	case interface{ Unwrap() error }:
		return hasServerError(e.Unwrap(), sought)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return hasServerError(err, sought) })
	}
	return false
}

func hasNumber(err error, numbers ...uint16) bool {
	return hasServerError(err, func(e *mysql.MySQLError) bool { return slices.Contains(numbers, e.Number) })
}

// answered reports whether err is an answer of the server, and not the driver's.
func answered(err error) bool { return errors.As(err, new(*mysql.MySQLError)) }

// IsDuplicateKey reports whether a statement failed because its row would have had
// the same primary or unique key as another row: the server's errors 1062, 1022 and
// 1586.
func IsDuplicateKey(err error) bool {
	return hasNumber(err, errDuplicateEntry, errDuplicateKey, errDuplicateForKey)
}

// mayRunAgain reports whether a transaction in which a statement failed with err can
// succeed if it runs again.
func mayRunAgain(err *mysql.MySQLError) bool {
	switch err.Number {
	case errLockWaitTimeout, errRecordChanged, errTableChanged, errWSREPNotReady:
		return true
	}
	return txlost.Conflict(err)
}

// mayEndTransaction reports whether the server can have ended the transaction when
// it returned err.
func mayEndTransaction(err error) bool {
	return hasNumber(err, errLockWaitTimeout, errRecordChanged) || hasServerError(err, txlost.Ends)
}

// connectionLost reports whether err says that a connection was lost, be it one behind
// vtgate, or that the server ended it.
func connectionLost(err error) bool {
	return hasNumber(err, errShutdown, errConnectionKilled, errSessionKilled, errIdleTooLong) || hasServerError(err, txlost.ShardLost) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn)
}

// brokenInWriting reports whether err can be that of a connection that broke in the
// middle of a large statement. It can also come from any other network connection.
func brokenInWriting(err error) bool { return errors.As(err, new(*net.OpError)) }

// needsOtherConnection reports whether nothing can run any more on the connection that
// returned err or, if vtgate has lost a shard, in its transaction.
func needsOtherConnection(err error) bool {
	return hasNumber(err, errWSREPNotReady) || connectionLost(err)
}

// rolledBack reports whether the answer to COMMIT means for certain that nothing was
// committed. vtgate commits on one shard after the other, and its error is that of one
// shard only.
func rolledBack(err error) bool {
	if errors.Is(err, driver.ErrBadConn) {
		return true // COMMIT was not sent, or it was refused (rejectReadOnly)
	}
	return hasServerError(err, func(e *mysql.MySQLError) bool {
		if txlost.FromVitess(e) {
			return false
		}
		switch e.Number {
		case errLockWaitTimeout, // of the lock that FLUSH TABLES WITH READ LOCK holds; seen on five servers
			errRecordChanged, errLogCacheFull, errReadOnlyOption, errReadOnlyTx, errReadOnlyMode, errWSREPNotReady,
			errIdleTooLong: // sent before COMMIT arrived; the server has not read it
			return true
		}
		return txlost.Conflict(e)
	})
}

// unknownOutcome reports whether nobody knows if the statement that got err, and that
// commits by itself, has done so.
func unknownOutcome(err error) bool {
	if errors.Is(err, driver.ErrBadConn) || hasNumber(err, errIdleTooLong) || hasServerError(err, txlost.Conflict) {
		return false
	}
	return connectionLost(err) || hasNumber(err, errDuringCommit, errBeforeCommitHook) || hasServerError(err, txlost.NoTablet)
}

// keyOfVitess finds the key in a message of vtgate, before the statement and its
// values, which vtgate appends.
var keyOfVitess = regexp.MustCompile(`^target: .*? for key '([^']*)' \(errno `)

// keyName finds the key's name in "Duplicate entry 'ann' for key 'users.email'".
// Messages can be translated, but in all languages the key is the last quoted text.
// The entry can be any text. 1022 names no key.
func keyName(err error) (key string) {
	hasServerError(err, func(e *mysql.MySQLError) bool {
		if e.Number != errDuplicateEntry && e.Number != errDuplicateForKey {
			return false
		}
		if txlost.FromVitess(e) {
			if found := keyOfVitess.FindStringSubmatch(e.Message); found != nil {
				key = found[1]
			}
		} else if parts := strings.Split(e.Message, "'"); len(parts) >= 5 { // entry and key are quoted
			key = parts[len(parts)-2]
		}
		return true
	})
	return key
}
