package conformance

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/mysqlinit/mysqlinit/mysqltx"
)

const raceColumns = "name VARCHAR(20) PRIMARY KEY"

// loserHears plays the race once at REPEATABLE READ and once with a bare DSN.
func (s *suite) loserHears(t *testing.T) string {
	plain := openPlain(t, s.Root)
	name := table(t, plain, "race", raceColumns)
	heard := playRace(t, plain, sql.LevelRepeatableRead, name, "plain")
	wantFact(t, s, "the race's loser gets", heard, func(f Facts) Race { return f.Race })
	if prepared := playRace(t, open(t, s.Root, ""), sql.LevelDefault, name, "prepared"); prepared != Seen {
		t.Errorf("through mysqlinit the race's loser gets %q, want %q", prepared, Seen)
	}
	return string(heard)
}

// playRace plays the race: transaction B reads, A inserts and commits, then B inserts and
// reads again. It returns how that ends for B.
func playRace(t *testing.T, db *sql.DB, level sql.IsolationLevel, table, key string) Race {
	t.Helper()
	b, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: level})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Rollback() }()
	if _, err := getName(table, key)(t.Context(), b, ""); !errors.Is(err, sql.ErrNoRows) {
		t.Fatalf("B's first read: %v", err)
	}
	if _, err := insertName(table, key)(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	_, err = insertName(table, key)(t.Context(), b)
	if n := number(err); n == errRecordChanged || n == errDeadlock {
		return Race(fmt.Sprint(n))
	} else if n != errDuplicateEntry {
		t.Fatalf("B's insert: %v", err)
	}
	switch _, err := getName(table, key)(t.Context(), b, ""); {
	case err == nil:
		return Seen
	case errors.Is(err, sql.ErrNoRows):
		return Vanished
	default:
		t.Fatalf("B's second read: %v", err)
		return ""
	}
}

// getName returns a get function for GetOrCreate.
func getName(table, key string) func(context.Context, mysqltx.Querier, string) (string, error) {
	return func(ctx context.Context, q mysqltx.Querier, lock string) (name string, err error) {
		err = q.QueryRowContext(ctx, "SELECT name FROM "+table+" WHERE name = ?"+lock, key).Scan(&name)
		return name, err
	}
}

// insertName returns a create function for GetOrCreate.
func insertName(table, key string) func(context.Context, mysqltx.Querier) (string, error) {
	return func(ctx context.Context, q mysqltx.Querier) (string, error) {
		_, err := q.ExecContext(ctx, "INSERT INTO "+table+" (name) VALUES (?)", key)
		return key, err
	}
}

// tally counts how racing transactions ended.
type tally struct {
	mu                                       sync.Mutex
	ok, created, vanished, changed, deadlock int
	others                                   map[string]int // by text
}

func (c *tally) add(created bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.ok++
		if created {
			c.created++
		}
	case errors.Is(err, sql.ErrNoRows):
		c.vanished++
	case number(err) == errRecordChanged:
		c.changed++
	case number(err) == errDeadlock:
		c.deadlock++
	default:
		if c.others == nil {
			c.others = map[string]int{}
		}
		c.others[err.Error()]++
	}
}

// lost counts the transactions that failed in one of the expected ways.
func (c *tally) lost() int { return c.vanished + c.changed + c.deadlock }

func (c *tally) String() string {
	text := fmt.Sprintf("%d succeeded, %d created, %d vanished, %d changed, %d deadlocks", c.ok, c.created, c.vanished, c.changed, c.deadlock)
	for err, count := range c.others {
		text += fmt.Sprintf("\n%d: %s", count, err)
	}
	return text
}

const (
	racers = 16
	rounds = 50
)

// raceByHand has workers race for each key with the code that programs write by hand.
func raceByHand(t *testing.T, db *sql.DB, level sql.IsolationLevel, table string) *tally {
	var sum tally
	for key := range rounds {
		var all sync.WaitGroup
		for range racers {
			all.Go(func() {
				created, err := byHand(t.Context(), db, level, table, fmt.Sprint(key))
				sum.add(created, err)
			})
		}
		all.Wait()
	}
	return &sum
}

// byHand gets or creates a row in a transaction.
func byHand(ctx context.Context, db *sql.DB, level sql.IsolationLevel, table, key string) (created bool, err error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: level})
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }()
	created, err = byHandIn(ctx, tx, table, key, func() error { return nil })
	if err != nil {
		return false, err
	}
	return created, tx.Commit()
}

// byHandIn gets a row, or else creates it, and gets it once more after a duplicate key. It
// calls between after the first get.
func byHandIn(ctx context.Context, tx *sql.Tx, table, key string, between func() error) (created bool, err error) {
	_, err = getName(table, key)(ctx, tx, "")
	if !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	if err := between(); err != nil {
		return false, err
	}
	_, err = insertName(table, key)(ctx, tx)
	if mysqltx.IsDuplicateKey(err) {
		_, err = getName(table, key)(ctx, tx, "")
		return false, err
	}
	return err == nil, err
}

// racePlain shows that the race has losers without mysqlinit.
func (s *suite) racePlain(t *testing.T) string {
	db := openPlain(t, s.Root)
	sum := raceByHand(t, db, sql.LevelRepeatableRead, table(t, db, "race", raceColumns))
	if s.Want != nil && sum.lost() == 0 || sum.ok+sum.lost() != racers*rounds {
		t.Errorf("the plain driver at REPEATABLE READ should lose some races: %s", sum)
	}
	cell := fmt.Sprintf("%d of %d", sum.lost(), racers*rounds)
	for _, kind := range []struct {
		count int
		name  string
	}{{sum.vanished, "no row"}, {sum.changed, "1020"}, {sum.deadlock, "1213"}} {
		if kind.count > 0 {
			cell += ", " + kind.name
		}
	}
	return cell
}

func (s *suite) racePrepared(t *testing.T) string {
	lost, all := RaceLost(t, s.Root)
	if lost > 0 {
		t.Errorf("lost %d of %d", lost, all)
	}
	return fmt.Sprintf("%d of %d", lost, all)
}

// RaceLost plays the race through mysqlinit, with code written by hand. It returns how many
// of all transactions were lost. The test fails if one ends in any other way.
func RaceLost(t *testing.T, dsn string) (lost, all int) {
	t.Helper()
	db := open(t, dsn, "")
	sum := raceByHand(t, db, sql.LevelDefault, table(t, db, "race", raceColumns))
	if sum.ok+sum.lost() != racers*rounds || sum.created != rounds {
		t.Error(sum)
	}
	return sum.lost(), racers * rounds
}
