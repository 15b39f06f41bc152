package conformance

import (
	"database/sql"
	"fmt"
	"testing"
)

// Server errors that the checks distinguish.
const (
	errRecordChanged    = 1020
	errDuplicateEntry   = 1062
	errUnknownVariable  = 1193
	errLockWaitTimeout  = 1205
	errDeadlock         = 1213
	errAccessDenied     = 1227
	errWrongValue       = 1231
	errReadOnlyOption   = 1290
	errQueryInterrupted = 1317
	errNoRowLog         = 1665
	errGroupConflict    = 3101
)

// Facts describe a server by its answers to the plain driver, as far as servers differ.
type Facts struct {
	Isolation     string   // the variable's name: "tx_isolation", "transaction_isolation" or "both"
	LogBin        bool     // the binary log is on
	Format        string   // binlog_format of a new session; "" if there is no such variable
	FormatIgnored bool     // a SET of binlog_format succeeds and has no effect
	Wsrep         bool     // it is a Galera node
	Race          Race     // how the race ends for the loser at REPEATABLE READ
	Conflicts     []uint16 // possible errors when two nodes write one row; Run runs that transaction again
	Serializable  uint16   // the error for a write at SERIALIZABLE; 0: none
	FixedFormat   uint16   // the error for SET GLOBAL binlog_format = 'STATEMENT'; 0: none
	OnlyRow       uint16   // the error for a write in a format other than ROW at any level; 0: none except 1665
}

// Race is how the race of get-or-create ends for the loser at REPEATABLE READ: the error
// of its INSERT, and what it reads after a duplicate key.
type Race string

const (
	Vanished Race = "1062, then no row"
	Seen     Race = "1062, then the row"
	Changed  Race = "1020"
	Deadlock Race = "1213"
)

// statementRefused reports whether a write at READ COMMITTED fails in STATEMENT format.
func (f Facts) statementRefused() bool { return f.LogBin || f.Wsrep }

// discover asks the server for the facts that checks need. Checks compare them, and find
// out the other facts.
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
	s.facts.FormatIgnored = s.ignoresFormat(t)
	s.facts.Wsrep = optional("@@wsrep_on") == "1"
}

// ignoresFormat reports whether a SET of binlog_format succeeds and has no effect.
func (s *suite) ignoresFormat(t *testing.T) bool {
	if s.facts.Format == "" {
		return false
	}
	conn, err := openPlain(t, s.Root).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	other := "MIXED"
	if s.facts.Format == other {
		other = "ROW"
	}
	if _, err := conn.ExecContext(t.Context(), "SET SESSION binlog_format = '"+other+"'"); err != nil {
		return false
	}
	got, err := read(t.Context(), conn, "@@SESSION.binlog_format")
	if err != nil {
		t.Fatal(err)
	}
	return got != other
}

// wantFact compares what a check found with the expected fact, if there is one.
func wantFact[T comparable](t *testing.T, s *suite, what string, got T, want func(Facts) T) {
	t.Helper()
	if s.Want != nil && want(*s.Want) != got {
		t.Errorf("%s: got %v, want %v from this server", what, got, want(*s.Want))
	}
}

func (s *suite) isolationVariable(t *testing.T) string {
	wantFact(t, s, "the isolation variable", s.facts.Isolation, func(f Facts) string { return f.Isolation })
	return s.facts.Isolation
}

func (s *suite) binaryLog(t *testing.T) string {
	wantFact(t, s, "log_bin", s.facts.LogBin, func(f Facts) bool { return f.LogBin })
	wantFact(t, s, "binlog_format", s.facts.Format, func(f Facts) string { return f.Format })
	wantFact(t, s, "SET binlog_format is ignored", s.facts.FormatIgnored, func(f Facts) bool { return f.FormatIgnored })
	wantFact(t, s, "wsrep_on", s.facts.Wsrep, func(f Facts) bool { return f.Wsrep })
	cell := "off, "
	if s.facts.LogBin {
		cell = "on, "
	}
	if s.facts.Format == "" {
		return cell + "no binlog_format"
	}
	return cell + s.facts.Format
}

// level returns an SQL expression for the session's isolation level, with a variable name
// that the server knows.
func (s *suite) level() string {
	if s.facts.Isolation == "tx_isolation" {
		return "@@SESSION.tx_isolation"
	}
	return "@@SESSION.transaction_isolation"
}

// cellNumber formats an error's number.
func cellNumber(number uint16) string {
	if number == 0 {
		return "ok"
	}
	return fmt.Sprintf("error %d", number)
}

// wantSession checks a session's isolation level and binlog format. A format of "" accepts
// any.
func (s *suite) wantSession(t *testing.T, db *sql.DB, level, format string) {
	t.Helper()
	wantValue(t, db, s.level(), level)
	if format != "" {
		wantValue(t, db, "@@SESSION.binlog_format", format)
	}
}
