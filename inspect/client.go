package inspect

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// This file has the rules about the client's side: account, DSN and pool.

// shortWait is the wait_timeout, in seconds, below which idle connections of a pool are often
// closed under it.
const shortWait = 60

func waitTimeout(f *facts) Finding {
	seconds, err := strconv.Atoi(f.session["wait_timeout"])
	if err != nil {
		return none
	}
	finding := Finding{
		Severity: Info,
		What:     fmt.Sprintf("the server closes connections that are idle for %d s (wait_timeout)", seconds),
		Why:      "a pool that keeps one longer finds it closed; the driver notices in most cases, at the price of a new connection",
		Cure:     "db.SetConnMaxLifetime or SetConnMaxIdleTime below that; three minutes are a good value where nothing is known about what lies between",
	}
	if seconds < shortWait {
		finding.Severity = Warning
	}
	return finding
}

func readTimeout(f *facts) Finding {
	if f.cfg == nil || f.cfg.ReadTimeout > 0 {
		return none
	}
	return Finding{
		Severity: Info,
		What:     "readTimeout is not set in the DSN",
		Why:      "COMMIT and ROLLBACK are bounded by no context in database/sql: when the network goes silent, only readTimeout ends them",
		Cure:     "readTimeout in the DSN, above the longest query",
	}
}

func tooMuch(f *facts) Finding {
	names := f.privileges()
	if len(names) == 0 {
		return none
	}
	finding := Finding{
		Severity: Warning,
		What:     "this account has more than an application needs: " + strings.Join(names, ", ") + " on *.*",
		Why:      "with it a program's fault can change or stop the server; setting binlog_format is not worth it where the server's is ROW or MIXED",
		Cure:     "an account with rights on its own database only; the driver then checks the format instead of setting it",
	}
	if slices.Equal(names, []string{"SESSION_VARIABLES_ADMIN"}) { // the smallest that MySQL 8 and later have
		finding.Severity = Info
		finding.Why = "it is what setting binlog_format takes, and also lets the account switch sql_log_bin off"
	}
	return finding
}

func variableIgnored(f *facts) Finding {
	names := f.ignored()
	if len(names) == 0 {
		return none
	}
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s is %q", name, f.session[name]))
	}
	return Finding{
		Severity: Warning,
		What:     "the DSN sets variables that the session does not show so: " + strings.Join(parts, ", "),
		Why:      "the server, or what lies between, took the SET and did not obey it",
		Cure:     "verify=true makes that an error for the isolation level and the binlog format; ask the server's documentation about the others",
	}
}

// forwarded: the server's own port differs from the DSN's.
func forwarded(f *facts) Finding {
	if f.cfg == nil || f.cfg.Net != "tcp" {
		return none
	}
	_, port, err := net.SplitHostPort(f.cfg.Addr)
	if err != nil || f.global["port"] == "" || port == f.global["port"] {
		return none
	}
	return Finding{
		Severity: Info,
		What:     fmt.Sprintf("the DSN names port %s, the server calls its own %s", port, f.global["port"]),
		Why:      "something lies between: a mapped port, a tunnel, or a proxy such as MySQL Router or HAProxy, which may send each connection to another server",
		Cure:     "none is needed where whole connections are forwarded; an SQL proxy that shares sessions wants binlog=server in the DSN",
	}
}
