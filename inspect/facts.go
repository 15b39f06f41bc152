package inspect

import (
	"cmp"
	"database/sql"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// facts is what Session has read. The names of variables and columns are in
// lower case.
type facts struct {
	version  string
	account  string
	database string
	ids      [2]string     // CONNECTION_ID(), asked first and last
	cfg      *mysql.Config // nil if Session was not given it

	session map[string]string // the session's variables
	global  map[string]string // the server's variables
	grants  []string          // nil if the server does not show them

	replica map[string]string // replication status; empty: not a replica; nil: unknown
	primary map[string]string // status of the binary log, with its filters; nil: unknown
	galera  map[string]string // status of the Galera node; nil: not in a cluster
	member  map[string]string // state of the member; empty: not in a replication group

	vitess *vitess // nil if it is not Vitess

	tables []table
}

// vitess is what vtgate shows of itself and of the keyspace.
type vitess struct {
	mode       string   // transaction_mode, such as "MULTI"; "" if unknown
	settings   string   // enable_system_settings: "0" if vtgate passes on no SET of a variable
	shards     []shard  // those of the keyspace that answer; vtgate compares a SET with the first
	looseKeys  []string // unique keys, such as "users.email", that hold in each shard for itself
	inOneShard bool     // the database names a shard, such as "app:-80"
}

// shard is the isolation level, the binlog format and log_bin on one shard.
type shard struct {
	name            string // such as "app/-80"
	session, global map[string]string
}

// table is a table that has no primary key or no transactions.
type table struct {
	name          string
	transactional bool // whether its engine has transactions
	hasPrimary    bool
}

func (f *facts) isMariaDB() bool { return strings.Contains(f.version, "MariaDB") }

func (f *facts) isReplica() bool { return len(f.replica) > 0 }

// on reports whether a variable of the server is on.
func (f *facts) on(name string) bool { return isOn(f.global[name]) }

// mentions reports whether a text contains one of the words. Words are in lower
// case; the text can be in any case.
func mentions(text string, words ...string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
}

// isolation returns the level among the variables of a session or a server,
// which have it under one of two names.
func isolation(variables map[string]string) string {
	return cmp.Or(variables[sysvar.TransactionIsolation], variables[sysvar.TxIsolation])
}

func isRepeatableRead(variables map[string]string) bool {
	level, _ := sysvar.ParseLevel(isolation(variables))
	return level == sql.LevelRepeatableRead
}

// needsRowLog reports whether the isolation level among the variables is one that
// InnoDB does not log in STATEMENT format.
func needsRowLog(variables map[string]string) bool {
	level, _ := sysvar.ParseLevel(isolation(variables))
	return sysvar.NeedsRowLog(level)
}

// refusesStatement reports whether the server refuses to write at such a level if
// the format is STATEMENT. It does if its binary log is on; in a Galera cluster
// it always does.
func (f *facts) refusesStatement() bool { return f.on("log_bin") || f.on("wsrep_on") }

// logsStatements reports whether new sessions log in STATEMENT format, and the
// server refuses to write in it at some levels.
func (f *facts) logsStatements() bool {
	return f.global[sysvar.BinlogFormat] == "STATEMENT" && f.refusesStatement()
}

// sets reports whether the configuration sets a variable.
func (f *facts) sets(variable string) bool { return slices.Contains(variablesIn(f.cfg), variable) }

// takeOut is the cure for a value of the session that the server's own is not.
func (f *facts) takeOut(variable string) string {
	if f.sets(variable) {
		return "take " + variable + " out of the DSN"
	}
	return "take the SET of " + variable + " out of the init commands or the server's init_connect"
}

// logsUpdates reports whether a replica writes the changes it receives to its
// own binary log.
func (f *facts) logsUpdates() bool { return f.on("log_replica_updates") || f.on("log_slave_updates") }

// filters returns the names of the replication filters that are set. They match
// the session's database under STATEMENT, and the table's database under ROW.
func (f *facts) filters() (found []string) {
	for _, name := range []string{"binlog_do_db", "binlog_ignore_db", "replicate_do_db", "replicate_ignore_db"} {
		// MariaDB shows them to everyone, as variables.
		if f.global[name] != "" || f.primary[name] != "" || f.replica[name] != "" {
			found = append(found, name)
		}
	}
	return found
}
