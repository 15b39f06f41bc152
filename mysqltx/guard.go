package mysqltx

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"runtime"
	"sync"
	"weak"

	"github.com/mysqlinit/mysqlinit/internal/txlost"
)

// guard is a connection of mysqlinit that watches the transactions of BeginTx.
type guard interface {
	WatchStrictly(ctx context.Context) (bool, error)
}

// guardIn returns the guard in what Conn.Raw shows, or nil.
func guardIn(driverConn any) guard {
	for {
		switch c := driverConn.(type) {
		case guard:
			return c
		case interface{ Unwrap() driver.Conn }: // an interceptor's
			driverConn = c.Unwrap()
		default:
			return nil
		}
	}
}

// watchedByGuard asks a connection whether its guard watches the transaction that has
// just begun. If so, the guard also takes a statement that commits it for a loss.
func watchedByGuard(ctx context.Context, conn session) (watched bool, err error) {
	var failed error // apart, because Raw closes the connection for some errors
	err = conn.Raw(func(driverConn any) error {
		if g := guardIn(driverConn); g != nil {
			watched, failed = g.WatchStrictly(ctx)
		}
		return nil
	})
	return watched, cmp.Or(failed, err)
}

// isUsable reports whether another statement can be sent on a connection. It is false
// while a result set is open. A guarded connection doesn't say: it isn't valid in a
// transaction.
func isUsable(conn session) bool {
	usable := true
	_ = conn.Raw(func(driverConn any) error {
		if v, ok := driverConn.(driver.Validator); ok && guardIn(driverConn) == nil {
			usable = v.IsValid()
		}
		return nil
	})
	return usable
}

// groupMembers holds what isGroupMember has learned, by weak pointers to databases.
var groupMembers sync.Map

// isGroupMember reports whether a database's servers are members of Group Replication.
// It asks once, in a transaction that has just begun.
func isGroupMember(ctx context.Context, db *sql.DB, tx *sql.Tx) (bool, error) {
	key := weak.Make(db)
	if member, known := groupMembers.Load(key); known {
		return member.(bool), nil
	}
	var name sql.NullString
	err := tx.QueryRowContext(ctx, txlost.GroupName).Scan(&name)
	if err != nil && (!answered(err) || hasServerError(err, mayRunAgain) || connectionLost(err)) {
		return false, err
	}
	if _, known := groupMembers.Swap(key, err == nil); !known {
		runtime.AddCleanup(db, func(key weak.Pointer[sql.DB]) { groupMembers.Delete(key) }, key)
	}
	return err == nil, nil
}
