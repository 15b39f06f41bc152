package session

import (
	"errors"

	"github.com/go-sql-driver/mysql"
)

// Failure is why a session could not be prepared. It is not an error itself,
// because Statement and Err can hold what must not be shown.
type Failure struct {
	Statement string   // the one that failed, as it was sent
	Public    []string // literals in it that are no secrets
	Reason    string   // what went wrong, in our words
	Cure      string   // what to do about it; can be ""
	Err       error    // the server's or the network's error; can be nil
}

// Server error numbers that decide something here. MySQL documents them in its
// error message reference, MariaDB in its list of error codes.
const (
	errUnknownColumn      = 1054 // ER_BAD_FIELD_ERROR: a word that is taken for a column
	errParse              = 1064 // ER_PARSE_ERROR
	errEmptyQuery         = 1065 // ER_EMPTY_QUERY: nothing but comments
	errUnknown            = 1105 // ER_UNKNOWN_ERROR: the only number that Dolt and go-mysql-server use
	errAbortedConn        = 1184 // ER_NEW_ABORTING_CONNECTION: MySQL, init_connect failed
	errUnknownVariable    = 1193 // ER_UNKNOWN_SYSTEM_VARIABLE
	errWrongArguments     = 1210 // ER_WRONG_ARGUMENTS
	errAccessDenied       = 1227 // ER_SPECIFIC_ACCESS_DENIED_ERROR: a privilege is missing
	errGlobalVariable     = 1229 // ER_GLOBAL_VARIABLE: has no session value
	errWrongValue         = 1231 // ER_WRONG_VALUE_FOR_VAR
	errWrongType          = 1232 // ER_WRONG_TYPE_FOR_VAR
	errReadOnlyVar        = 1238 // ER_INCORRECT_GLOBAL_LOCAL_VAR: read only, or of the other scope
	errUnknownTimeZone    = 1298 // ER_UNKNOWN_TIME_ZONE
	errReadOnlyForSession = 1621 // ER_VARIABLE_IS_READONLY
	errInTransaction      = 1679 // ER_INSIDE_TRANSACTION_PREVENTS_SWITCH_BINLOG_FORMAT
	errSkipIsolation      = 8048 // ErrUnsupportedIsolationLevel of TiDB
)

func serverError(err error) *mysql.MySQLError {
	serverErr, _ := errors.AsType[*mysql.MySQLError](err)
	return serverErr
}
