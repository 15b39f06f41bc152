package inspect

import (
	"cmp"
	"fmt"
	"slices"
)

// Report is what one session shows.
type Report struct {
	Server  Server `json:"server"`
	Session State  `json:"session"`
	Global  State  `json:"global"` // what a new session gets where nobody sets anything

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
	Vendor   string `json:"vendor"` // "MySQL" or "MariaDB"; servers that are neither pass for MySQL
	Version  string `json:"version"`
	Comment  string `json:"comment"` // version_comment
	Account  string `json:"account"`
	Database string `json:"database"` // "" where none is chosen
}

// State is what a session is set to. A value is "" where the server has no such variable.
type State struct {
	Isolation    string `json:"isolation"`
	BinlogFormat string `json:"binlog_format"`
	Autocommit   string `json:"autocommit"`
	SQLMode      string `json:"sql_mode"`
}

// Finding is one thing to know about a session or its server.
type Finding struct {
	ID       string   `json:"id"` // stable, for programs
	Severity Severity `json:"severity"`
	What     string   `json:"what"`
	Why      string   `json:"why"`    // it matters
	Cure     string   `json:"cure"`   // "" where none is needed
	Source   string   `json:"source"` // where that is documented
}

// Severity is how bad a finding is. In JSON and text it is its name.
type Severity int

const (
	Info    Severity = iota + 1 // as on any healthy server
	Warning                     // something will go wrong some day, or slowly
	Error                       // something goes wrong now
)

var severityNames = []string{Info: "info", Warning: "warning", Error: "error"}

func (s Severity) String() string {
	if s >= Info && s <= Error {
		return severityNames[s]
	}
	return fmt.Sprintf("Severity(%d)", int(s))
}

// MarshalText gives the name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the name.
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
