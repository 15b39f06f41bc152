package conformance

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// guardTellsConflicts has a transaction on one node lose its row to another node between
// two statements, and go on in each way. If COMMIT succeeds, all of its rows must be on all
// nodes; if not, none of them on any node.
func (s *suite) guardTellsConflicts(t *testing.T) string {
	if len(s.Others) == 0 {
		return notHere
	}
	runs := 1000
	if testing.Short() {
		runs = 300
	}
	const atOnce = 8
	here, there := openPlain(t, s.Root), openPlain(t, s.Others[0])
	guarded := open(t, s.Others[0], "guard=true")
	name := table(t, here, "conflicts", logColumns)
	testserver.Exec(t, here, "INSERT INTO "+name+" (id, entry) VALUES (1, 'x')"+strings.ReplaceAll(numbers(2, runs), ")", ", 'x')"))
	awaitRows(t, there, name, runs)
	// At its first savepoint the guard learns what the server is.
	tx, err := guarded.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	testserver.Exec(t, tx, "SAVEPOINT first")
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	var want []string
	ends := map[string]int{}
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for id := 1; id <= runs; id++ {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			c := conflict{here: here, there: there, guarded: guarded, table: name, id: id, next: goOns[id%len(goOns)]}
			rows, commit, err := c.run(t.Context())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			want = append(want, rows...)
			ends["COMMIT: "+commit]++
		})
	}
	all.Wait()
	t.Log(ends)
	slices.Sort(want)
	nodes := []*sql.DB{here, there}
	for _, dsn := range s.Others[1:] {
		nodes = append(nodes, openPlain(t, dsn))
	}
	for i, node := range nodes {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			got, err := readColumn(t.Context(), node, "SELECT entry FROM "+name+" WHERE entry LIKE '% %' ORDER BY BINARY entry")
			if err == nil && slices.Equal(got, want) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("node %d: %v\n%s", i+1, err, difference(got, want))
			}
		}
	}
	return fmt.Sprintf("0 of %d", runs)
}

// difference returns what only one of two sorted lists has.
func difference(got, want []string) string {
	var b strings.Builder
	for _, row := range got {
		if _, found := slices.BinarySearch(want, row); !found {
			fmt.Fprintf(&b, "%q is there\n", row)
		}
	}
	for _, row := range want {
		if _, found := slices.BinarySearch(got, row); !found {
			fmt.Fprintf(&b, "%q is missing\n", row)
		}
	}
	return b.String()
}

func readColumn(ctx context.Context, db *sql.DB, query string) (values []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, rows.Err()
}

// conflict is a transaction on one node about a row that another node writes.
type conflict struct {
	here, there, guarded *sql.DB
	table                string
	id                   int
	next                 goOn
}

// entry names the part of the transaction that a row comes from.
func (c conflict) entry(part string) string {
	return fmt.Sprintf("%d %s, then %s", c.id, part, c.next.name)
}

// run returns the rows that must be there, and how COMMIT ended.
func (c conflict) run(ctx context.Context) (rows []string, commit string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := c.guarded.Conn(ctx)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = conn.Close() }()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = tx.Rollback() }()
	insert := func(part string) string {
		return fmt.Sprintf("INSERT INTO %s (entry) VALUES ('%s')", c.table, c.entry(part))
	}
	update := fmt.Sprintf("UPDATE %s SET entry = CONCAT(entry, '+') WHERE id = %d", c.table, c.id)
	before := []error{exec(ctx, tx, insert("before"))}
	if c.next.savepoint {
		before = append(before, exec(ctx, tx, "SAVEPOINT early"))
	}
	before = append(before, exec(ctx, tx, update))
	if err := errors.Join(before...); err != nil {
		return nil, "", err
	}
	if _, err := c.here.ExecContext(ctx, update); err != nil {
		return nil, "", err
	}
	if err := c.wait(ctx); err != nil {
		return nil, "", err
	}
	rows = []string{c.entry("before")}
	if c.next.do != nil {
		rows = append(rows, c.entry("after"))
		_ = c.next.do(ctx, conn, tx, insert("after"))
	}
	err = tx.Commit()
	switch lost := errors.Is(err, mysqlinit.ErrTransactionLost); {
	case err == nil:
		return rows, "ok", nil
	case number(err) == 0 && !lost:
		return nil, "", err
	default:
		return nil, fmt.Sprintf("%d, lost: %v", number(err), lost), nil
	}
}

// wait waits for the other node's change to arrive: not at all, for a moment, or until it
// has come.
func (c conflict) wait(ctx context.Context) error {
	switch c.id / len(goOns) % 3 {
	case 0:
		return nil
	case 1:
		time.Sleep(rand.N(5 * time.Millisecond))
		return nil
	}
	for {
		entry, err := read(ctx, c.there, fmt.Sprintf("entry FROM %s WHERE id = %d", c.table, c.id))
		if err != nil || entry != "x" {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}
