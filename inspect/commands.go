package inspect

import "strings"

// This file makes the lines to copy of cures.

// commands joins lines to copy.
func commands(lines ...string) string { return strings.Join(lines, "\n") }

// administrator begins the comment on statements that change the server. The
// account of the check, into whose session they might be pasted, gets 1227.
const administrator = "# as an administrator, now"

// serverSetting are the lines that give new sessions a setting: now, and after the
// server's next start.
func serverSetting(statement, cnf string) string {
	return commands(administrator+": new sessions, not those that are open", statement+";", afterStart(cnf))
}

// afterStart are the lines for my.cnf.
func afterStart(cnf string) string {
	return commands("# in my.cnf: from the next start of the server", "[mysqld]", cnf)
}

// rowLogging are the lines that make the server log rows. MySQL 9.7 refuses the
// statement while it applies the changes of another server (error 3747).
func (f *facts) rowLogging() string {
	const set, cnf = "SET GLOBAL binlog_format = 'ROW'", "binlog_format = ROW"
	if !f.isReplica() || f.isMariaDB() {
		return serverSetting(set, cnf)
	}
	word := "REPLICA" // known since 8.0.22
	if strings.HasPrefix(f.version, "5.") || strings.HasPrefix(f.version, "8.0.") {
		word = "SLAVE" // known before 8.4
	}
	return commands(administrator+": new sessions, and the changes it receives",
		"STOP "+word+" SQL_THREAD;", set+";", "START "+word+" SQL_THREAD;", afterStart(cnf))
}
