package inspect

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mysqlinit/mysqlinit/internal/sqltext"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// This file has the rules about the binary log and its replicas.

// binlogStatement is an error only if this session cannot write: the format that
// other sessions have, or one that this session can write with, is information.
func binlogStatement(f *facts) *Finding {
	thisSession := f.session[sysvar.BinlogFormat] == "STATEMENT"
	if !thisSession && !f.logsStatements() || !f.refusesStatement() {
		return nil
	}
	if thisSession && len(f.member) > 0 {
		return nil // groupReplicationFormat reports it
	}
	if f.vitess != nil && len(f.vitess.shards) > 0 {
		return nil // vitessStatement reports it
	}
	finding := &Finding{
		Severity: Info,
		What:     "new sessions log in STATEMENT format, but this session does not",
		Why:      "InnoDB refuses every write of a READ COMMITTED transaction that logs in STATEMENT format (error 1665)",
		Cure:     "log rows on the server: " + setGlobalReaches,
		Commands: f.rowLogging(),
	}
	switch inClient, grant := f.statementCureInClient(); {
	case !thisSession:
		return finding
	case !f.logsStatements():
		finding.Cure, finding.Commands = f.takeOut(sysvar.BinlogFormat), ""
	default:
		finding.Cure += "; or in the client: " + inClient
		finding.Commands += grant
	}
	switch {
	case !needsRowLog(f.session):
		finding.What = "this session logs in STATEMENT format, and can write because it is " + isolation(f.session)
	case f.leavesFormat():
		finding.What = "this session can only read: it is " + isolation(f.session) + ", logs in STATEMENT format, and has binlog=server in its DSN"
	default:
		finding.Severity, finding.What = Error, isolation(f.session)+" writes will fail: this session logs in STATEMENT format"
	}
	return finding
}

// setGlobalReaches says what SET GLOBAL binlog_format does and does not do.
const setGlobalReaches = "SET GLOBAL reaches new sessions, but not those that pools and replicas have open; my.cnf is for after a restart"

// leavesFormat reports whether the DSN has the key of the driver mysqlinit with
// which a pool that only reads accepts every format.
func (f *facts) leavesFormat() bool {
	return f.cfg != nil && strings.EqualFold(f.cfg.Params["binlog"], "server")
}

// dsnLevel returns the value of the DSN's key isolation of the driver mysqlinit, or "".
func (f *facts) dsnLevel() string {
	if f.cfg == nil {
		return ""
	}
	return f.cfg.Params["isolation"]
}

// keepsOtherLevel reports whether the DSN's key isolation is why the session is
// neither READ COMMITTED nor READ UNCOMMITTED.
func (f *facts) keepsOtherLevel() bool {
	asked, _ := sysvar.ParseLevel(f.dsnLevel())
	return f.dsnLevel() != "" && !sysvar.NeedsRowLog(asked) && !needsRowLog(f.session)
}

// statementCureInClient is the cure if the server cannot be changed, and the GRANT
// that is the last resort.
func (f *facts) statementCureInClient() (cure, grant string) {
	cure = "isolation=server keeps the server's level; binlog=server is for pools that only read"
	privilege, also := f.smallestPrivilege()
	switch {
	case f.maySetBinlogFormat():
		return cure + "; binlog=row sets the format for each session, which this account is allowed to do", ""
	case privilege == "":
		return cure + "; no privilege smaller than SUPER lets an account set the format on this server", ""
	}
	return cure + "; as a last resort, a GRANT", commands("",
		"# last resort; it also lets the account "+also,
		"GRANT "+privilege+" ON *.* TO "+sqltext.QuoteAccount(f.account)+";")
}

func binlogFormatFixed(f *facts) *Finding {
	format, known := f.session[sysvar.BinlogFormat]
	if !known || f.maySetBinlogFormat() || f.grants == nil {
		return nil
	}
	if format == "STATEMENT" && f.refusesStatement() {
		return nil // binlogStatement reports it
	}
	finding := &Finding{
		Severity: Info,
		What:     "this account's own grants do not let it set binlog_format, which is " + format,
		Why:      "READ COMMITTED does not need that: the driver checks the format in the same statement instead of setting it; with MIXED, InnoDB logs the rows of READ COMMITTED transactions",
	}
	switch {
	case !needsRowLog(f.session):
		finding.Why = isolation(f.session) + " does not need that: InnoDB writes in every format; the driver checks the format only if it sets READ COMMITTED or READ UNCOMMITTED"
	case f.leavesFormat():
		finding.Why = "with binlog=server in the DSN the driver neither sets nor checks it; " + failsInStatement
	case strings.EqualFold(f.dsnLevel(), "server"):
		finding.Why = "with isolation=server in the DSN the driver does not check it; " + failsInStatement
	}
	return finding
}

const failsInStatement = "writes will fail (1665) if it becomes STATEMENT with the binary log on"

func replicaStatement(f *facts) *Finding {
	if !f.isReplica() || f.isMariaDB() || f.global[sysvar.BinlogFormat] != "STATEMENT" || !f.on("log_bin") || !f.logsUpdates() {
		return nil
	}
	return &Finding{
		Severity: Error,
		What:     "this replica writes the changes it receives to its own binary log in STATEMENT format",
		Why:      "it stops with error 1666 at the first row event, and every READ COMMITTED transaction on the primary writes row events",
		Cure:     "log rows in this replica too; or log_slave_updates = OFF in my.cnf, if no other server replicates from it",
		Commands: f.rowLogging(),
	}
}

func replicasUnknown(f *facts) *Finding {
	if !f.on("log_bin") || f.isMariaDB() { // a MariaDB replica goes on
		return nil
	}
	return &Finding{
		Severity: Info,
		What:     "this check cannot see whether replicas of this server can apply row events",
		Why:      "a MySQL replica with log_bin and log_slave_updates on and binlog_format STATEMENT stops with error 1666",
		Cure:     "ask each replica, or run this check there",
		Commands: commands("SELECT @@GLOBAL.log_bin, @@GLOBAL.log_slave_updates,", "  @@GLOBAL.binlog_format;"),
	}
}

func replicationFilters(f *facts) *Finding {
	filters := f.filters()
	if len(filters) == 0 {
		return nil
	}
	return &Finding{
		Severity: Warning,
		What:     "replication filters are set: " + strings.Join(filters, ", "),
		Why:      "they match the current database for statements, and the table's database for rows: under ROW they let other changes pass than under STATEMENT",
		Cure:     "check that they name the databases of the tables; if they do, check again with -ignore=replication-filters",
	}
}

// smallBinlogCache is a size that a transaction soon outgrows if its rows are
// logged: 100,000 updated rows were 18 MB in a test, so this is about 350,000.
const smallBinlogCache = 64 << 20

const defaultBinlogCache = "18446744073709547520" // of MariaDB and MySQL

func binlogCacheSmall(f *facts) *Finding {
	size, err := strconv.ParseUint(f.global["max_binlog_cache_size"], 10, 64)
	if err != nil || size >= smallBinlogCache || !f.refusesStatement() {
		return nil
	}
	return &Finding{
		Severity: Warning,
		What:     fmt.Sprintf("max_binlog_cache_size is %d bytes", size),
		Why:      "ROW logs every changed row: a large UPDATE that was logged as one statement can now fail with error 1197",
		Cure:     "set it to its default, which is unlimited in practice; or use smaller transactions",
		Commands: serverSetting("SET GLOBAL max_binlog_cache_size = "+defaultBinlogCache, "max_binlog_cache_size = "+defaultBinlogCache),
	}
}
