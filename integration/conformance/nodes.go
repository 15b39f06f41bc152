package conformance

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// nodesConflict has two nodes write one row before either of them commits. The server
// refuses the second commit, and Run runs that transaction again.
func (s *suite) nodesConflict(t *testing.T) string {
	if len(s.Others) == 0 {
		return notHere
	}
	here, there := open(t, s.Root, ""), open(t, s.Others[0], "")
	name := logTable(t, here)
	awaitRows(t, there, name, 2)
	var heard uint16
	calls := 0
	err := mysqltx.Run(t.Context(), there, func(ctx context.Context, tx *sql.Tx) error {
		calls++
		err := addPlus(ctx, tx, name, 1)
		if calls == 1 && err == nil {
			return addPlus(ctx, here, name, 1) // commits first
		}
		return err
	}, mysqltx.WithOnRetry(func(_ context.Context, r mysqltx.Retry) {
		if heard == 0 {
			heard = number(r.Err)
		}
	}))
	if err != nil || calls < 2 {
		t.Errorf("%d calls, heard %d: %v", calls, heard, err)
	}
	if s.Want != nil && !slices.Contains(s.Want.Conflicts, heard) {
		t.Errorf("a conflict of two nodes: got error %d, want one of %v from this server", heard, s.Want.Conflicts)
	}
	wantValue(t, there, "entry FROM "+name+" WHERE id = 1", "one++")
	await(t, here, "entry FROM "+name+" WHERE id = 1", "one++")
	return fmt.Sprintf("%d, run again", heard)
}

// getOrCreateOnAllNodes races for rows on several nodes at once.
func (s *suite) getOrCreateOnAllNodes(t *testing.T) string {
	if len(s.Others) == 0 {
		return notHere
	}
	dbs := []*sql.DB{open(t, s.Root, "")}
	name := table(t, dbs[0], "nodes", raceColumns)
	for _, dsn := range s.Others {
		db := open(t, dsn, "")
		dbs = append(dbs, db)
		awaitRows(t, db, name, 0)
	}
	for _, w := range ways {
		// Only two keys at once. The server refuses the loser until its node has applied
		// the row, and on a busy machine more keys would make nodes lag by seconds.
		raceForKeys(t, w, name, 2, dbs...)
	}
	for _, db := range dbs {
		awaitRows(t, db, name, len(ways)*keys)
	}
	return "none lost"
}

// replica checks that sessions on a replica are prepared too, that it refuses writes, and
// that rows written through mysqlinit arrive there.
func (s *suite) replica(t *testing.T) string {
	if s.Replica == "" {
		return notHere
	}
	primary, replica := open(t, s.Root, ""), open(t, s.Replica, "")
	name := logTable(t, primary)
	awaitRows(t, replica, name, 2)
	s.wantSession(t, replica, "READ-COMMITTED", "")
	_, err := replica.ExecContext(t.Context(), "DELETE FROM "+name)
	if number(err) != errReadOnlyOption {
		t.Errorf("a write on the replica: got %v, want error %d", err, errReadOnlyOption)
	}
	return fmt.Sprintf("prepared; rows arrive; writes: %d", number(err))
}

// awaitRows waits until the server has the table with that number of rows.
func awaitRows(t *testing.T, db *sql.DB, table string, rows int) {
	t.Helper()
	await(t, db, "COUNT(*) FROM "+table, fmt.Sprint(rows))
}

// await waits until an SQL expression has the wanted value, because another node wrote it.
// A check must do that on all nodes before its table is dropped: a member of a group that
// cannot apply a row leaves the group.
func await(t *testing.T, db *sql.DB, expr, want string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got, err := read(t.Context(), db, expr)
		if err == nil && got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %q, want %q; %v", expr, got, want, err)
		}
	}
}
