package inspect

import (
	"regexp"
	"strings"
)

// This file has the rules about transactions, and about what sets sessions up.

func serverRepeatableRead(f *facts) *Finding {
	if !isRepeatableRead(f.global) {
		return nil
	}
	forThis := "use the driver mysqlinit"
	if f.keepsOtherLevel() {
		forThis = "take isolation= out of this DSN, or leave it if that is intended"
	}
	finding := &Finding{
		Severity: Info,
		What:     "new sessions are REPEATABLE READ unless they are set otherwise",
		Why:      "it is the server's default; get-or-create code in such a transaction loses the row that another transaction created (1062, then no row)",
		Cure:     "for this program: " + forThis + "; for all programs: change the server's level",
		Commands: serverSetting("SET GLOBAL TRANSACTION ISOLATION LEVEL READ COMMITTED", "transaction-isolation = READ-COMMITTED"),
	}
	if f.logsStatements() { // other programs' writes would fail
		finding.Commands = ""
		finding.Cure = "for this program: " + forThis + "; for all programs: change the server's level, but only after it logs rows: in STATEMENT format it refuses every write of a READ COMMITTED transaction (1665)"
		if f.keepsOtherLevel() {
			finding.Cure = "only after the server logs rows: " + forThis + "; or, for all programs, change the server's level. In STATEMENT format it refuses every write of a READ COMMITTED transaction (1665)"
		}
	}
	if f.vitess != nil {
		finding.Commands = ""
		finding.Cure = forThis + "; if you change my.cnf instead, then on the servers of all shards: vtgate drops the SET of every session while only the first has the level"
	}
	return finding
}

func snapshotIsolation(f *facts) *Finding {
	if !isOn(f.session["innodb_snapshot_isolation"]) || !isRepeatableRead(f.session) {
		return nil
	}
	return &Finding{
		Severity: Info, // both are MariaDB's defaults
		What:     "innodb_snapshot_isolation is on, and this session is REPEATABLE READ",
		Why:      "writing a row that another transaction has changed since the snapshot fails with error 1020 and rolls back the whole transaction",
		Cure:     "use READ COMMITTED (the driver's default); or run such transactions again, with mysqltx.Run",
	}
}

func rollbackOnTimeout(f *facts) *Finding {
	if !f.on("innodb_rollback_on_timeout") {
		return nil
	}
	return &Finding{
		Severity: Warning,
		What:     "innodb_rollback_on_timeout is on",
		Why:      "a lock wait that times out (error 1205) rolls back the whole transaction, not just the statement: code that continues after it commits half",
		Cure:     "in my.cnf, set it to its default and start the server again; or use mysqltx.Run, which notices",
		Commands: commands("[mysqld]", "innodb_rollback_on_timeout = OFF"),
	}
}

func deadlockDetectOff(f *facts) *Finding {
	if value, known := f.global["innodb_deadlock_detect"]; !known || isOn(value) {
		return nil
	}
	return &Finding{
		Severity: Warning,
		What:     "innodb_deadlock_detect is off",
		Why:      "a deadlock does not give error 1213 at once, but 1205 after innodb_lock_wait_timeout, which is 50 s by default, and then only the statement is rolled back",
		Cure:     "set it to its default; or set a short innodb_lock_wait_timeout",
		Commands: commands(administrator, "SET GLOBAL innodb_deadlock_detect = ON;", "# in my.cnf: from the next start of the server", "[mysqld]", "innodb_deadlock_detect = ON"),
	}
}

func autocommitOff(f *facts) *Finding {
	if value, known := f.session["autocommit"]; !known || isOn(value) {
		return nil
	}
	finding := &Finding{
		Severity: Warning,
		What:     "autocommit is off in this session",
		Why:      "statements outside a transaction stay uncommitted, with their locks, until the connection's next user begins a transaction, which commits them; they are lost if the connection closes first",
	}
	if f.on("autocommit") || f.sets("autocommit") {
		finding.Cure = f.takeOut("autocommit") + ", and use BeginTx"
	} else {
		finding.Cure = "on the server, where other programs can rely on it; or autocommit=1 in the DSN; and use BeginTx"
		finding.Commands = serverSetting("SET GLOBAL autocommit = ON", "autocommit = ON")
	}
	return finding
}

func initConnect(f *facts) *Finding {
	text := f.global["init_connect"]
	if text == "" {
		return nil
	}
	finding := &Finding{
		Severity: Info,
		What:     "init_connect is set on the server",
		Why:      "the server runs it on each new connection of an account without SUPER or CONNECTION_ADMIN, before the driver's SET",
	}
	if f.isMariaDB() {
		finding.Why = strings.Replace(finding.Why, "CONNECTION_ADMIN", "CONNECTION ADMIN", 1)
	}
	if mentions(text, "isolation", "binlog_format", "autocommit", "sql_mode", "sql_log_bin") {
		finding.Severity = Warning
		finding.What = "init_connect on the server changes sessions (isolation level, binlog format, autocommit or sql_mode)"
		finding.Why += "; accounts with these privileges get different sessions from accounts without them"
		finding.Cure = "set these variables in my.cnf themselves, then empty init_connect"
		finding.Commands = commands("# what it sets", "SELECT @@GLOBAL.init_connect;", serverSetting("SET GLOBAL init_connect = ''", "init_connect ="))
	}
	return finding
}

func sqlModeNotStrict(f *facts) *Finding {
	mode, known := f.session["sql_mode"]
	if !known || isStrict(mode) {
		return nil
	}
	finding := &Finding{
		Severity: Info,
		What:     "sql_mode is not strict",
		Why:      "a value that does not fit its column is cut, with a warning that database/sql does not show",
	}
	global := f.global["sql_mode"]
	switch {
	case f.sets("sql_mode"):
		finding.Cure = "add STRICT_TRANS_TABLES to the sql_mode of the DSN"
	case isStrict(global):
		finding.Cure = "add STRICT_TRANS_TABLES to the SET of sql_mode in the init commands or the server's init_connect"
	default:
		finding.Cure = "for this program, which has to be ready for the errors: sql_mode=%27STRICT_TRANS_TABLES%27 in the DSN, with the other modes that it needs; for all programs: on the server"
		if modeNames.MatchString(global) {
			finding.Commands = serverSetting("SET GLOBAL sql_mode = CONCAT('STRICT_TRANS_TABLES,', @@GLOBAL.sql_mode)",
				"sql_mode = "+strings.TrimSuffix("STRICT_TRANS_TABLES,"+global, ","))
		}
	}
	return finding
}

func isStrict(mode string) bool {
	return mentions(mode, "strict_trans_tables", "strict_all_tables", "traditional")
}

// modeNames matches what is copied into a line to copy.
var modeNames = regexp.MustCompile(`^[A-Z0-9_,]*$`)
