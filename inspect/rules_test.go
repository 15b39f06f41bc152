package inspect

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// healthy returns the facts of a MySQL server as it is installed, and of an
// ordinary account.
func healthy() *facts {
	variables := func() map[string]string {
		return map[string]string{
			"autocommit": "ON", "binlog_format": "ROW", "innodb_deadlock_detect": "ON", "innodb_rollback_on_timeout": "OFF",
			"log_bin": "ON", "log_replica_updates": "ON", "max_binlog_cache_size": "18446744073709547520", "port": "3306", "read_only": "OFF",
			"super_read_only": "OFF", "sql_mode": "STRICT_TRANS_TABLES", "transaction_isolation": "REPEATABLE-READ",
			"version_comment": "stock", "wait_timeout": "28800", "init_connect": "",
		}
	}
	f := &facts{
		session: variables(), global: variables(),
		grants:  []string{"GRANT USAGE ON *.* TO `app`@`%`", "GRANT ALL PRIVILEGES ON `app`.* TO `app`@`%`"},
		version: "9.7.4", account: "app@%", database: "app", ids: [2]string{"7", "7"},
		cfg: mysql.NewConfig(),
	}
	f.session["transaction_isolation"] = "READ-COMMITTED"
	f.cfg.Net, f.cfg.Addr = "tcp", "db:3306"
	return f
}

// mariaDB changes the facts to those of MariaDB 10.11.
func (f *facts) mariaDB() *facts {
	f.version = "10.11.14-MariaDB"
	for _, variables := range []map[string]string{f.session, f.global} {
		variables["tx_isolation"] = variables["transaction_isolation"]
		delete(variables, "transaction_isolation")
		variables["binlog_format"] = "MIXED"
	}
	return f
}

// levelOf returns a shard's variables.
func levelOf(level string) map[string]string {
	return map[string]string{"transaction_isolation": level, "binlog_format": "ROW"}
}

func found(f *facts) (all []string) {
	for _, finding := range f.report().Findings {
		all = append(all, finding.ID+" "+finding.Severity.String())
	}
	return all
}

func TestHealthyServersHaveNothingAboveInfo(t *testing.T) {
	want := []string{"binlog-format-fixed info", "read-timeout-unset info", "replicas-unknown info", "server-repeatable-read info", "wait-timeout info"}
	if got := found(healthy()); !slices.Equal(got, want) {
		t.Errorf("MySQL: %q", got)
	}
	want = slices.DeleteFunc(want, func(s string) bool { return s == "replicas-unknown info" }) // MariaDB's replicas go on
	if got := found(healthy().mariaDB()); !slices.Equal(got, want) {
		t.Errorf("MariaDB: %q", got)
	}
}

func TestRules(t *testing.T) {
	set := func(name, value string) func(*facts) {
		return func(f *facts) { f.session[name], f.global[name] = value, value }
	}
	all := func(changes ...func(*facts)) func(*facts) {
		return func(f *facts) {
			for _, change := range changes {
				change(f)
			}
		}
	}
	grant := func(grant string) func(*facts) { return func(f *facts) { f.grants = []string{grant} } }
	mariaDB := func(f *facts) { f.mariaDB() }
	dsn := func(key, value string) func(*facts) {
		return func(f *facts) { f.cfg.Params = map[string]string{key: value} }
	}
	repeatableRead := func(f *facts) { f.session["transaction_isolation"] = "REPEATABLE-READ" }
	replica := func(f *facts) { f.replica = map[string]string{"replica_io_running": "Yes"} }
	onVitess := func(change func(*facts)) func(*facts) {
		return func(f *facts) {
			f.version = "8.4.6-Vitess"
			f.vitess = &vitess{mode: "MULTI", settings: "1"}
			for _, name := range []string{"app/-80", "app/80-"} {
				f.vitess.shards = append(f.vitess.shards, shard{name: name, session: levelOf("READ-COMMITTED"), global: levelOf("REPEATABLE-READ")})
			}
			change(f)
		}
	}
	onShard := func(i int, format, logBin string) func(*facts) {
		return onVitess(func(f *facts) {
			f.vitess.shards[i].session["binlog_format"], f.vitess.shards[i].global["log_bin"] = format, logBin
		})
	}
	galera := func(cluster, state, ready string) func(*facts) {
		return all(mariaDB, set("wsrep_on", "ON"), set("wsrep_sync_wait", "1"), func(f *facts) {
			f.galera = map[string]string{"wsrep_cluster_status": cluster, "wsrep_local_state_comment": state, "wsrep_ready": ready}
		})
	}
	for _, test := range []struct {
		name   string
		change func(*facts)
		want   string // the ID and severity of a finding
		absent string // the ID of a finding that there should not be
		text   string // what some part of the wanted finding contains
	}{
		{name: "STATEMENT", change: set("binlog_format", "STATEMENT"), want: "binlog-statement error", absent: "binlog-format-fixed", text: "GRANT SESSION_VARIABLES_ADMIN ON *.* TO 'app'@'%';"},
		{name: "STATEMENT on MariaDB", change: all(mariaDB, set("binlog_format", "STATEMENT")), want: "binlog-statement error", text: "SET GLOBAL binlog_format = 'ROW';"},
		{name: "STATEMENT on MySQL 5.6", change: all(set("binlog_format", "STATEMENT"), func(f *facts) { f.version = "5.6.24" }), want: "binlog-statement error", text: "no privilege smaller than SUPER"},
		{name: "STATEMENT, log off", change: all(set("binlog_format", "STATEMENT"), set("log_bin", "OFF")), want: "binlog-format-fixed info", absent: "binlog-statement"},
		{name: "STATEMENT in Galera, log off", change: all(galera("Primary", "Synced", "ON"), set("binlog_format", "STATEMENT"), set("log_bin", "OFF")), want: "binlog-statement error", text: "1665"},
		{name: "STATEMENT for others only", change: func(f *facts) { f.global["binlog_format"] = "STATEMENT" }, want: "binlog-statement info", text: "new sessions"},
		{name: "STATEMENT in the DSN", change: func(f *facts) {
			f.session["binlog_format"], f.cfg.Params = "STATEMENT", map[string]string{"binlog_format": "'STATEMENT'"}
		}, want: "binlog-statement error", text: "take binlog_format out of the DSN"},
		{name: "STATEMENT in an init command", change: func(f *facts) { f.session["binlog_format"] = "STATEMENT" }, want: "binlog-statement error", text: "out of the init commands"},
		{name: "STATEMENT, REPEATABLE READ", change: all(set("binlog_format", "STATEMENT"), repeatableRead), want: "binlog-statement info", text: "can write"},
		{name: "STATEMENT, binlog=server", change: all(set("binlog_format", "STATEMENT"), func(f *facts) { f.cfg.Params = map[string]string{"binlog": "server"} }), want: "binlog-statement info", text: "can only read"},
		{name: "STATEMENT in a group", change: all(set("binlog_format", "STATEMENT"), func(f *facts) { f.member = map[string]string{"member_state": "ONLINE"} }), want: "group-replication-format error", absent: "binlog-statement"},
		{name: "a privilege to set it", change: grant("GRANT SESSION_VARIABLES_ADMIN ON *.* TO `app`@`%`"), want: "account-privileges info", absent: "binlog-format-fixed", text: "sql_log_bin"},
		{name: "READ COMMITTED by default", change: set("transaction_isolation", "READ-COMMITTED"), absent: "server-repeatable-read"},
		{name: "no READ COMMITTED for others in STATEMENT", change: set("binlog_format", "STATEMENT"), want: "server-repeatable-read info", text: "only after it logs rows"},
		{name: "READ COMMITTED by the driver", change: func(*facts) {}, want: "server-repeatable-read info", text: "use the driver mysqlinit"},
		{name: "isolation=server", change: all(repeatableRead, dsn("isolation", "server")), want: "server-repeatable-read info", text: "for this program: take isolation= out of this DSN"},
		{name: "isolation=repeatable-read", change: all(repeatableRead, dsn("isolation", "Repeatable-Read")), want: "server-repeatable-read info", text: "for this program: take isolation= out of this DSN"},
		{name: "isolation=server, STATEMENT", change: all(repeatableRead, dsn("isolation", "server"), set("binlog_format", "STATEMENT")), want: "server-repeatable-read info", text: "only after the server logs rows: take isolation= out"},
		{name: "isolation=server, an init command", change: dsn("isolation", "server"), want: "server-repeatable-read info", text: "use the driver mysqlinit"},
		{name: "isolation=read-committed, refused", change: all(repeatableRead, dsn("isolation", "read-committed")), want: "server-repeatable-read info", text: "use the driver mysqlinit"},
		{name: "the format is checked", change: func(*facts) {}, want: "binlog-format-fixed info", text: "the driver checks the format in the same statement"},
		{name: "the format is not checked at REPEATABLE READ", change: all(repeatableRead, dsn("isolation", "server")), want: "binlog-format-fixed info", text: "REPEATABLE-READ does not need that"},
		{name: "the format is not checked, isolation=server", change: dsn("isolation", "server"), want: "binlog-format-fixed info", text: "with isolation=server in the DSN the driver does not check it"},
		{name: "the format is not checked, binlog=server", change: dsn("binlog", "server"), want: "binlog-format-fixed info", text: "neither sets nor checks it"},
		{name: "replica in STATEMENT", change: all(replica, set("binlog_format", "STATEMENT")), want: "replica-statement error", text: "1666"},
		{name: "replica in STATEMENT, the statements", change: all(replica, set("binlog_format", "STATEMENT")), want: "replica-statement error", text: "STOP REPLICA SQL_THREAD;\nSET GLOBAL binlog_format = 'ROW';\nSTART REPLICA SQL_THREAD;\n#"},
		{name: "replica in STATEMENT, MySQL 5.6", change: all(replica, set("binlog_format", "STATEMENT"), func(f *facts) { f.version = "5.6.24" }), want: "replica-statement error", text: "STOP SLAVE SQL_THREAD;"},
		{name: "replica in ROW", change: replica, absent: "replica-statement"},
		{name: "replica in STATEMENT without log_replica_updates", change: all(replica, set("binlog_format", "STATEMENT"), set("log_replica_updates", "OFF")), absent: "replica-statement"},
		{name: "replica in STATEMENT, MariaDB", change: all(mariaDB, replica, set("binlog_format", "STATEMENT")), absent: "replica-statement"},
		{name: "no log", change: set("log_bin", "OFF"), absent: "replicas-unknown"},
		{name: "a filter of the log", change: func(f *facts) { f.primary = map[string]string{"binlog_do_db": "app"} }, want: "replication-filters warning", text: "binlog_do_db"},
		{name: "a filter of a replica", change: func(f *facts) { f.replica = map[string]string{"replicate_ignore_db": "x"} }, want: "replication-filters warning", text: "replicate_ignore_db"},
		{name: "a filter of MariaDB", change: all(mariaDB, set("replicate_do_db", "x")), want: "replication-filters warning", text: "replicate_do_db"},
		{name: "a small cache", change: set("max_binlog_cache_size", "4194304"), want: "binlog-cache-small warning", text: "1197"},
		{name: "snapshot isolation", change: all(mariaDB, set("tx_isolation", "REPEATABLE-READ"), set("innodb_snapshot_isolation", "ON")), want: "snapshot-isolation info", text: "1020"},
		{name: "snapshot isolation, READ COMMITTED", change: set("innodb_snapshot_isolation", "ON"), absent: "snapshot-isolation"},
		{name: "rollback on timeout", change: set("innodb_rollback_on_timeout", "ON"), want: "rollback-on-timeout warning", text: "1205"},
		{name: "no deadlock detection", change: set("innodb_deadlock_detect", "OFF"), want: "deadlock-detect-off warning", text: "1205"},
		{name: "MySQL 5.6 has no such variable", change: func(f *facts) { delete(f.global, "innodb_deadlock_detect") }, absent: "deadlock-detect-off"},
		{name: "autocommit off", change: set("autocommit", "OFF"), want: "autocommit-off warning", text: "uncommitted"},
		{name: "autocommit off in the DSN", change: func(f *facts) {
			f.cfg.Params, f.session["autocommit"] = map[string]string{"autocommit": "0"}, "OFF"
		}, want: "autocommit-off warning", text: "out of the DSN"},
		{name: "autocommit off in init_connect", change: func(f *facts) { f.session["autocommit"] = "OFF" }, want: "autocommit-off warning", text: "init_connect"},
		{name: "init_connect", change: set("init_connect", "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"), want: "init-connect warning", text: "changes sessions"},
		{name: "harmless init_connect", change: set("init_connect", "INSERT INTO audit.log VALUES ()"), want: "init-connect info"},
		{name: "a table without key", change: func(f *facts) { f.tables = []table{{"events", true, false}} }, want: "no-primary-key warning", absent: "not-innodb", text: "ALTER TABLE `app`.`events`\n  ADD PRIMARY KEY"},
		{name: "MyISAM", change: func(f *facts) { f.tables = []table{{"old", false, true}} }, want: "not-innodb warning", absent: "no-primary-key", text: "ALTER TABLE `app`.`old`\n  ENGINE=InnoDB;"},
		{name: "many tables", change: func(f *facts) { f.tables = slices.Repeat([]table{{"old", false, true}}, 12) }, want: "not-innodb warning", text: "old and 2 more"},
		{name: "read-only", change: set("super_read_only", "ON"), want: "read-only warning", text: "super_read_only"},
		{name: "read-only, rejected", change: all(set("read_only", "ON"), func(f *facts) { f.cfg.RejectReadOnly = true }), want: "read-only info"},
		{name: "a short wait_timeout", change: set("wait_timeout", "10"), want: "wait-timeout warning", text: "10 s"},
		{name: "readTimeout", change: func(f *facts) { f.cfg.ReadTimeout = 1 }, absent: "read-timeout-unset"},
		{name: "no configuration", change: func(f *facts) { f.cfg = nil }, absent: "read-timeout-unset"},
		{name: "Galera", change: galera("Primary", "Synced", "ON"), absent: "galera-state"},
		{name: "Galera, donor", change: galera("Primary", "Donor/Desynced", "ON"), want: "galera-state warning", text: "Donor"},
		{name: "Galera, split", change: galera("non-Primary", "Initialized", "OFF"), want: "galera-state error", text: "1047"},
		{name: "Galera, no wait", change: all(galera("Primary", "Synced", "ON"), set("wsrep_sync_wait", "0")), want: "galera-sync-wait info", text: "several nodes"},
		{name: "Galera, prepared statements", change: galera("Primary", "Synced", "ON"), want: "galera-prepared warning", text: "interpolateParams"},
		{name: "Galera, interpolated", change: all(galera("Primary", "Synced", "ON"), func(f *facts) { f.cfg.InterpolateParams = true }), absent: "galera-prepared"},
		{name: "group member, MIXED", change: all(set("binlog_format", "MIXED"), func(f *facts) { f.member = map[string]string{"member_state": "ONLINE"} }), want: "group-replication-format error", text: "SET GLOBAL binlog_format = 'ROW';"},
		{name: "group member, MIXED in an init command", change: func(f *facts) {
			f.session["binlog_format"], f.member = "MIXED", map[string]string{"member_state": "ONLINE"}
		}, want: "group-replication-format error", text: "out of the init commands"},
		{name: "group member, ROW", change: func(f *facts) { f.member = map[string]string{"member_state": "ONLINE"} }, absent: "group-replication-format"},
		{name: "group member", change: func(f *facts) { f.member = map[string]string{"member_state": "ONLINE"} }, absent: "group-replication-state"},
		{name: "lost group member", change: func(f *facts) { f.member = map[string]string{"member_state": "ERROR"} }, want: "group-replication-state error", text: "ERROR"},
		{name: "ProxySQL", change: set("version_comment", "(ProxySQL)"), want: "proxy warning", text: "binlog=server"},
		{name: "ProxySQL, binlog=server", change: all(set("version_comment", "(ProxySQL)"), func(f *facts) { f.cfg.Params = map[string]string{"binlog": "server"} }), want: "proxy info"},
		{name: "Vitess", change: onVitess(func(*facts) {}), want: "vitess info", absent: "proxy", text: "shard app/-80"},
		{name: "Vitess, two tablets' connections", change: onVitess(func(f *facts) { f.ids[1] = "8" }), absent: "proxy"},
		{name: "Vitess, my.cnf", change: onVitess(func(*facts) {}), want: "server-repeatable-read info", text: "all shards"},
		{name: "Vitess, settings on", change: onVitess(func(f *facts) { f.vitess.settings = "1" }), absent: "vitess-settings-off"},
		{name: "Vitess, settings off", change: onVitess(func(f *facts) { f.vitess.settings = "0" }), want: "vitess-settings-off error", text: "--enable-system-settings"},
		{name: "Vitess, an old one without that variable", change: onVitess(func(f *facts) { f.vitess.settings = "" }), absent: "vitess-settings-off"},
		{name: "Vitess, the same level", change: onVitess(func(*facts) {}), absent: "vitess-shards-differ"},
		{name: "Vitess, the SET dropped", change: onVitess(func(f *facts) {
			f.vitess.shards[0].global, f.vitess.shards[1].session = levelOf("READ-COMMITTED"), levelOf("REPEATABLE-READ")
		}), want: "vitess-shards-differ error", text: "app/-80 READ-COMMITTED, app/80- REPEATABLE-READ"},
		{name: "Vitess, servers differ", change: onVitess(func(f *facts) { f.vitess.shards[0].global = levelOf("READ-COMMITTED") }), want: "vitess-shards-differ warning", text: "SERIALIZABLE"},
		{name: "Vitess, STATEMENT on a shard", change: onShard(1, "STATEMENT", "ON"), want: "vitess-statement error", absent: "binlog-statement", text: "format: app/80-"},
		{name: "Vitess, STATEMENT on the first shard", change: all(set("binlog_format", "STATEMENT"), onShard(0, "STATEMENT", "ON")), want: "vitess-statement error", absent: "binlog-statement", text: "format: app/-80"},
		{name: "Vitess, STATEMENT, log off", change: onShard(1, "STATEMENT", "OFF"), absent: "vitess-statement"},
		{name: "Vitess, MIXED", change: onShard(1, "MIXED", "ON"), absent: "vitess-statement"},
		{name: "Vitess, STATEMENT, REPEATABLE READ", change: all(onShard(1, "STATEMENT", "ON"), func(f *facts) {
			f.vitess.shards[1].session["transaction_isolation"] = "REPEATABLE-READ"
		}), want: "vitess-statement info"},
		{name: "Vitess, STATEMENT, binlog=server", change: all(onShard(1, "STATEMENT", "ON"), func(f *facts) { f.cfg.Params = map[string]string{"binlog": "server"} }), want: "vitess-statement info"},
		{name: "Vitess, multi", change: onVitess(func(f *facts) { f.vitess.mode = "MULTI" }), want: "vitess-transaction-mode info", text: "'single'"},
		{name: "Vitess, multi, one shard", change: onVitess(func(f *facts) { f.vitess.mode, f.vitess.shards = "MULTI", f.vitess.shards[:1] }), absent: "vitess-transaction-mode"},
		{name: "Vitess, single", change: onVitess(func(f *facts) { f.vitess.mode = "SINGLE" }), absent: "vitess-transaction-mode"},
		{name: "Vitess, a shard", change: onVitess(func(f *facts) { f.database, f.vitess.inOneShard = "app:-80", true }), want: "vitess-shard-target warning", text: "app:-80"},
		{name: "Vitess, the keyspace", change: onVitess(func(*facts) {}), absent: "vitess-shard-target"},
		{name: "Vitess, a loose key", change: onVitess(func(f *facts) { f.vitess.looseKeys = []string{"users.email"} }), want: "vitess-unique-key warning", text: "users.email"},
		{name: "Vitess, no loose key", change: onVitess(func(*facts) {}), absent: "vitess-unique-key"},
		{name: "Vitess ignores a variable", change: onVitess(func(f *facts) {
			f.cfg.Params, f.session["max_execution_time"] = map[string]string{"max_execution_time": "100"}, "0"
		}), want: "variable-ignored warning", text: "query_timeout"},
		{name: "shared sessions", change: func(f *facts) { f.ids[1] = "8" }, want: "proxy warning", text: "CONNECTION_ID"},
		{name: "another port", change: func(f *facts) { f.cfg.Addr = "db:6446" }, want: "forwarded info", text: "6446"},
		{name: "all privileges", change: grant("GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION"), want: "account-privileges warning", absent: "binlog-format-fixed", text: "ALL PRIVILEGES"},
		{name: "SUPER among others", change: grant("GRANT SELECT, SUPER, PROCESS ON *.* TO 'x'@'%'"), want: "account-privileges warning", absent: "binlog-format-fixed", text: "SUPER"},
		{name: "BINLOG ADMIN", change: all(mariaDB, grant("GRANT BINLOG ADMIN ON *.* TO 'x'@'%'")), want: "account-privileges warning", absent: "binlog-format-fixed", text: "BINLOG ADMIN"},
		{name: "a privilege to take back", change: all(mariaDB, grant("GRANT BINLOG ADMIN ON *.* TO 'x'@'%'")), want: "account-privileges warning", text: "REVOKE BINLOG ADMIN ON *.* FROM 'app'@'%';"},
		{name: "several privileges to take back", change: grant("GRANT SUPER, BINLOG_ADMIN, SESSION_VARIABLES_ADMIN, SYSTEM_VARIABLES_ADMIN ON *.* TO 'x'@'%'"), want: "account-privileges warning", text: "SYSTEM_VARIABLES_ADMIN ON *.* FROM 'app'@'%';"},
		{name: "a privilege that the format needs", change: all(mariaDB, grant("GRANT BINLOG ADMIN ON *.* TO 'x'@'%'"), func(f *facts) { f.global["binlog_format"] = "STATEMENT" }), want: "account-privileges info", text: "# once the server logs rows"},
		{name: "an administrator's privileges", change: grant("GRANT CREATE USER, SUPER ON *.* TO 'root'@'%'"), want: "account-privileges warning", text: "use an account with rights on its own database only"},
		{name: "BINLOG_ADMIN does not set it", change: grant("GRANT BINLOG_ADMIN ON *.* TO `x`@`%`"), want: "binlog-format-fixed info"},
		{name: "a variable that holds", change: func(f *facts) {
			f.cfg.Params = map[string]string{"autocommit": "1", "sql_mode": "'STRICT_TRANS_TABLES'"}
		}, absent: "variable-ignored"},
		{name: "a variable that was ignored", change: func(f *facts) { f.cfg.Params = map[string]string{"Wait_Timeout": "100"} }, want: "variable-ignored warning", text: "28800"},
		{name: "values that servers show in other words", change: func(f *facts) {
			f.cfg.Params = map[string]string{"max_statement_time": "5", "optimizer_switch": "'index_merge=off'", "sql_mode": "0", "character_set_results": "'utf8'", "binlog_row_image": "1"}
			f.session["max_statement_time"], f.session["optimizer_switch"], f.session["binlog_row_image"] = "5.000000", "index_merge=off,mrr=on", "MINIMAL"
			f.session["character_set_results"] = "utf8mb3"
		}, absent: "variable-ignored"},
		{name: "a time zone in other words", change: func(f *facts) {
			f.cfg.Params, f.session["time_zone"] = map[string]string{"time_zone": "'-0:00'"}, "+00:00"
		}, absent: "variable-ignored"},
		{name: "a time zone that was ignored", change: func(f *facts) {
			f.cfg.Params, f.session["time_zone"] = map[string]string{"time_zone": "'-00:30'"}, "+00:30"
		}, want: "variable-ignored warning", text: "+00:30"},
		{name: "a switch that was ignored", change: func(f *facts) { f.cfg.Params = map[string]string{"autocommit": "0"} }, want: "variable-ignored warning", text: "autocommit"},
		{name: "a mode that was ignored", change: func(f *facts) { f.cfg.Params = map[string]string{"sql_mode": "'ANSI_QUOTES'"} }, want: "variable-ignored warning", text: "STRICT_TRANS_TABLES"},
		{name: "an expression", change: func(f *facts) { f.cfg.Params = map[string]string{"sql_mode": "CONCAT(@@sql_mode, ',ANSI')"} }, absent: "variable-ignored"},
		{name: "no strict mode", change: set("sql_mode", ""), want: "sql-mode-not-strict info", text: "cut"},
		{name: "no strict mode of the server", change: set("sql_mode", "ANSI_QUOTES"), want: "sql-mode-not-strict info", text: "sql_mode = STRICT_TRANS_TABLES,ANSI_QUOTES"},
		{name: "no strict mode in the DSN", change: func(f *facts) {
			f.cfg.Params, f.session["sql_mode"] = map[string]string{"sql_mode": "''"}, ""
		}, want: "sql-mode-not-strict info", text: "sql_mode of the DSN"},
		{name: "no strict mode in an init command", change: func(f *facts) { f.session["sql_mode"] = "" }, want: "sql-mode-not-strict info", text: "init commands"},
		{name: "a mode that nobody should copy", change: set("sql_mode", "'; DROP"), want: "sql-mode-not-strict info"},
	} {
		f := healthy()
		test.change(f)
		report := f.report()
		got := found(f)
		if test.want != "" && !slices.Contains(got, test.want) {
			t.Errorf("%s: %q is not among %q", test.name, test.want, got)
		}
		for _, finding := range report.Findings {
			if finding.Source == "" {
				t.Errorf("%s: no source: %+v", test.name, finding)
			}
			for line := range strings.SplitSeq(finding.Commands, "\n") {
				if len(line) > 72 { // the screen has 80 columns, and indents it
					t.Errorf("%s: too wide: %s", test.name, line)
				}
			}
			if strings.Contains(finding.Commands, "DROP") {
				t.Errorf("%s: what the server shows is a line to copy: %+v", test.name, finding)
			}
			if finding.ID == test.absent {
				t.Errorf("%s: unwanted %+v", test.name, finding)
			}
			if finding.ID+" "+finding.Severity.String() == test.want && !strings.Contains(finding.What+finding.Why+finding.Cure+finding.Commands, test.text) {
				t.Errorf("%s: no %q in %+v", test.name, test.text, finding)
			}
		}
	}
}

// Each rule has its own ID, a source for each vendor that it can be about, and a
// line in docs/check.md. A source is short enough for a screen of 80 columns.
func TestRulesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, rule := range rules {
		if seen[rule.id] || rule.id == "" || rule.mysql+rule.mariadb == "" {
			t.Errorf("%+v", rule)
		}
		for vendor, source := range map[string]string{"mysql": rule.mysql, "mariadb": rule.mariadb} {
			if source != "" && !strings.HasPrefix(source, "https://") || len(source) > 78 {
				t.Errorf("%s, %s: %s", rule.id, vendor, source)
			}
		}
		if strings.Contains(rule.mysql, "mariadb.com") || strings.Contains(rule.mariadb, "mysql.com") {
			t.Errorf("%s: the manual of the other vendor", rule.id)
		}
		seen[rule.id] = true
	}
	document, err := os.ReadFile("../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	for id := range seen {
		if !strings.Contains(string(document), "\n| `"+id+"` |") {
			t.Errorf("docs/check.md has no line for %s", id)
		}
	}
}

func TestSeverity(t *testing.T) {
	for _, severity := range []Severity{Info, Warning, Error} {
		text, err := severity.MarshalText()
		var back Severity
		if err != nil || back.UnmarshalText(text) != nil || back != severity {
			t.Errorf("%v became %q, then %v", severity, text, back)
		}
	}
	var unset Severity
	if err := unset.UnmarshalText([]byte("fatal")); err == nil || !strings.Contains(err.Error(), "fatal") {
		t.Error(err)
	}
	if got := unset.String(); got != "Severity(0)" {
		t.Error(got)
	}
	if Worst(nil) != 0 || Worst([]Finding{{Severity: Warning}, {Severity: Info}}) != Warning {
		t.Error("Worst does not return the worst severity")
	}
}
