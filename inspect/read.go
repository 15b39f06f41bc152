package inspect

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// variables are the ones that the rules look at. No server has all of them.
var variables = append(strings.Fields(`
	autocommit binlog_do_db binlog_ignore_db group_replication_group_name init_connect
	innodb_deadlock_detect innodb_read_only innodb_rollback_on_timeout innodb_snapshot_isolation log_bin
	log_replica_updates log_slave_updates max_binlog_cache_size port read_only replicate_do_db
	replicate_ignore_db sql_mode super_read_only version_comment wait_timeout wsrep_on
	wsrep_sync_wait`), sysvar.TransactionIsolation, sysvar.TxIsolation, sysvar.BinlogFormat)

// systemSchemas are the server's own. Nobody can cure their tables.
var systemSchemas = []string{"mysql", "sys", "performance_schema", "information_schema"}

// read asks the server for the facts.
func read(ctx context.Context, conn *sql.Conn, cfg *mysql.Config) (*facts, error) {
	f := &facts{cfg: cfg}
	var database sql.NullString
	// vtgate answers @@version itself; VERSION() it would send to a shard here.
	if err := conn.QueryRowContext(ctx, "SELECT @@version, CURRENT_USER(), DATABASE(), CONNECTION_ID()").Scan(&f.version, &f.account, &database, &f.ids[0]); err != nil {
		return nil, err
	}
	f.database = database.String
	in := "('" + strings.Join(slices.Concat(variables, variablesIn(cfg)), "', '") + "')"
	var err error
	if f.session, err = valuesByName(ctx, conn, "SHOW SESSION VARIABLES WHERE Variable_name IN "+in); err != nil {
		return nil, err
	}
	if f.global, err = valuesByName(ctx, conn, "SHOW GLOBAL VARIABLES WHERE Variable_name IN "+in); err != nil {
		return nil, err
	}
	if f.grants, err = singleColumn(ctx, conn, "SHOW GRANTS FOR CURRENT_USER()"); err != nil && !isServerError(err) {
		return nil, err
	}
	if f.isVitess() {
		if err := f.readVitess(ctx, conn); err != nil {
			return nil, err
		}
	}
	replicaStatus := []string{"SHOW REPLICA STATUS", "SHOW SLAVE STATUS"}
	if f.isMariaDB() { // there, SHOW REPLICA STATUS leaves out the connections that have a name
		replicaStatus = []string{"SHOW ALL SLAVES STATUS", "SHOW SLAVE STATUS"}
	}
	if f.replica, err = firstAnswered(ctx, conn, replicaStatus...); err != nil {
		return nil, err
	}
	if f.replica == nil && f.isMariaDB() {
		if f.replica, err = runningReplica(ctx, conn); err != nil {
			return nil, err
		}
	}
	if f.primary, err = firstAnswered(ctx, conn, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"); err != nil {
		return nil, err
	}
	if f.on("wsrep_on") {
		if f.galera, err = valuesByName(ctx, conn, "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_status', 'wsrep_local_state_comment', 'wsrep_ready')"); err != nil {
			return nil, err
		}
	}
	if f.global["group_replication_group_name"] != "" {
		if f.member, err = firstAnswered(ctx, conn, "SELECT * FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@GLOBAL.server_uuid"); err != nil {
			return nil, err
		}
	}
	if f.database != "" && !slices.Contains(systemSchemas, strings.ToLower(f.database)) {
		f.tables, err = readTables(ctx, conn)
		if err != nil && !isServerError(err) { // max_join_size or a proxy can make the server refuse
			return nil, err
		}
	}
	err = conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&f.ids[1])
	return f, err
}

// runningReplica returns what every account is allowed to see of MariaDB's
// replication: how many connections replicate at the moment. It returns nil if none
// does: a replica can have been stopped.
func runningReplica(ctx context.Context, conn *sql.Conn) (map[string]string, error) {
	status, err := valuesByName(ctx, conn, "SHOW GLOBAL STATUS LIKE 'Slaves_running'")
	if err != nil && !isServerError(err) {
		return nil, err
	}
	if running := status["slaves_running"]; running == "" || running == "0" {
		return nil, nil
	}
	return status, nil
}

// readTables returns the database's tables that have no primary key or no
// transactions. It does not ask TABLE_CONSTRAINTS about the key: MariaDB hides
// that from accounts that are only allowed to read.
func readTables(ctx context.Context, conn *sql.Conn) (tables []table, err error) {
	err = eachRow(ctx, conn, `SELECT t.TABLE_NAME, COALESCE(e.TRANSACTIONS, '') = 'YES', k.TABLE_NAME IS NOT NULL
		FROM information_schema.TABLES t
			LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
			LEFT JOIN (SELECT DISTINCT TABLE_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND COLUMN_KEY = 'PRI') k
				ON k.TABLE_NAME = t.TABLE_NAME
		WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')
			AND (k.TABLE_NAME IS NULL OR COALESCE(e.TRANSACTIONS, '') <> 'YES')
		ORDER BY t.TABLE_NAME`, func(rows *sql.Rows) error {
		var t table
		err := rows.Scan(&t.name, &t.transactional, &t.hasPrimary)
		tables = append(tables, t)
		return err
	})
	return tables, err
}
