package inspect

import (
	"cmp"
	"fmt"
	"slices"
)

// Report is what [Session] found out about one session and its server.
type Report struct {
	Server  Server `json:"server"`  // who answered
	Session State  `json:"session"` // the settings of the session
	Global  State  `json:"global"`  // the settings of a new session that nobody changes

	// BinaryLog reports whether the server writes a binary log.
	BinaryLog bool `json:"binary_log"`
	// MaySetBinlogFormat reports whether the account's own grants, without those
	// of roles, let it set binlog_format.
	MaySetBinlogFormat bool `json:"may_set_binlog_format"`
	// Replica reports whether the server replicates from another one: "yes",
	// "no", or "unknown" if the account is not allowed to see that.
	Replica string `json:"replica"`

	// Findings are sorted by severity, the worst first, then by ID.
	Findings []Finding `json:"findings"`
}

// Server describes the server that answered.
type Server struct {
	Vendor   string `json:"vendor"`   // "MySQL" or "MariaDB"; any server that is not MariaDB counts as MySQL
	Version  string `json:"version"`  // the value of VERSION(), such as "10.11.14-MariaDB-log"
	Comment  string `json:"comment"`  // the value of version_comment
	Account  string `json:"account"`  // the value of CURRENT_USER(), such as "app@%"
	Database string `json:"database"` // "" if none is selected
}

// State is the settings of a session. A value is "" if the server has no such
// variable.
type State struct {
	Isolation    string `json:"isolation"`     // such as "READ-COMMITTED"; the variable is transaction_isolation or tx_isolation
	BinlogFormat string `json:"binlog_format"` // "ROW", "MIXED" or "STATEMENT"
	Autocommit   string `json:"autocommit"`    // "ON" or "OFF"
	SQLMode      string `json:"sql_mode"`      // names, separated by commas
}

// Finding is one thing to know about a session or its server.
type Finding struct {
	ID       string   `json:"id"`       // stable, for programs; docs/check.md lists the IDs
	Severity Severity `json:"severity"` // how bad it is
	What     string   `json:"what"`     // what is the case, in a few words
	Why      string   `json:"why"`      // why it matters
	Cure     string   `json:"cure"`     // what to do; "" if no cure is needed
	Commands string   `json:"commands"` // the cure's lines to copy: SQL, parts of my.cnf, and comments that begin with #; can be ""
	Source   string   `json:"source"`   // the URL of its documentation
}

// Severity is how bad a finding is. In JSON and text it is written as its name.
type Severity int

const (
	Info    Severity = iota + 1 // normal on a healthy server
	Warning                     // something will go wrong some day, or slowly
	Error                       // something goes wrong now
)

var severityNames = []string{Info: "info", Warning: "warning", Error: "error"}

// String returns the name: info, warning or error.
func (s Severity) String() string {
	if s >= Info && s <= Error {
		return severityNames[s]
	}
	return fmt.Sprintf("Severity(%d)", int(s))
}

// MarshalText returns the name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts one of the names. Any other text is an error.
func (s *Severity) UnmarshalText(text []byte) error {
	for severity, name := range severityNames {
		if name != "" && name == string(text) {
			*s = Severity(severity)
			return nil
		}
	}
	return fmt.Errorf("inspect: unknown severity %q: want info, warning or error", text)
}

// Worst returns the greatest severity among findings, or 0 if there are none.
func Worst(findings []Finding) Severity {
	var worst Severity
	for _, f := range findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// Sort sorts findings by severity, the worst first, then by ID.
func Sort(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(-cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.ID, b.ID))
	})
}
