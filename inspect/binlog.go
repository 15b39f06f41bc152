package inspect

import (
	"fmt"
	"strconv"
	"strings"
)

// This file has the rules about the binary log.

// statement: InnoDB refuses writes of READ COMMITTED transactions under it.
func statement(f *facts) Finding {
	session := state(f.session)
	if session.BinlogFormat != "STATEMENT" && f.global["binlog_format"] != "STATEMENT" || !f.refusesStatement() {
		return none
	}
	finding := Finding{
		Severity: Warning,
		What:     "new sessions log in STATEMENT format",
		Why:      "InnoDB then refuses every write of a READ COMMITTED transaction with error 1665",
		Cure:     "in my.cnf: [mysqld] binlog_format = ROW (or MIXED); " + f.cureWithoutServer(),
	}
	if session.BinlogFormat == "STATEMENT" {
		finding.Severity, finding.What = Error, "this session logs in STATEMENT format"
		if !needsRowLog(session.Isolation) {
			finding.Why += "; this one is " + session.Isolation + " and can write"
		}
	}
	return finding
}

func (f *facts) cureWithoutServer() string {
	const elsewhere = "isolation=server keeps the server's level; binlog=server is for pools that only read"
	switch {
	case f.maySetBinlogFormat():
		return elsewhere + "; binlog=row sets the format for each session, which this account may do"
	case f.isMariaDB():
		return elsewhere + "; last, GRANT BINLOG ADMIN ON *.* (which also lets the account purge binary logs)"
	case strings.HasPrefix(f.version, "5."):
		return elsewhere + "; no privilege smaller than SUPER lets an account set it here"
	}
	return elsewhere + "; last, GRANT SESSION_VARIABLES_ADMIN ON *.* (which also lets the account switch sql_log_bin off)"
}

func mayNotSet(f *facts) Finding {
	format, known := f.session["binlog_format"]
	if !known || f.maySetBinlogFormat() || f.grants == nil || format == "STATEMENT" && f.refusesStatement() {
		return none
	}
	return Finding{
		Severity: Info,
		What:     "this account's own grants do not let it set binlog_format, which is " + format,
		Why:      "READ COMMITTED needs no more: the driver checks the format in the same statement instead of setting it; with MIXED, InnoDB logs the rows of READ COMMITTED transactions",
	}
}

func replicaStatement(f *facts) Finding {
	if !f.isReplica() || f.isMariaDB() || f.global["binlog_format"] != "STATEMENT" || !f.on("log_bin") || !f.logsUpdates() {
		return none
	}
	return Finding{
		Severity: Error,
		What:     "this replica writes what it replicates to its own log in STATEMENT format",
		Why:      "it stops with error 1666 at the first row event, which every READ COMMITTED transaction on the primary makes",
		Cure:     "in this replica's my.cnf: [mysqld] binlog_format = ROW (or MIXED); or log_slave_updates = OFF, where no other server replicates from it",
	}
}

func replicasUnknown(f *facts) Finding {
	if !f.on("log_bin") {
		return none
	}
	return Finding{
		Severity: Info,
		What:     "whether replicas of this server can apply row events is unknown from here",
		Why:      "a MySQL replica with log_bin and log_slave_updates on and binlog_format STATEMENT stops with error 1666",
		Cure:     "ask each replica: SELECT @@GLOBAL.log_bin, @@GLOBAL.log_slave_updates, @@GLOBAL.binlog_format; or run this check there",
	}
}

func replicationFilters(f *facts) Finding {
	filters := f.filters()
	if len(filters) == 0 {
		return none
	}
	return Finding{
		Severity: Warning,
		What:     "replication filters are set: " + strings.Join(filters, ", "),
		Why:      "for statements they look at the current database, for rows at the table's: other changes pass them under ROW than under STATEMENT",
		Cure:     "see that they name what they should by the tables' databases",
	}
}

// smallBinlogCache is where a transaction of rows is soon too large for the
// cache: 100,000 updated rows were 18 MB in a test, so this is about 350,000.
const smallBinlogCache = 64 << 20

func smallCache(f *facts) Finding {
	size, err := strconv.ParseUint(f.global["max_binlog_cache_size"], 10, 64)
	if err != nil || size >= smallBinlogCache || !f.refusesStatement() {
		return none
	}
	return Finding{
		Severity: Warning,
		What:     fmt.Sprintf("max_binlog_cache_size is %d bytes", size),
		Why:      "ROW logs every changed row: a large UPDATE that was one statement may now fail with error 1197",
		Cure:     "in my.cnf: [mysqld] max_binlog_cache_size at its default, which is unlimited in practice; or smaller transactions",
	}
}
