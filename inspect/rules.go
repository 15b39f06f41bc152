package inspect

// rule looks for one finding. look is named after the finding's ID, and returns
// nil if there is nothing to report. The rest of the finding is filled in for it:
// the ID, and source, where the matter is documented.
type rule struct {
	id, source string
	look       func(*facts) *Finding
}

const (
	mysqlDocs   = "https://dev.mysql.com/doc/refman/9.7/en/"
	mariadbDocs = "https://mariadb.com/docs/"
	driverDocs  = "https://github.com/go-sql-driver/mysql"
	ourDocs     = "https://github.com/mysqlinit/mysqlinit/blob/main/docs/dsn.md"
	managedDocs = "https://github.com/mysqlinit/mysqlinit/blob/main/docs/managed.md#vitess-and-planetscale"
	vitessDocs  = "https://vitess.io/docs/"
)

var rules = []rule{
	// rules_binlog.go
	{"binlog-statement", mysqlDocs + "binary-log-setting.html", binlogStatement},
	{"binlog-format-fixed", mysqlDocs + "replication-options-binary-log.html#sysvar_binlog_format", binlogFormatFixed},
	{"replica-statement", mysqlDocs + "replication-features-differing-tables.html", replicaStatement},
	{"replicas-unknown", mysqlDocs + "replication-features-differing-tables.html", replicasUnknown},
	{"replication-filters", mysqlDocs + "replication-rules-db-options.html", replicationFilters},
	{"binlog-cache-small", mysqlDocs + "replication-options-binary-log.html#sysvar_max_binlog_cache_size", binlogCacheSmall},

	// rules_transactions.go
	{"server-repeatable-read", mysqlDocs + "innodb-transaction-isolation-levels.html", serverRepeatableRead},
	{"snapshot-isolation", mariadbDocs + "server/reference/error-codes/mariadb-error-codes-1000-to-1099/e1020", snapshotIsolation},
	{"rollback-on-timeout", mysqlDocs + "innodb-parameters.html#sysvar_innodb_rollback_on_timeout", rollbackOnTimeout},
	{"deadlock-detect-off", mysqlDocs + "innodb-deadlock-detection.html", deadlockDetectOff},
	{"autocommit-off", mysqlDocs + "commit.html", autocommitOff},
	{"init-connect", mysqlDocs + "server-system-variables.html#sysvar_init_connect", initConnect},
	{"sql-mode-not-strict", mysqlDocs + "sql-mode.html#sql-mode-strict", sqlModeNotStrict},

	// rules_tables.go
	{"no-primary-key", mysqlDocs + "replication-sbr-rbr.html", noPrimaryKey},
	{"not-innodb", mysqlDocs + "nontransactional-tables.html", notInnoDB},

	// rules_cluster.go
	{"read-only", driverDocs + "#rejectreadonly", readOnly},
	{"galera-state", mariadbDocs + "galera-cluster/high-availability/monitoring-mariadb-galera-cluster", galeraState},
	{"galera-sync-wait", mariadbDocs + "galera-cluster/", galeraSyncWait},
	{"galera-prepared", mariadbDocs + "galera-cluster/", galeraPrepared},
	{"group-replication-format", mysqlDocs + "group-replication-requirements.html", groupReplicationFormat},
	{"group-replication-state", mysqlDocs + "group-replication-server-states.html", groupReplicationState},
	{"proxy", ourDocs, proxy},

	// rules_vitess.go
	{"vitess", managedDocs, vitessAnswers},
	{"vitess-settings-off", vitessDocs + "reference/programs/vtgate/", vitessSettingsOff},
	{"vitess-shards-differ", managedDocs, vitessShardsDiffer},
	{"vitess-transaction-mode", vitessDocs + "reference/features/distributed-transaction/", vitessTransactionMode},
	{"vitess-shard-target", vitessDocs + "reference/query-serving/reserved-conn/", vitessShardTarget},
	{"vitess-unique-key", vitessDocs + "reference/features/vindexes/", vitessLooseKeys},

	// rules_client.go
	{"wait-timeout", driverDocs + "#important-settings", waitTimeout},
	{"read-timeout-unset", driverDocs + "#readtimeout", readTimeoutUnset},
	{"account-privileges", mysqlDocs + "privileges-provided.html", accountPrivileges},
	{"variable-ignored", ourDocs, variableIgnored},
	{"forwarded", driverDocs + "#dsn-data-source-name", forwarded},
}
