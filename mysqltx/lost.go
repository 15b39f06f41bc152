package mysqltx

import (
	"context"
	"errors"
	"strconv"
	"strings"
)

// errRolledBack is the end of a transaction that is known to be a rollback, and after
// which nothing was committed.
var errRolledBack = errors.New("mysqltx: the server rolled the transaction back, by an error that was not returned (such as 1213, deadlock), or without a word, as Galera does for a conflict; " +
	"or a savepoint in it is gone, by a call that was not given the context of the function around it")

// lost tells how a transaction ended of which it is known only that it did. All
// may run again where the session, as its own counters tell, has run no statement that commits
// by itself since it was connected, and has begun just one transaction more than it has
// ended: then the server has rolled that one back. With autocommit off nothing that came
// after it is committed either. (Counters from before the transaction would tell more, at a
// round trip each time.)
//
// A Galera node does not count a COMMIT or ROLLBACK that it refuses for a conflict, so
// there it is taken for granted that no statement of the function's ended the transaction.
func lost(ctx context.Context, q Querier) error {
	variables, err := shown(ctx, q, "SHOW SESSION VARIABLES WHERE Variable_name IN ('autocommit', 'wsrep_on')")
	if err != nil || variables["autocommit"] != "OFF" {
		return ErrTransactionLost
	}
	counts, err := shown(ctx, q, `SHOW SESSION STATUS WHERE Variable_name LIKE 'Com\_%' AND Value <> '0'`)
	if err != nil {
		return ErrTransactionLost
	}
	open := 0
	for name, count := range counts {
		n, err := strconv.Atoi(count)
		switch name = strings.ToLower(strings.TrimPrefix(name, "Com_")); {
		case err != nil:
			return ErrTransactionLost
		case name == "begin":
			open += n
		case name == "commit", name == "rollback":
			open -= n
		case !commitsNothing(name):
			return ErrTransactionLost
		}
	}
	if open == 1 || open > 1 && variables["wsrep_on"] == "ON" {
		return errRolledBack
	}
	return ErrTransactionLost
}

// commitsNothing knows the counters of common statements that commit nothing but
// their own work. What it does not know may commit.
func commitsNothing(counter string) bool {
	switch counter {
	case "select", "insert", "insert_select", "update", "update_multi", "delete", "delete_multi", "replace", "replace_select",
		"do", "set_option", "change_db", "savepoint", "release_savepoint", "rollback_to_savepoint", "kill":
		return true
	}
	return strings.HasPrefix(counter, "show_") || strings.HasPrefix(counter, "stmt_")
}

// shown reads rows of a name and a value.
func shown(ctx context.Context, q Querier, query string) (values map[string]string, err error) {
	rows, err := q.QueryContext(ctx, query)
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
		values[name] = value
	}
	return values, rows.Err()
}
