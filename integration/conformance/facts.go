package conformance

import (
	"database/sql"
	"fmt"
	"testing"
)

// Numbers of server errors that the checks tell apart.
const (
	errRecordChanged   = 1020
	errDuplicateEntry  = 1062
	errUnknownVariable = 1193
	errDeadlock        = 1213
	errAccessDenied    = 1227
	errWrongValue      = 1231
	errReadOnlyOption  = 1290
	errNoRowLog        = 1665
	errGroupConflict   = 3101
)

// Facts are what servers answer differently, to the plain driver.
type Facts struct {
	Isolation    string   // the names of the variable: "tx_isolation", "transaction_isolation" or "both"
	LogBin       bool     // the binary log is on
	Format       string   // binlog_format of a new session; "" where there is no such variable
	Wsrep        bool     // it is a Galera node
	Race         Race     // what the loser of the race hears at REPEATABLE READ
	Conflicts    []uint16 // the errors where two nodes write one row, in a transaction that Run runs again
	Serializable uint16   // the error of a write at SERIALIZABLE; 0: none
	FixedFormat  uint16   // the error to SET GLOBAL binlog_format = 'STATEMENT'; 0: none
	OnlyRow      uint16   // the error of a write in a format other than ROW, whatever the level; 0: none but 1665
}

// Race is what the loser of the race hears at REPEATABLE READ.
type Race string

const (
	Vanished Race = "1062, then no row"
	Seen     Race = "1062, then the row"
	Changed  Race = "1020"
	Deadlock Race = "1213"
)

// statementRefused reports whether a write at READ COMMITTED fails in STATEMENT format.
func (f Facts) statementRefused() bool { return f.LogBin || f.Wsrep }

// discover asks the server for its facts. Some come from checks, which compare them then.
func (s *suite) discover(t *testing.T) {
	db := openPlain(t, s.Root)
	names := map[string]bool{}
	for _, name := range []string{"tx_isolation", "transaction_isolation"} {
		switch _, err := read(t.Context(), db, "@@SESSION."+name); {
		case err == nil:
			names[name] = true
			s.facts.Isolation = name
		case number(err) != errUnknownVariable:
			t.Fatal(err)
		}
	}
	if len(names) == 2 {
		s.facts.Isolation = "both"
	}
	optional := func(expr string) string {
		value, err := read(t.Context(), db, expr)
		if err != nil && number(err) != errUnknownVariable {
			t.Fatal(err)
		}
		return value
	}
	s.facts.LogBin = optional("@@GLOBAL.log_bin") == "1"
	s.facts.Format = optional("@@SESSION.binlog_format")
	s.facts.Wsrep = optional("@@wsrep_on") == "1"
}

// fact compares what a check found with what is expected.
func fact[T comparable](t *testing.T, s *suite, what string, got T, want func(Facts) T) {
	t.Helper()
	if s.Want != nil && want(*s.Want) != got {
		t.Errorf("%s: %v, and %v is expected of this server", what, got, want(*s.Want))
	}
}

func (s *suite) isolationVariable(t *testing.T) string {
	fact(t, s, "the isolation variable", s.facts.Isolation, func(f Facts) string { return f.Isolation })
	return s.facts.Isolation
}

func (s *suite) binaryLog(t *testing.T) string {
	fact(t, s, "log_bin", s.facts.LogBin, func(f Facts) bool { return f.LogBin })
	fact(t, s, "binlog_format", s.facts.Format, func(f Facts) string { return f.Format })
	fact(t, s, "wsrep_on", s.facts.Wsrep, func(f Facts) bool { return f.Wsrep })
	on := map[bool]string{true: "on", false: "off"}[s.facts.LogBin]
	if s.facts.Format == "" {
		return on + ", no binlog_format"
	}
	return on + ", " + s.facts.Format
}

// level is the expression for a session's level, under a name that the server knows.
func (s *suite) level() string {
	if s.facts.Isolation == "tx_isolation" {
		return "@@SESSION.tx_isolation"
	}
	return "@@SESSION.transaction_isolation"
}

// cellNumber shows an error's number.
func cellNumber(number uint16) string {
	if number == 0 {
		return "ok"
	}
	return fmt.Sprintf("error %d", number)
}

// wantSession fails where a new session is not as it should be. The format "" is any.
func (s *suite) wantSession(t *testing.T, db *sql.DB, level, format string) {
	t.Helper()
	wantValue(t, db, s.level(), level)
	if format != "" {
		wantValue(t, db, "@@SESSION.binlog_format", format)
	}
}
