package inspect

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// This file has the ways to read a query's result.

// eachRow calls scan for each row of a query's result.
func eachRow(ctx context.Context, conn *sql.Conn, query string, scan func(*sql.Rows) error) (err error) {
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

// valuesByName reads rows of a name and a value. It returns the names in lower
// case.
func valuesByName(ctx context.Context, conn *sql.Conn, query string) (map[string]string, error) {
	values := map[string]string{}
	err := eachRow(ctx, conn, query, func(rows *sql.Rows) error {
		var name, value string
		err := rows.Scan(&name, &value)
		values[strings.ToLower(name)] = value
		return err
	})
	return values, err
}

// singleColumn reads rows of one value.
func singleColumn(ctx context.Context, conn *sql.Conn, query string) (values []string, err error) {
	err = eachRow(ctx, conn, query, func(rows *sql.Rows) error {
		var value string
		err := rows.Scan(&value)
		values = append(values, value)
		return err
	})
	return values, err
}

// errNeedsPrivilege is the number of the error for a query that the server knows
// and the account is not allowed to run.
const errNeedsPrivilege = 1227

// firstAnswered returns the mergedRow of the first query that the server answers.
// It returns nil if the server refuses them all: it does not know them, or the
// account is not allowed to run them.
func firstAnswered(ctx context.Context, conn *sql.Conn, queries ...string) (map[string]string, error) {
	for _, query := range queries {
		values, err := mergedRow(ctx, conn, query)
		if err == nil || !isServerError(err) {
			return values, err
		}
		if serverErr, _ := errors.AsType[*mysql.MySQLError](err); serverErr.Number == errNeedsPrivilege {
			break
		}
	}
	return nil, nil
}

// mergedRow returns the values of a row by the names of their columns, in lower
// case. If there are several rows, such as those of replication channels, the
// first value of a column that is not empty counts. If there is no row, the map
// is empty.
func mergedRow(ctx context.Context, conn *sql.Conn, query string) (map[string]string, error) {
	values := map[string]string{}
	err := eachRow(ctx, conn, query, func(rows *sql.Rows) error {
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
			name = strings.ToLower(name[strings.LastIndexByte(name, '.')+1:]) // columnsWithAlias=true puts the table before it
			values[name] = cmp.Or(values[name], cells[i].String)
		}
		return nil
	})
	return values, err
}

// isServerError reports whether err is an answer of the server, or of a proxy.
// After such an answer the connection still works.
func isServerError(err error) bool {
	_, ok := errors.AsType[*mysql.MySQLError](err)
	return ok
}
