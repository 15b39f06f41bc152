package inspect

import (
	"fmt"
	"regexp"
	"strings"
)

// This file has the rules about transactions and tables.

func repeatableRead(f *facts) Finding {
	if state(f.global).Isolation != "REPEATABLE-READ" {
		return none
	}
	return Finding{
		Severity: Info,
		What:     "new sessions are REPEATABLE READ unless they are set otherwise",
		Why:      "it is the default; get-or-create code in such a transaction loses the row that another created (1062, then no row)",
		Cure:     "for all programs: [mysqld] transaction-isolation = READ-COMMITTED in my.cnf; for this one: the driver mysqlinit",
	}
}

func snapshotIsolation(f *facts) Finding {
	if !isOn(f.session["innodb_snapshot_isolation"]) || state(f.session).Isolation != "REPEATABLE-READ" {
		return none
	}
	return Finding{
		Severity: Info, // both are MariaDB's defaults
		What:     "innodb_snapshot_isolation is on, and this session is REPEATABLE READ",
		Why:      "writing a row that another transaction has changed since the snapshot fails with error 1020 and rolls the whole transaction back",
		Cure:     "READ COMMITTED (the driver's default); or run such transactions again: mysqltx.Run",
	}
}

func rollbackOnTimeout(f *facts) Finding {
	if !f.on("innodb_rollback_on_timeout") {
		return none
	}
	return Finding{
		Severity: Warning,
		What:     "innodb_rollback_on_timeout is on",
		Why:      "a lock wait that times out (error 1205) rolls the whole transaction back, not the statement alone: code that goes on after it commits half",
		Cure:     "in my.cnf: [mysqld] innodb_rollback_on_timeout = OFF, the default; or mysqltx.Run, which notices",
	}
}

func deadlockDetectOff(f *facts) Finding {
	if value, known := f.global["innodb_deadlock_detect"]; !known || isOn(value) {
		return none
	}
	return Finding{
		Severity: Warning,
		What:     "innodb_deadlock_detect is off",
		Why:      "a deadlock is no error 1213 at once, but 1205 after innodb_lock_wait_timeout, which is 50 s by default, and then only the statement is rolled back",
		Cure:     "in my.cnf: [mysqld] innodb_deadlock_detect = ON, the default; or a short innodb_lock_wait_timeout",
	}
}

func autocommitOff(f *facts) Finding {
	if value, known := f.session["autocommit"]; !known || isOn(value) {
		return none
	}
	return Finding{
		Severity: Warning,
		What:     "autocommit is off in this session",
		Why:      "what runs outside a transaction stays uncommitted, with its locks, until the connection's next user begins one, and is then committed with it; it is lost when the connection closes",
		Cure:     "take autocommit=0 out of my.cnf, init_connect and the DSN; use BeginTx",
	}
}

// changesSession matches an init_connect that sets what this is about.
var changesSession = regexp.MustCompile(`(?i)isolation|binlog_format|autocommit|sql_mode|sql_log_bin`)

func initConnect(f *facts) Finding {
	text := f.global["init_connect"]
	if text == "" {
		return none
	}
	finding := Finding{
		Severity: Info,
		What:     "init_connect is set on the server",
		Why:      "the server runs it on each new connection of an account without SUPER or CONNECTION_ADMIN, before the driver's SET",
	}
	if changesSession.MatchString(text) {
		finding.Severity = Warning
		finding.What = "init_connect on the server changes sessions (isolation level, binlog format, autocommit or sql_mode)"
		finding.Why += "; accounts with these privileges get other sessions than those without"
		finding.Cure = "in my.cnf: [mysqld] set the variables themselves instead of init_connect"
	}
	return finding
}

func noPrimaryKey(f *facts) Finding {
	names := f.tablesWhere(func(t table) bool { return !t.hasPrimary })
	if len(names) == 0 || !f.refusesStatement() {
		return none
	}
	return Finding{
		Severity: Warning,
		What:     "tables without a primary key: " + list(names),
		Why:      "with row-based logging a replica searches the whole table for each changed row; Galera and Group Replication refuse or misapply changes of such tables",
		Cure:     "ALTER TABLE … ADD PRIMARY KEY",
	}
}

func notInnoDB(f *facts) Finding {
	names := f.tablesWhere(func(t table) bool { return !t.transactional })
	if len(names) == 0 {
		return none
	}
	return Finding{
		Severity: Warning,
		What:     "tables whose engine has no transactions: " + list(names),
		Why:      "isolation levels mean nothing for them, and what a transaction changes in them no rollback undoes",
		Cure:     "ALTER TABLE … ENGINE=InnoDB",
	}
}

func (f *facts) tablesWhere(is func(table) bool) (names []string) {
	for _, t := range f.tables {
		if is(t) {
			names = append(names, t.name)
		}
	}
	return names
}

func list(names []string) string {
	if len(names) <= maxTables {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxTables], ", "), len(names)-maxTables)
}

func notStrict(f *facts) Finding {
	mode, known := f.session["sql_mode"]
	if !known || strings.Contains(mode, "STRICT_TRANS_TABLES") || strings.Contains(mode, "STRICT_ALL_TABLES") || strings.Contains(mode, "TRADITIONAL") {
		return none
	}
	return Finding{
		Severity: Info,
		What:     "sql_mode is not strict",
		Why:      "a value that does not fit its column is cut, with a warning that database/sql does not show",
		Cure:     "sql_mode='STRICT_TRANS_TABLES' in the DSN, or in my.cnf",
	}
}
