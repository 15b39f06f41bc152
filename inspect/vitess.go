package inspect

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mysqlinit/mysqlinit/internal/sqltext"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// This file reads what only Vitess has. Its vtgate keeps the sessions. It answers
// some statements itself, and sends the others to the servers of the shards.

func (f *facts) isVitess() bool { return mentions(f.version, "vitess") }

// readVitess visits the shards of the session's keyspace, one after the other.
// The connection is discarded if it cannot come back from there.
func (f *facts) readVitess(ctx context.Context, conn *sql.Conn) (err error) {
	defer func() {
		if err != nil {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}()
	f.vitess = &vitess{inOneShard: strings.ContainsAny(f.database, ":/[")}
	f.hideTablet()
	// Each alone: vtgate then answers it.
	own := map[string]*string{"@@transaction_mode": &f.vitess.mode, "@@enable_system_settings": &f.vitess.settings, "CURRENT_USER()": &f.account}
	for expr, value := range own {
		if err := conn.QueryRowContext(ctx, "SELECT "+expr).Scan(value); err != nil && !isServerError(err) {
			return err
		}
	}
	if f.vitess.inOneShard || f.database == "" {
		return nil
	}
	if err := f.visitShards(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "USE "+sqltext.QuoteName(f.database)); err != nil {
		return err
	}
	if len(f.vitess.shards) == 0 {
		return nil
	}
	maps.Copy(f.session, f.vitess.shards[0].session)
	maps.Copy(f.global, f.vitess.shards[0].global)
	if len(f.vitess.shards) > 1 {
		f.vitess.looseKeys, err = readLooseKeys(ctx, conn)
	}
	return err
}

// hideTablet removes the facts about the tablets' own connections to their
// servers, which a program does not use.
func (f *facts) hideTablet() {
	f.grants = nil
	delete(f.session, "wait_timeout")
	delete(f.global, "port")
	for _, variables := range []map[string]string{f.session, f.global} {
		if variables["autocommit"] == "1" { // vtgate's own way to show it
			variables["autocommit"] = "ON"
		}
	}
}

func (f *facts) visitShards(ctx context.Context, conn *sql.Conn) error {
	names, err := singleColumn(ctx, conn, "SHOW VITESS_SHARDS")
	if err != nil && !isServerError(err) {
		return err
	}
	slices.Sort(names)
	keyspace, tabletType, hasType := strings.Cut(f.database, "@")
	for _, name := range names {
		target, ours := strings.CutPrefix(name, keyspace+"/")
		if !ours {
			continue
		}
		target = keyspace + ":" + target
		if hasType {
			target += "@" + tabletType
		}
		s, err := readShard(ctx, conn, target)
		switch {
		case err == nil:
			s.name = name
			f.vitess.shards = append(f.vitess.shards, s)
		case !isServerError(err): // a shard that serves nobody answers with an error
			return err
		}
	}
	return nil
}

func readShard(ctx context.Context, conn *sql.Conn, target string) (s shard, err error) {
	if _, err := conn.ExecContext(ctx, "USE "+sqltext.QuoteName(target)); err != nil {
		return s, err
	}
	const which = " VARIABLES WHERE Variable_name IN ('" + sysvar.TransactionIsolation + "', '" + sysvar.TxIsolation + "', '" + sysvar.BinlogFormat + "', 'log_bin')"
	if s.session, err = valuesByName(ctx, conn, "SHOW SESSION"+which); err != nil {
		return s, err
	}
	s.global, err = valuesByName(ctx, conn, "SHOW GLOBAL"+which)
	return s, err
}

// readLooseKeys returns the unique keys that two shards can both have a row for.
// That cannot happen if the key includes the columns of the table's first vindex,
// which choose the row's shard, or of a vindex that is unique itself. Primary
// keys are left out: most are filled from a sequence.
func readLooseKeys(ctx context.Context, conn *sql.Conn) (found []string, err error) {
	type key struct {
		table, name string
		columns     []string
	}
	var keys []key
	err = eachRow(ctx, conn, `SELECT TABLE_NAME, INDEX_NAME, GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX)
		FROM information_schema.STATISTICS
		WHERE TABLE_SCHEMA = DATABASE() AND NON_UNIQUE = 0 AND INDEX_NAME <> 'PRIMARY'
		GROUP BY TABLE_NAME, INDEX_NAME
		ORDER BY TABLE_NAME, INDEX_NAME`, func(rows *sql.Rows) error {
		var k key
		var columns sql.NullString // NULL for a key over an expression
		err := rows.Scan(&k.table, &k.name, &columns)
		k.columns = strings.Split(strings.ToLower(columns.String), ",")
		keys = append(keys, k)
		return err
	})
	if err != nil && !isServerError(err) {
		return nil, err
	}
	for _, k := range keys {
		covered, first := false, true
		err := eachRow(ctx, conn, "SHOW VSCHEMA VINDEXES ON "+sqltext.QuoteName(k.table), func(rows *sql.Rows) error {
			var columns, name, kind, params, owner string
			if err := rows.Scan(&columns, &name, &kind, &params, &owner); err != nil {
				return err
			}
			if first || strings.Contains(kind, "unique") {
				missing := func(column string) bool { return !slices.Contains(k.columns, column) }
				covered = covered || !slices.ContainsFunc(strings.Split(strings.ToLower(columns), ", "), missing)
			}
			first = false
			return nil
		})
		switch {
		case err != nil && !isServerError(err):
			return nil, err
		case err == nil && !first && !covered: // without any vindex the table is not sharded
			found = append(found, fmt.Sprintf("%s.%s", k.table, k.name))
		}
	}
	return found, nil
}
