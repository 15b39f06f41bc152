package inspect

import (
	"context"
	"database/sql"
	"errors"
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
	name, engine string
	hasPrimary   bool
}

// maxTables bounds how many are read and named.
const maxTables = 10

// variables are what the findings are about. A server does not have all of them.
var variables = strings.Fields(`
	autocommit binlog_do_db binlog_format binlog_ignore_db group_replication_group_name init_connect
	innodb_deadlock_detect innodb_read_only innodb_rollback_on_timeout innodb_snapshot_isolation log_bin
	log_replica_updates log_slave_updates max_binlog_cache_size port read_only replicate_do_db
	replicate_do_table replicate_ignore_db replicate_ignore_table replicate_wild_do_table
	replicate_wild_ignore_table sql_mode super_read_only transaction_isolation tx_isolation version version_comment
	wait_timeout wsrep_on wsrep_sync_wait`)

// Server errors that mean "not here" or "not for this account".
const (
	errAccessDenied        = 1044
	errSyntax              = 1064
	errTableAccessDenied   = 1142
	errNoSuchTable         = 1146
	errUnknownTable        = 1109
	errNeedsPrivilege      = 1227
	errUnknownSystemObject = 1193
)

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
	if f.grants, err = column(ctx, conn, "SHOW GRANTS FOR CURRENT_USER()"); err != nil && !denied(err) {
		return nil, err
	}
	if f.replica, err = row(ctx, conn, "SHOW REPLICA STATUS", "SHOW SLAVE STATUS"); err != nil {
		return nil, err
	}
	if f.primary, err = row(ctx, conn, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"); err != nil {
		return nil, err
	}
	if f.on("wsrep_on") {
		if f.status, err = pairs(ctx, conn, "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_status', 'wsrep_local_state_comment', 'wsrep_ready', 'wsrep_cluster_size')"); err != nil {
			return nil, err
		}
	}
	if f.global["group_replication_group_name"] != "" {
		if f.member, err = row(ctx, conn, "SELECT * FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@GLOBAL.server_uuid"); err != nil {
			return nil, err
		}
	}
	if f.database != "" {
		if err := f.readTables(ctx, conn); err != nil {
			return nil, err
		}
	}
	err = conn.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&f.ids[1])
	return f, err
}

func (f *facts) readTables(ctx context.Context, conn *sql.Conn) (err error) {
	rows, err := conn.QueryContext(ctx, `SELECT t.TABLE_NAME, COALESCE(t.ENGINE, ''), k.CONSTRAINT_NAME IS NOT NULL
		FROM information_schema.TABLES t LEFT JOIN information_schema.TABLE_CONSTRAINTS k
			ON k.TABLE_SCHEMA = t.TABLE_SCHEMA AND k.TABLE_NAME = t.TABLE_NAME AND k.CONSTRAINT_TYPE = 'PRIMARY KEY'
		WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE = 'BASE TABLE'
			AND (k.CONSTRAINT_NAME IS NULL OR t.ENGINE <> 'InnoDB')
		ORDER BY t.TABLE_NAME`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var t table
		if err := rows.Scan(&t.name, &t.engine, &t.hasPrimary); err != nil {
			return err
		}
		f.tables = append(f.tables, t)
	}
	return rows.Err()
}

// pairs reads rows of a name and a value.
func pairs(ctx context.Context, conn *sql.Conn, query string) (values map[string]string, err error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values = map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		values[strings.ToLower(name)] = value
	}
	return values, rows.Err()
}

// column reads the first column.
func column(ctx context.Context, conn *sql.Conn, query string) (values []string, err error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, rows.Err()
}

// row reads the first row by the names of its columns, in lower case; with no
// row the map is empty. Of several queries it takes the first that the server knows, and
// returns nil where it knows none or the account may not ask.
func row(ctx context.Context, conn *sql.Conn, queries ...string) (map[string]string, error) {
	for _, query := range queries {
		values, err := firstRow(ctx, conn, query)
		switch {
		case err == nil:
			return values, nil
		case denied(err):
			return nil, nil
		case !unknown(err):
			return nil, err
		}
	}
	return nil, nil
}

func firstRow(ctx context.Context, conn *sql.Conn, query string) (values map[string]string, err error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values = map[string]string{}
	if !rows.Next() {
		return values, rows.Err()
	}
	cells, targets := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range cells {
		targets[i] = &cells[i]
	}
	if err := rows.Scan(targets...); err != nil {
		return nil, err
	}
	for i, name := range names {
		values[strings.ToLower(name)] = cells[i].String
	}
	return values, nil
}

func number(err error) uint16 {
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return serverErr.Number
	}
	return 0
}

func denied(err error) bool {
	switch number(err) {
	case errAccessDenied, errTableAccessDenied, errNeedsPrivilege:
		return true
	}
	return false
}

func unknown(err error) bool {
	switch number(err) {
	case errSyntax, errNoSuchTable, errUnknownTable, errUnknownSystemObject:
		return true
	}
	return false
}
