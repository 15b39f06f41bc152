package inspect

import "strings"

// This file makes the lines to copy of cures.

// commands joins lines to copy.
func commands(lines ...string) string { return strings.Join(lines, "\n") }

// serverSetting are the lines that give new sessions a setting: now, and after the
// server's next start.
func serverSetting(statement, cnf string) string {
	return commands(
		"# now: new sessions, not those that are open",
		statement+";",
		"# in my.cnf: from the next start of the server",
		"[mysqld]",
		cnf)
}

// rowLogging are the lines that make the server log rows.
func rowLogging() string {
	return serverSetting("SET GLOBAL binlog_format = 'ROW'", "binlog_format = ROW")
}
