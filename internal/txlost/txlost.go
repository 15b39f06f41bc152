// Package txlost knows when a server has ended a transaction by an error.
package txlost

import (
	"errors"
	"regexp"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Err is what mysqlinit and mysqltx both export as ErrTransactionLost.
var Err = errors.New("the transaction ended early: an error rolled it back (such as 1213, deadlock), or a statement committed it (such as DDL)")

// Numbers of server errors, from the error message references of MySQL and
// MariaDB.
const (
	errFromEngine         = 1030 // ER_GET_ERRNO
	errUnknown            = 1105 // ER_UNKNOWN_ERROR, of vtgate
	errDuringCommit       = 1180 // ER_ERROR_DURING_COMMIT
	errDuringRollback     = 1181 // ER_ERROR_DURING_ROLLBACK
	errDeadlock           = 1213 // ER_LOCK_DEADLOCK
	errQueryInterrupted   = 1317 // ER_QUERY_INTERRUPTED
	errServerGone         = 2006 // CR_SERVER_GONE_ERROR, of a tablet
	errServerLost         = 2013 // CR_SERVER_LOST, of a tablet
	errQueryTimeout       = 3024 // ER_QUERY_TIMEOUT
	errRolledBackByPlugin = 3101 // ER_TRANSACTION_ROLLBACK_DURING_COMMIT: a conflict in Group Replication
)

// Ends reports whether an error always ends the transaction of the statement that
// got it, whatever the server's status flags say.
func Ends(err *mysql.MySQLError) bool {
	switch err.Number {
	case errQueryInterrupted: // its tablet has closed the connection to the shard
		return FromVitess(err)
	case errQueryTimeout: // so it has at its own time limit, but not at the server's
		return FromVitess(err) && !timeOfServer(err)
	}
	return Conflict(err) || ShardLost(err)
}

// Conflict reports whether an error says that the server has rolled the transaction
// back for the sake of another one.
func Conflict(err *mysql.MySQLError) bool {
	return err.Number == errDeadlock || err.Number == errRolledBackByPlugin || yielded(err)
}

// FromVitess reports whether an error comes from a shard behind vtgate.
func FromVitess(err *mysql.MySQLError) bool {
	return strings.HasPrefix(err.Message, "target: ") || shardGone(err)
}

// ShardLost reports whether vtgate has lost a shard's tablet, or the tablet its connection to
// the shard's server. Before COMMIT, nothing that the transaction did there is committed, and
// nothing has to be on the other shards.
func ShardLost(err *mysql.MySQLError) bool {
	if !FromVitess(err) {
		return false
	}
	return err.Number == errUnknown && unavailable.MatchString(err.Message) || err.Number == errServerGone || err.Number == errServerLost || shardGone(err)
}

// unavailable is gRPC's error for a tablet that does not answer. It stands before the user's
// statement and its values, which vtgate can append.
var unavailable = regexp.MustCompile(`^target: [^:]+: (vttablet: )?rpc error: code = Unavailable `)

// NoTablet reports whether vtgate knows no tablet of a shard any more. It can have sent
// a statement outside of a transaction to one before, and lost the answer: such an INSERT was
// there (seen on Vitess 24).
func NoTablet(err *mysql.MySQLError) bool {
	return err.Number == errUnknown && noHealthyTablet.MatchString(err.Message)
}

var noHealthyTablet = regexp.MustCompile(`^target: [^:]+: no healthy tablet available`)

// timeOfServer reports whether a statement took too long for a shard's server. The tablet
// puts the number after the server's text. In its own error the number comes first.
func timeOfServer(err *mysql.MySQLError) bool {
	text, _, _ := strings.Cut(err.Message, " (errno ")
	return strings.HasSuffix(text, " maximum statement execution time exceeded")
}

// shardGone reports whether vtgate could not reach a shard in a transaction. Unless the
// statement was COMMIT, vtgate has then rolled back on the other shards, and refuses
// everything but a ROLLBACK.
func shardGone(err *mysql.MySQLError) bool { return strings.HasPrefix(err.Message, "VT15001: ") }

// yielded reports whether an error says that the transaction has yielded to
// another member's in Group Replication: the engine has rolled it back. The
// statement that notices, a COMMIT or one about savepoints, passes on the
// engine's error, whose number is in the text: 149 is HA_ERR_LOCK_DEADLOCK and
// 153 is HA_ERR_NO_SAVEPOINT in MySQL's my_base.h.
func yielded(err *mysql.MySQLError) bool {
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

// A member of Group Replication rolls a transaction back between two of its
// statements if another member's change comes first. A SAVEPOINT does not ask
// InnoDB: it succeeds and hides that, and COMMIT answers OK (seen on MySQL 9.7).
// So InnoDB has to take part in the transaction before the SAVEPOINT does.
const (
	// GroupName is a query that fails with a server error if the server has no
	// Group Replication.
	GroupName = "SELECT @@GLOBAL.group_replication_group_name"
	// TouchInnoDB lets InnoDB take part in a transaction. The tables under this
	// view are InnoDB's. It has no rows to send.
	TouchInnoDB = "SELECT 1 FROM information_schema.schemata LIMIT 0"
)
