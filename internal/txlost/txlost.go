// Package txlost knows when a server has ended a transaction by an error.
package txlost

import (
	"errors"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Err is what mysqlinit and mysqltx both export as ErrTransactionLost.
var Err = errors.New("the server ended this transaction before its COMMIT, and rolled back what it had done")

// Numbers of server errors, from the error message references of MySQL and
// MariaDB.
const (
	errFromEngine         = 1030 // ER_GET_ERRNO
	errDuringCommit       = 1180 // ER_ERROR_DURING_COMMIT
	errDuringRollback     = 1181 // ER_ERROR_DURING_ROLLBACK
	errDeadlock           = 1213 // ER_LOCK_DEADLOCK
	errQueryInterrupted   = 1317 // ER_QUERY_INTERRUPTED
	errQueryTimeout       = 3024 // ER_QUERY_TIMEOUT
	errRolledBackByPlugin = 3101 // ER_TRANSACTION_ROLLBACK_DURING_COMMIT: a conflict in Group Replication
)

// Ends reports whether an error always ends the transaction of the statement that
// got it, whatever the server's status flags say.
func Ends(err *mysql.MySQLError) bool {
	switch err.Number {
	case errDeadlock, errRolledBackByPlugin:
		return true
	case errQueryInterrupted, errQueryTimeout:
		return FromVitess(err) // its tablet has closed the connection to the shard
	}
	return Yielded(err)
}

// FromVitess reports whether an error comes from a shard behind vtgate.
func FromVitess(err *mysql.MySQLError) bool { return strings.HasPrefix(err.Message, "target: ") }

// Yielded reports whether an error says that the transaction has yielded to
// another member's in Group Replication: the engine has rolled it back. The
// statement that notices, a COMMIT or one about savepoints, passes on the
// engine's error, whose number is in the text: 149 is HA_ERR_LOCK_DEADLOCK and
// 153 is HA_ERR_NO_SAVEPOINT in MySQL's my_base.h.
func Yielded(err *mysql.MySQLError) bool {
	switch err.Number {
	case errDuringCommit:
		return hasWord(err.Message, "149")
	case errFromEngine, errDuringRollback:
		return hasWord(err.Message, "153")
	}
	return false
}

func hasWord(text, word string) bool {
	for field := range strings.FieldsFuncSeq(text, func(r rune) bool { return r < '0' || r > '9' }) {
		if field == word {
			return true
		}
	}
	return false
}
