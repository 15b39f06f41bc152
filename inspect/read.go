package inspect

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// facts are what was read, by names in lower case.
type facts struct {
	session, global map[string]string
	status          map[string]string // of Galera
	grants          []string
	replica         map[string]string // empty: it is none; nil: unknown
	primary         map[string]string // its binary log's filters; nil: unknown
	member          map[string]string // of Group Replication; nil: it is none
	tables          []table
	version         string
	account         string
	database        string
	ids             [2]string // CONNECTION_ID, asked twice
	cfg             *mysql.Config
}

// table is one that takes no part in transactions, or has no primary key.
type table struct {
	name          string
	transactional bool // its engine has transactions
	hasPrimary    bool
}

// maxTables bounds how many are named.
const maxTables = 10

// systemSchemas are the server's own, whose tables are as they are.
var systemSchemas = []string{"mysql", "sys", "performance_schema", "information_schema"}

// variables are what the findings are about. A server does not have all of them.
var variables = strings.Fields(`
	autocommit binlog_do_db binlog_format binlog_ignore_db group_replication_group_name init_connect
	innodb_deadlock_detect innodb_read_only innodb_rollback_on_timeout innodb_snapshot_isolation log_bin
	log_replica_updates log_slave_updates max_binlog_cache_size port read_only replicate_do_db
	replicate_ignore_db sql_mode super_read_only transaction_isolation tx_isolation version_comment
	wait_timeout wsrep_on wsrep_sync_wait`)

func read(ctx context.Context, conn *sql.Conn, cfg *mysql.Config) (*facts, error) {
	f := &facts{cfg: cfg}
	var database sql.NullString
	if err := conn.QueryRowContext(ctx, "SELECT VERSION(), CURRENT_USER(), DATABASE(), CONNECTION_ID()").Scan(&f.version, &f.account, &database, &f.ids[0]); err != nil {
		return nil, err
	}
	f.database = database.String
	in := "('" + strings.Join(append(variables[:len(variables):len(variables)], f.asked()...), "', '") + "')"
	var err error
	if f.session, err = pairs(ctx, conn, "SHOW SESSION VARIABLES WHERE Variable_name IN "+in); err != nil {
		return nil, err
	}
	if f.global, err = pairs(ctx, conn, "SHOW GLOBAL VARIABLES WHERE Variable_name IN "+in); err != nil {
		return nil, err
	}
	if f.grants, err = column(ctx, conn, "SHOW GRANTS FOR CURRENT_USER()"); err != nil && !refused(err) {
		return nil, err
	}
	replicaStatus := []string{"SHOW REPLICA STATUS", "SHOW SLAVE STATUS"}
	if f.isMariaDB() { // where those show the connection without a name only
		replicaStatus = []string{"SHOW ALL SLAVES STATUS", "SHOW SLAVE STATUS"}
	}
	if f.replica, err = row(ctx, conn, replicaStatus...); err != nil {
		return nil, err
	}
	if f.primary, err = row(ctx, conn, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"); err != nil {
		return nil, err
	}
	if f.on("wsrep_on") {
		if f.status, err = pairs(ctx, conn, "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_status', 'wsrep_local_state_comment', 'wsrep_ready')"); err != nil {
			return nil, err
		}
	}
	if f.global["group_replication_group_name"] != "" {
		if f.member, err = row(ctx, conn, "SELECT * FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@GLOBAL.server_uuid"); err != nil {
			return nil, err
		}
	}
	if f.database != "" && !slices.Contains(systemSchemas, strings.ToLower(f.database)) {
		if err := f.readTables(ctx, conn); err != nil && !refused(err) { // by max_join_size, or a proxy
			return nil, err
		}
	}
	err = conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&f.ids[1])
	return f, err
}

func (f *facts) readTables(ctx context.Context, conn *sql.Conn) error {
	// Not TABLE_CONSTRAINTS: MariaDB hides that from accounts that may only read.
	return each(ctx, conn, `SELECT t.TABLE_NAME, COALESCE(e.TRANSACTIONS, '') = 'YES', k.TABLE_NAME IS NOT NULL
		FROM information_schema.TABLES t
			LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
			LEFT JOIN (SELECT DISTINCT TABLE_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND COLUMN_KEY = 'PRI') k
				ON k.TABLE_NAME = t.TABLE_NAME
		WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')
			AND (k.TABLE_NAME IS NULL OR COALESCE(e.TRANSACTIONS, '') <> 'YES')
		ORDER BY t.TABLE_NAME`, func(rows *sql.Rows) error {
		var t table
		err := rows.Scan(&t.name, &t.transactional, &t.hasPrimary)
		f.tables = append(f.tables, t)
		return err
	})
}

// each calls scan for each row of a query's result.
func each(ctx context.Context, conn *sql.Conn, query string, scan func(*sql.Rows) error) (err error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// pairs reads rows of a name and a value.
func pairs(ctx context.Context, conn *sql.Conn, query string) (map[string]string, error) {
	values := map[string]string{}
	err := each(ctx, conn, query, func(rows *sql.Rows) error {
		var name, value string
		err := rows.Scan(&name, &value)
		values[strings.ToLower(name)] = value
		return err
	})
	return values, err
}

// column reads the first column.
func column(ctx context.Context, conn *sql.Conn, query string) (values []string, err error) {
	err = each(ctx, conn, query, func(rows *sql.Rows) error {
		var value string
		err := rows.Scan(&value)
		values = append(values, value)
		return err
	})
	return values, err
}

// errNeedsPrivilege says that the query is known.
const errNeedsPrivilege = 1227

// row reads a row by the names of its columns, in lower case; of several rows,
// such as those of replication channels, the first value that is not empty; with no
// row the map is empty. Of several queries it takes the first that the server answers, and
// returns nil where it refuses all: it does not know them, or the account may not ask.
func row(ctx context.Context, conn *sql.Conn, queries ...string) (map[string]string, error) {
	for _, query := range queries {
		values, err := merged(ctx, conn, query)
		if err == nil || !refused(err) {
			return values, err
		}
		if serverErr, _ := errors.AsType[*mysql.MySQLError](err); serverErr.Number == errNeedsPrivilege {
			break
		}
	}
	return nil, nil
}

func merged(ctx context.Context, conn *sql.Conn, query string) (map[string]string, error) {
	values := map[string]string{}
	err := each(ctx, conn, query, func(rows *sql.Rows) error {
		names, err := rows.Columns()
		if err != nil {
			return err
		}
		cells, targets := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range cells {
			targets[i] = &cells[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		for i, name := range names {
			name = strings.ToLower(name[strings.LastIndexByte(name, '.')+1:]) // columnsWithAlias=true puts a table before it
			values[name] = cmp.Or(values[name], cells[i].String)
		}
		return nil
	})
	return values, err
}

// refused tells an answer of the server's, or of a proxy's, from a connection's end.
func refused(err error) bool {
	_, ok := errors.AsType[*mysql.MySQLError](err)
	return ok
}
