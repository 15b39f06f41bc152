package mysqltx

import (
	"database/sql/driver"
	"errors"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/txlost"
)

// IsRetryable reports whether err says that nothing of a transaction was committed,
// and that it can succeed if the whole of it runs again:
//
//   - 1213, a deadlock; in a Galera cluster also one with another node's transaction
//   - 3101, the same in Group Replication; 1180, 1181 and 1030 if their text shows it
//   - 1205, a lock wait timeout; the transaction is still open, so roll back first
//   - 1020, a row changed since the snapshot (MariaDB 11.6 and later at REPEATABLE READ)
//   - 1412, a table's definition changed since the snapshot
//   - 1047, a Galera node that isn't ready; run again on another connection
//   - 4031 and [driver.ErrBadConn], a connection that was lost before the statement
//     reached the server
//
// It is meant for a loop around BeginTx, and can be asked about what Commit returned.
// So it is false for a connection that was lost otherwise (mysql.ErrInvalidConn, 1053,
// 1927, 3169): if that happens during COMMIT, nobody knows whether the transaction was
// committed. For the same reason it is false for what vtgate answers if a shard timed out or
// was lost (1205, 2006, 2013, 1105 with VT15001 or Unavailable): another shard can have
// committed. [Run] knows when COMMIT was sent, and runs again in these cases too.
//
// If several errors are joined, one of these is enough. IsRetryable is false for an
// [AmbiguousCommitError], whatever it wraps, and for an error of Run that found that
// running again would do harm. An [ErrTransactionLost] counts by the error in it.
func IsRetryable(err error) bool {
	if isFinal(err) || isAmbiguous(err) {
		return false
	}
	return errors.Is(err, driver.ErrBadConn) || hasNumber(err, errIdleTooLong) || hasServerError(err, func(e *mysql.MySQLError) bool {
		return mayRunAgain(e) && !(e.Number == errLockWaitTimeout && txlost.FromVitess(e))
	})
}

func isAmbiguous(err error) bool {
	return errors.As(err, new(*AmbiguousCommitError))
}

// isFinal reports whether nothing is allowed to run again after err, whatever it
// wraps. A guard's ErrTransactionLost isn't final if its cause is a conflict.
func isFinal(err error) bool {
	return errors.As(err, new(*unrepeatableError)) || errors.Is(err, errEndedByFn) || lostForGood(err)
}

// lostForGood reports whether a tree of errors has an ErrTransactionLost without an
// error in it that explains it.
func lostForGood(err error) bool {
	if err == ErrTransactionLost {
		return true
	}
	switch e := err.(type) {
	case interface {
		Is(error) bool
		Unwrap() error
	}:
		if e.Is(ErrTransactionLost) {
			return e.Unwrap() == nil || !IsRetryable(e.Unwrap())
		}
		return lostForGood(e.Unwrap())
	case interface{ Unwrap() error }:
		return lostForGood(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if lostForGood(err) {
				return true
			}
		}
	}
	return false
}
