package inspect

import (
	"cmp"
	"fmt"
	"slices"
)

// Report is what one session shows.
type Report struct {
	Server  Server `json:"server"`  // who answered
	Session State  `json:"session"` // what the session that was read is set to
	Global  State  `json:"global"`  // what a new session gets where nobody sets anything

	// BinaryLog tells whether the server writes a binary log.
	BinaryLog bool `json:"binary_log"`
	// MaySetBinlogFormat tells whether the account's grants, without those of roles,
	// let it set binlog_format.
	MaySetBinlogFormat bool `json:"may_set_binlog_format"`
	// Replica tells whether the server replicates from another: "yes", "no", or
	// "unknown" where the account may not see that.
	Replica string `json:"replica"`

	// Findings are sorted by severity, the worst first, then by ID.
	Findings []Finding `json:"findings"`
}

// Server is who answers.
type Server struct {
	Vendor   string `json:"vendor"`   // "MySQL" or "MariaDB"; servers that are neither pass for MySQL
	Version  string `json:"version"`  // as VERSION() gives it, "10.11.14-MariaDB-log"
	Comment  string `json:"comment"`  // version_comment
	Account  string `json:"account"`  // as CURRENT_USER() gives it, "app@%"
	Database string `json:"database"` // "" where none is chosen
}

// State is what a session is set to. A value is "" where the server has no such variable.
type State struct {
	Isolation    string `json:"isolation"`     // "READ-COMMITTED"; the variable is transaction_isolation or tx_isolation
	BinlogFormat string `json:"binlog_format"` // "ROW", "MIXED" or "STATEMENT"
	Autocommit   string `json:"autocommit"`    // "ON" or "OFF"
	SQLMode      string `json:"sql_mode"`      // names with commas between them
}

// Finding is one thing to know about a session or its server.
type Finding struct {
	ID       string   `json:"id"`       // stable, for programs; docs/check.md lists them
	Severity Severity `json:"severity"` // at which to log it, or to stop
	What     string   `json:"what"`     // is the case, in a few words
	Why      string   `json:"why"`      // it matters
	Cure     string   `json:"cure"`     // "" where none is needed
	Source   string   `json:"source"`   // where that is documented
}

// Severity is how bad a finding is. In JSON and text it is its name.
type Severity int

const (
	Info    Severity = iota + 1 // as on any healthy server
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

// UnmarshalText takes one of the names; any other is an error.
func (s *Severity) UnmarshalText(text []byte) error {
	for severity, name := range severityNames {
		if name != "" && name == string(text) {
			*s = Severity(severity)
			return nil
		}
	}
	return fmt.Errorf("inspect: no severity %q: there are info, warning and error", text)
}

// Worst returns the greatest severity among findings, or 0 where there are none.
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
