package inspect

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// healthy are the facts of a stock server and an ordinary account.
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

// mariaDB makes the facts those of MariaDB 10.11.
func (f *facts) mariaDB() *facts {
	f.version = "10.11.14-MariaDB"
	for _, variables := range []map[string]string{f.session, f.global} {
		variables["tx_isolation"] = variables["transaction_isolation"]
		delete(variables, "transaction_isolation")
		variables["binlog_format"] = "MIXED"
	}
	return f
}

func found(f *facts) (all []string) {
	for _, finding := range f.report().Findings {
		all = append(all, finding.ID+" "+finding.Severity.String())
	}
	return all
}

func TestHealthyServersHaveNothingAboveInfo(t *testing.T) {
	for name, f := range map[string]*facts{"MySQL": healthy(), "MariaDB": healthy().mariaDB()} {
		want := []string{"binlog-format-fixed info", "read-timeout-unset info", "replicas-unknown info", "server-repeatable-read info", "wait-timeout info"}
		if got := found(f); !slices.Equal(got, want) {
			t.Errorf("%s: %q", name, got)
		}
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
	repeatableRead := func(f *facts) { f.session["transaction_isolation"] = "REPEATABLE-READ" }
	replica := func(f *facts) { f.replica = map[string]string{"replica_io_running": "Yes"} }
	galera := func(cluster, state, ready string) func(*facts) {
		return all(mariaDB, set("wsrep_on", "ON"), set("wsrep_sync_wait", "1"), func(f *facts) {
			f.status = map[string]string{"wsrep_cluster_status": cluster, "wsrep_local_state_comment": state, "wsrep_ready": ready}
		})
	}
	for _, test := range []struct {
		name   string
		change func(*facts)
		want   string // "" for none of that ID
		not    string
		text   string // in some part of the finding
	}{
		{"STATEMENT", set("binlog_format", "STATEMENT"), "binlog-statement error", "binlog-format-fixed", "SESSION_VARIABLES_ADMIN"},
		{"STATEMENT on MariaDB", all(mariaDB, set("binlog_format", "STATEMENT")), "binlog-statement error", "", "GRANT BINLOG ADMIN"},
		{"STATEMENT on MySQL 5.6", all(set("binlog_format", "STATEMENT"), func(f *facts) { f.version = "5.6.24" }), "binlog-statement error", "", "no privilege smaller than SUPER"},
		{"STATEMENT, log off", all(set("binlog_format", "STATEMENT"), set("log_bin", "OFF")), "binlog-format-fixed info", "binlog-statement", ""},
		{"STATEMENT in Galera, log off", all(galera("Primary", "Synced", "ON"), set("binlog_format", "STATEMENT"), set("log_bin", "OFF")), "binlog-statement error", "", "1665"},
		{"STATEMENT for others only", func(f *facts) { f.global["binlog_format"] = "STATEMENT" }, "binlog-statement warning", "", "new sessions"},
		{"STATEMENT, REPEATABLE READ", all(set("binlog_format", "STATEMENT"), repeatableRead), "binlog-statement error", "", "can write"},
		{"a privilege to set it", grant("GRANT SESSION_VARIABLES_ADMIN ON *.* TO `app`@`%`"), "account-privileges info", "binlog-format-fixed", "sql_log_bin"},
		{"READ COMMITTED by default", set("transaction_isolation", "READ-COMMITTED"), "", "server-repeatable-read", ""},
		{"replica in STATEMENT", all(replica, set("binlog_format", "STATEMENT")), "replica-statement error", "", "1666"},
		{"replica in ROW", replica, "", "replica-statement", ""},
		{"replica in STATEMENT without log_replica_updates", all(replica, set("binlog_format", "STATEMENT"), set("log_replica_updates", "OFF")), "", "replica-statement", ""},
		{"replica in STATEMENT, MariaDB", all(mariaDB, replica, set("binlog_format", "STATEMENT")), "", "replica-statement", ""},
		{"no log", set("log_bin", "OFF"), "", "replicas-unknown", ""},
		{"a filter of the log", func(f *facts) { f.primary = map[string]string{"binlog_do_db": "app"} }, "replication-filters warning", "", "binlog_do_db"},
		{"a filter of a replica", func(f *facts) { f.replica = map[string]string{"replicate_ignore_db": "x"} }, "replication-filters warning", "", "replicate_ignore_db"},
		{"a filter of MariaDB", all(mariaDB, set("replicate_do_db", "x")), "replication-filters warning", "", "replicate_do_db"},
		{"a small cache", set("max_binlog_cache_size", "4194304"), "binlog-cache-small warning", "", "1197"},
		{"snapshot isolation", all(repeatableRead, set("innodb_snapshot_isolation", "ON")), "snapshot-isolation info", "", "1020"},
		{"snapshot isolation, READ COMMITTED", set("innodb_snapshot_isolation", "ON"), "", "snapshot-isolation", ""},
		{"rollback on timeout", set("innodb_rollback_on_timeout", "ON"), "rollback-on-timeout warning", "", "1205"},
		{"no deadlock detection", set("innodb_deadlock_detect", "OFF"), "deadlock-detect-off warning", "", "1205"},
		{"MySQL 5.6 has no such variable", func(f *facts) { delete(f.global, "innodb_deadlock_detect") }, "", "deadlock-detect-off", ""},
		{"autocommit off", set("autocommit", "OFF"), "autocommit-off warning", "", "uncommitted"},
		{"init_connect", set("init_connect", "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"), "init-connect warning", "", "changes sessions"},
		{"harmless init_connect", set("init_connect", "INSERT INTO audit.log VALUES ()"), "init-connect info", "", ""},
		{"a table without key", func(f *facts) { f.tables = []table{{"events", true, false}} }, "no-primary-key warning", "not-innodb", "events"},
		{"MyISAM", func(f *facts) { f.tables = []table{{"old", false, true}} }, "not-innodb warning", "no-primary-key", "old"},
		{"many tables", func(f *facts) { f.tables = slices.Repeat([]table{{"old", false, true}}, 12) }, "not-innodb warning", "", "old and 2 more"},
		{"read-only", set("super_read_only", "ON"), "read-only warning", "", "super_read_only"},
		{"read-only, rejected", all(set("read_only", "ON"), func(f *facts) { f.cfg.RejectReadOnly = true }), "read-only info", "", ""},
		{"a short wait_timeout", set("wait_timeout", "10"), "wait-timeout warning", "", "10 s"},
		{"readTimeout", func(f *facts) { f.cfg.ReadTimeout = 1 }, "", "read-timeout-unset", ""},
		{"no configuration", func(f *facts) { f.cfg = nil }, "", "read-timeout-unset", ""},
		{"Galera", galera("Primary", "Synced", "ON"), "", "galera-state", ""},
		{"Galera, donor", galera("Primary", "Donor/Desynced", "ON"), "galera-state warning", "", "Donor"},
		{"Galera, split", galera("non-Primary", "Initialized", "OFF"), "galera-state error", "", "1047"},
		{"Galera, no wait", all(galera("Primary", "Synced", "ON"), set("wsrep_sync_wait", "0")), "galera-sync-wait info", "", "several nodes"},
		{"Galera, prepared statements", galera("Primary", "Synced", "ON"), "galera-prepared warning", "", "interpolateParams"},
		{"Galera, interpolated", all(galera("Primary", "Synced", "ON"), func(f *facts) { f.cfg.InterpolateParams = true }), "", "galera-prepared", ""},
		{"group member, MIXED", all(set("binlog_format", "MIXED"), func(f *facts) { f.member = map[string]string{"member_state": "ONLINE"} }), "group-replication-format error", "", "3098"},
		{"group member, ROW", func(f *facts) { f.member = map[string]string{"member_state": "ONLINE"} }, "", "group-replication-format", ""},
		{"group member", func(f *facts) { f.member = map[string]string{"member_state": "ONLINE"} }, "", "group-replication-state", ""},
		{"lost group member", func(f *facts) { f.member = map[string]string{"member_state": "ERROR"} }, "group-replication-state error", "", "ERROR"},
		{"ProxySQL", set("version_comment", "(ProxySQL)"), "proxy warning", "", "binlog=server"},
		{"Vitess", func(f *facts) { f.version = "8.0.30-Vitess" }, "proxy warning", "", "Vitess"},
		{"shared sessions", func(f *facts) { f.ids[1] = "8" }, "proxy warning", "", "CONNECTION_ID"},
		{"another port", func(f *facts) { f.cfg.Addr = "db:6446" }, "forwarded info", "", "6446"},
		{"all privileges", grant("GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION"), "account-privileges warning", "binlog-format-fixed", "ALL PRIVILEGES"},
		{"SUPER among others", grant("GRANT SELECT, SUPER, PROCESS ON *.* TO 'x'@'%'"), "account-privileges warning", "binlog-format-fixed", "SUPER"},
		{"BINLOG ADMIN", all(mariaDB, grant("GRANT BINLOG ADMIN ON *.* TO 'x'@'%'")), "account-privileges warning", "binlog-format-fixed", "BINLOG ADMIN"},
		{"BINLOG_ADMIN does not set it", grant("GRANT BINLOG_ADMIN ON *.* TO `x`@`%`"), "binlog-format-fixed info", "", ""},
		{"a variable that holds", func(f *facts) {
			f.cfg.Params = map[string]string{"autocommit": "1", "sql_mode": "'STRICT_TRANS_TABLES'"}
		}, "", "variable-ignored", ""},
		{"a variable that was ignored", func(f *facts) { f.cfg.Params = map[string]string{"Wait_Timeout": "100"} }, "variable-ignored warning", "", "28800"},
		{"values that servers show in their own words", func(f *facts) {
			f.cfg.Params = map[string]string{"max_statement_time": "5", "optimizer_switch": "'index_merge=off'", "sql_mode": "0", "character_set_results": "'utf8'", "binlog_row_image": "1"}
			f.session["max_statement_time"], f.session["optimizer_switch"], f.session["binlog_row_image"] = "5.000000", "index_merge=off,mrr=on", "MINIMAL"
			f.session["character_set_results"] = "utf8mb3"
		}, "", "variable-ignored", ""},
		{"a time zone in other words", func(f *facts) {
			f.cfg.Params, f.session["time_zone"] = map[string]string{"time_zone": "'-0:00'"}, "+00:00"
		}, "", "variable-ignored", ""},
		{"a time zone that was ignored", func(f *facts) {
			f.cfg.Params, f.session["time_zone"] = map[string]string{"time_zone": "'-00:30'"}, "+00:30"
		}, "variable-ignored warning", "", "+00:30"},
		{"a switch that was ignored", func(f *facts) { f.cfg.Params = map[string]string{"autocommit": "0"} }, "variable-ignored warning", "", "autocommit"},
		{"a mode that was ignored", func(f *facts) { f.cfg.Params = map[string]string{"sql_mode": "'ANSI_QUOTES'"} }, "variable-ignored warning", "", "STRICT_TRANS_TABLES"},
		{"an expression", func(f *facts) { f.cfg.Params = map[string]string{"sql_mode": "CONCAT(@@sql_mode, ',ANSI')"} }, "", "variable-ignored", ""},
		{"no strict mode", set("sql_mode", ""), "sql-mode-not-strict info", "", "cut"},
	} {
		f := healthy()
		test.change(f)
		report := f.report()
		got := found(f)
		if test.want != "" && !slices.Contains(got, test.want) {
			t.Errorf("%s: %q is not among %q", test.name, test.want, got)
		}
		for _, finding := range report.Findings {
			if finding.ID == test.not {
				t.Errorf("%s: %+v", test.name, finding)
			}
			if finding.ID+" "+finding.Severity.String() == test.want && !strings.Contains(finding.What+finding.Why+finding.Cure, test.text) {
				t.Errorf("%s: no %q in %+v", test.name, test.text, finding)
			}
		}
	}
}

// Each rule has an ID of its own, and each finding says what, why and where that is documented.
func TestRulesAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, rule := range rules {
		if seen[rule.id] || rule.id == "" || !strings.HasPrefix(rule.source, "https://") {
			t.Errorf("%+v", rule)
		}
		seen[rule.id] = true
	}
	document, err := os.ReadFile("../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	for id := range seen {
		if !strings.Contains(string(document), "\n| `"+id+"` |") {
			t.Errorf("docs/check.md lacks %s", id)
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
	var none Severity
	if err := none.UnmarshalText([]byte("fatal")); err == nil || !strings.Contains(err.Error(), "fatal") {
		t.Error(err)
	}
	if got := none.String(); got != "Severity(0)" {
		t.Error(got)
	}
	if Worst(nil) != 0 || Worst([]Finding{{Severity: Warning}, {Severity: Info}}) != Warning {
		t.Error("not the worst")
	}
}
