package inspect

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/mysqlinit/mysqlinit/internal/sqltext"
)

// This file has the rules about the client's side: account, DSN and pool.

// shortWait is the wait_timeout, in seconds, below which the server often closes
// a pool's idle connections.
const shortWait = 60

func waitTimeout(f *facts) *Finding {
	seconds, err := strconv.Atoi(f.session["wait_timeout"])
	if err != nil {
		return nil
	}
	finding := &Finding{
		Severity: Info,
		What:     fmt.Sprintf("the server closes connections that are idle for %d s (wait_timeout)", seconds),
		Why:      "a pool that keeps a connection longer finds it closed; in most cases the driver notices, at the price of a new connection",
		Cure:     "set db.SetConnMaxLifetime or SetConnMaxIdleTime below that; if you do not know what is between the program and the server, three minutes is a good value",
	}
	if seconds < shortWait {
		finding.Severity = Warning
		finding.Cure = "set wait_timeout=600 in the DSN, with which the server waits longer; or keep it, set db.SetConnMaxLifetime or SetConnMaxIdleTime below it, and check again with -ignore=wait-timeout"
	}
	return finding
}

func readTimeoutUnset(f *facts) *Finding {
	if f.cfg == nil || f.cfg.ReadTimeout > 0 {
		return nil
	}
	return &Finding{
		Severity: Info,
		What:     "readTimeout is not set in the DSN",
		Why:      "no context bounds COMMIT and ROLLBACK in database/sql: if the network goes silent, only readTimeout ends them",
		Cure:     "set readTimeout in the DSN to more than the longest query takes",
	}
}

func accountPrivileges(f *facts) *Finding {
	names := f.privileges()
	if len(names) == 0 {
		return nil
	}
	finding := &Finding{
		Severity: Warning,
		What:     "this account has more than an application needs: " + strings.Join(names, ", ") + " on *.*",
		Why:      "a bug in the program can change or stop the server; if the server's binlog_format is ROW or MIXED, setting the session's is not worth that",
		Cure:     "use an account with rights on its own database only; the driver then checks the format instead of setting it",
	}
	if !f.isAdministrator() {
		finding.Cure = "take the privileges back; the driver then checks the format instead of setting it"
		finding.Commands = "REVOKE " + strings.Join(names, ",\n  ") + " ON *.* FROM " + sqltext.QuoteAccount(f.account) + ";"
	}
	if f.logsStatements() { // without the privilege the driver would refuse to connect
		finding.Cure = "once the server logs rows: " + finding.Cure
		if finding.Commands != "" {
			finding.Commands = commands("# once the server logs rows", finding.Commands)
		}
	}
	if privilege, also := f.smallestPrivilege(); slices.Equal(names, []string{privilege}) {
		finding.Why = "setting binlog_format needs it, but it also lets the account " + also
		if f.logsStatements() || !f.isMariaDB() {
			finding.Severity = Info
		}
	}
	return finding
}

func variableIgnored(f *facts) *Finding {
	names := ignoredVariables(f.cfg, f.session)
	if len(names) == 0 {
		return nil
	}
	var values []string
	for _, name := range names {
		values = append(values, fmt.Sprintf("%s is %q", name, f.session[name]))
	}
	finding := &Finding{
		Severity: Warning,
		What:     "the DSN sets variables that have other values in the session: " + strings.Join(values, ", "),
		Why:      "the server, or a proxy in between, accepted the SET and did not obey it",
		Cure:     "verify=true makes that an error for the isolation level and the binlog format; for other variables see the server's documentation",
	}
	if f.vitess != nil {
		finding.Cure = "take them out of the DSN: vtgate ignores some variables without a warning; set them in the my.cnf of the shards' servers, or in place of a time limit use query_timeout (in ms), which vtgate heeds"
	}
	return finding
}

func forwarded(f *facts) *Finding {
	if f.cfg == nil || f.cfg.Net != "tcp" {
		return nil
	}
	_, port, err := net.SplitHostPort(f.cfg.Addr)
	if err != nil || f.global["port"] == "" || port == f.global["port"] {
		return nil
	}
	return &Finding{
		Severity: Info,
		What:     fmt.Sprintf("the DSN names port %s, but the server listens on port %s", port, f.global["port"]),
		Why:      "something is in between: a mapped port, a tunnel, or a proxy such as MySQL Router or HAProxy, which can send each connection to another server",
		Cure:     "none is needed if whole connections are forwarded; for an SQL proxy that shares sessions, set binlog=server in the DSN",
	}
}
