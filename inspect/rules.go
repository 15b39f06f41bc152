package inspect

// rule looks for one finding. look is named after the finding's ID, and returns
// nil if there is nothing to report. The rest of the finding is filled in for it:
// the ID, and the page that documents the matter: the one of the server's vendor.
type rule struct {
	id, mysql, mariadb string
	look               func(*facts) *Finding
}

const (
	mysqlDocs   = "https://dev.mysql.com/doc/refman/en/" // the newest manual
	mariadbDocs = "https://mariadb.com/kb/en/"
	driverDocs  = "https://github.com/go-sql-driver/mysql"
	serversDocs = "https://github.com/mysqlinit/mysqlinit/blob/main/docs/servers.md"
	ourDocs     = "https://github.com/mysqlinit/mysqlinit/blob/main/docs/dsn.md"
	managedDocs = "https://github.com/mysqlinit/mysqlinit/blob/main/docs/managed.md"
	vitessDocs  = "https://vitess.io/docs/"
)

var rules = []rule{
	// rules_binlog.go
	{"binlog-statement", mysqlDocs + "binary-log-setting.html", mariadbDocs + "binary-log-formats/", binlogStatement},
	{"binlog-format-fixed", mysqlDocs + "binary-log-setting.html", mariadbDocs + "binary-log-formats/", binlogFormatFixed},
	{"replica-statement", mysqlDocs + "replication-features-differing-tables.html", "", replicaStatement},
	{"replicas-unknown", mysqlDocs + "replication-features-differing-tables.html", "", replicasUnknown},
	{"replication-filters", mysqlDocs + "replication-rules-db-options.html", mariadbDocs + "replication-filters/", replicationFilters},
	{"binlog-cache-small", mysqlDocs + "replication-options-binary-log.html", mariadbDocs + "replication-and-binary-log-system-variables/", binlogCacheSmall},

	// rules_transactions.go
	{"server-repeatable-read", mysqlDocs + "innodb-transaction-isolation-levels.html", mariadbDocs + "set-transaction/", serverRepeatableRead},
	{"snapshot-isolation", "", mariadbDocs + "innodb-system-variables/#innodb_snapshot_isolation", snapshotIsolation},
	{"rollback-on-timeout", mysqlDocs + "innodb-error-handling.html", mariadbDocs + "innodb-system-variables/#innodb_rollback_on_timeout", rollbackOnTimeout},
	{"deadlock-detect-off", mysqlDocs + "innodb-deadlock-detection.html", mariadbDocs + "innodb-system-variables/#innodb_deadlock_detect", deadlockDetectOff},
	{"autocommit-off", mysqlDocs + "commit.html", mariadbDocs + "server-system-variables/#autocommit", autocommitOff},
	{"init-connect", mysqlDocs + "server-system-variables.html", mariadbDocs + "server-system-variables/#init_connect", initConnect},
	{"sql-mode-not-strict", mysqlDocs + "sql-mode.html#sql-mode-strict", mariadbDocs + "sql-mode/", sqlModeNotStrict},

	// rules_tables.go
	{"no-primary-key", mysqlDocs + "replication-sbr-rbr.html", mariadbDocs + "row-based-replication-with-no-primary-key/", noPrimaryKey},
	{"not-innodb", mysqlDocs + "nontransactional-tables.html", mariadbDocs + "choosing-the-right-storage-engine/", notInnoDB},

	// rules_cluster.go
	{"read-only", driverDocs + "#rejectreadonly", driverDocs + "#rejectreadonly", readOnly},
	{"galera-state", "", mariadbDocs + "galera-cluster-status-variables/", galeraState},
	{"galera-sync-wait", "", mariadbDocs + "galera-cluster-system-variables/#wsrep_sync_wait", galeraSyncWait},
	{"galera-prepared", "", serversDocs, galeraPrepared},
	{"group-replication-format", mysqlDocs + "group-replication-requirements.html", "", groupReplicationFormat},
	{"group-replication-state", mysqlDocs + "group-replication-server-states.html", "", groupReplicationState},
	{"proxy", ourDocs, ourDocs, proxy},

	// rules_vitess.go
	{"vitess", managedDocs, "", vitessAnswers},
	{"vitess-settings-off", vitessDocs + "reference/programs/vtgate/", "", vitessSettingsOff},
	{"vitess-shards-differ", managedDocs, "", vitessShardsDiffer},
	{"vitess-statement", managedDocs, "", vitessStatement},
	{"vitess-transaction-mode", vitessDocs + "reference/features/distributed-transaction/", "", vitessTransactionMode},
	{"vitess-shard-target", vitessDocs + "reference/query-serving/reserved-conn/", "", vitessShardTarget},
	{"vitess-unique-key", vitessDocs + "reference/features/vindexes/", "", vitessLooseKeys},

	// rules_client.go
	{"wait-timeout", driverDocs + "#important-settings", driverDocs + "#important-settings", waitTimeout},
	{"read-timeout-unset", driverDocs + "#readtimeout", driverDocs + "#readtimeout", readTimeoutUnset},
	{"account-privileges", mysqlDocs + "privileges-provided.html", mariadbDocs + "grant/#global-privileges", accountPrivileges},
	{"variable-ignored", ourDocs, ourDocs, variableIgnored},
	{"forwarded", driverDocs + "#dsn-data-source-name", driverDocs + "#dsn-data-source-name", forwarded},
}
