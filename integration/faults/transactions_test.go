package faults

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/integration/proxy"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

var transactions = flag.Int64("transactions", 5000, "how many transactions to run under the guard")

// writers is how many goroutines run transactions on a server at once.
const writers = 16

// TestGuardedTransactions runs random transactions under the guard, which swallow most of
// the errors that they meet: deadlocks, lock waits that time out, duplicate keys,
// statements that make no sense. Meanwhile queries and connections are killed, the network
// is cut, and callers leave. In the end a transaction whose Commit has returned nil must be
// there whole, and no other at all. If COMMIT was not answered, it must be either.
func TestGuardedTransactions(t *testing.T) {
	t.Logf("-seed=%d", *seed)
	wantNoGoroutines(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Hour)
	defer stop()
	var all sync.WaitGroup
	for n, mysql := range []bool{false, true} {
		// MariaDB ends the transaction after a lock wait that timed out, MySQL only the statement.
		s := testserver.New(t, testserver.Config{MySQL: mysql, Binlog: "MIXED", Args: []string{
			"--innodb-lock-wait-timeout=1", fmt.Sprintf("--innodb-rollback-on-timeout=%t", !mysql)}})
		j := newJournal(t, s, !mysql)
		all.Go(func() { j.fill(ctx, *transactions/2, uint64(n)) })
	}
	all.Wait()
	if ctx.Err() != nil {
		t.Error("not done within an hour")
	}
}

// journal is a server with two tables. Each transaction writes rows under its own number
// into the table journal, and changes rows of the table hot, where it meets the others.
type journal struct {
	*world
	name          string
	pools         []*sql.DB
	insert        []*sql.Stmt // prepared in each pool
	timeoutIsLoss bool        // innodb_rollback_on_timeout

	numbers atomic.Int64
	mu      sync.Mutex
	written map[int64]outcome // of each transaction
	met     map[uint16]int    // the server's errors
}

// outcome is what a transaction has to leave in the journal.
type outcome struct {
	end   ending
	rows  string // that it has written and not taken back, such as "1,3"
	story string
}

type ending string

const (
	acknowledged ending = "acknowledged" // by Commit: all rows
	refused      ending = "refused"      // as lost: no row
	rolledBack   ending = "rolled back"  // or abandoned: no row
	unanswered   ending = "unanswered"   // COMMIT: all rows or none
)

// The rows 1 to hotRows of the table hot are for deadlocks. Row 0 is locked all the time.
const hotRows = 5

func newJournal(t *testing.T, s *testserver.Server, timeoutIsLoss bool) *journal {
	admin := openDB(t, s.DSN(testserver.Root, ""))
	admin.SetMaxOpenConns(4) // one of them holds row 0
	testserver.Exec(t, admin, "CREATE USER faulty", "GRANT ALL ON *.* TO faulty",
		"CREATE TABLE journal (tx BIGINT, n INT, PRIMARY KEY (tx, n)) ENGINE=InnoDB",
		"CREATE TABLE hot (id INT PRIMARY KEY, n BIGINT NOT NULL) ENGINE=InnoDB",
		"CREATE FUNCTION touch(row_id INT) RETURNS INT DETERMINISTIC BEGIN UPDATE hot SET n = n + 1 WHERE id = row_id; RETURN 1; END")
	for id := range hotRows + 1 {
		testserver.Exec(t, admin, fmt.Sprintf("INSERT INTO hot VALUES (%d, 0)", id))
	}
	name := "MariaDB"
	if s.MySQL {
		name = "MySQL"
	}
	j := &journal{name: name, timeoutIsLoss: timeoutIsLoss, written: map[int64]outcome{}, met: map[uint16]int{}}
	j.world = &world{T: t, Proxy: proxy.New(t, s.Addr), servers: []*testserver.Server{s}, admins: []*sql.DB{admin}, did: map[string]int{}}
	j.Set(nil)
	for _, more := range []string{"interpolateParams=false", "interpolateParams=true"} {
		db := openDB(t, "faulty@tcp("+j.Addr+")/test?guard=true&multiStatements=true&"+more)
		db.SetMaxOpenConns(writers)
		db.SetMaxIdleConns(writers)
		insert, err := db.Prepare("INSERT INTO journal VALUES (?, ?)")
		if err != nil {
			t.Fatal(err)
		}
		j.pools, j.insert = append(j.pools, db), append(j.insert, insert)
	}
	return j
}

// fill runs transactions, and then compares what they have left with what they must leave.
func (j *journal) fill(ctx context.Context, count int64, stream uint64) {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	var writing, disturbing sync.WaitGroup
	disturbing.Go(func() { j.holdRow0(ctx) })
	disturbing.Go(func() { j.disturb(ctx, rand.New(rand.NewPCG(*seed, stream<<32))) })
	for n := range writers {
		writing.Go(func() {
			random := rand.New(rand.NewPCG(*seed, stream<<32+uint64(n)+1))
			for j.ended() < count && j.wrong.Load() == 0 && ctx.Err() == nil {
				j.transact(ctx, random)
			}
		})
	}
	writing.Wait()
	enough()
	disturbing.Wait()
	for i, db := range j.pools {
		_ = j.insert[i].Close()
		_ = db.Close()
	}
	wantNoThreads(j.T, j.admins[0]) // a COMMIT can still be under way
	j.check(count)
}

func (j *journal) ended() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return int64(len(j.written))
}

// holdRow0 keeps row 0 locked, so that whoever touches it waits until the time is over.
func (j *journal) holdRow0(ctx context.Context) {
	for ctx.Err() == nil {
		tx, err := j.admins[0].BeginTx(ctx, nil)
		if err != nil {
			continue
		}
		for err == nil {
			_, err = tx.ExecContext(ctx, "UPDATE hot SET n = n + 1 WHERE id = 0")
			time.Sleep(100 * time.Millisecond)
		}
		_ = tx.Rollback()
	}
}

// disturb kills and cuts until ctx ends.
func (j *journal) disturb(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		if random.IntN(100) == 0 {
			time.Sleep(1500 * time.Millisecond) // otherwise hardly a lock wait lives until its timeout
		}
		var what string
		var err error
		switch n := random.IntN(100); {
		case n < 2:
			what = "cut"
			j.CutAll()
		case n < 25:
			what = "KILL CONNECTION"
			err = j.kill(ctx, random, "CONNECTION")
		default:
			what = "KILL QUERY"
			err = j.kill(ctx, random, "QUERY")
		}
		if err != nil && ctx.Err() == nil && !j.revive() {
			j.Errorf("%s: %v", what, err)
		}
		j.did[what]++
	}
}

// transact runs one transaction and notes what it must leave.
func (j *journal) transact(ctx context.Context, random *rand.Rand) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if random.IntN(20) == 0 {
		var leave context.CancelFunc
		ctx, leave = context.WithTimeout(ctx, time.Duration(random.IntN(8000))*time.Microsecond)
		defer leave()
	}
	pool := random.IntN(len(j.pools))
	tx, err := j.pools[pool].BeginTx(ctx, nil)
	if err != nil {
		time.Sleep(time.Millisecond)
		return
	}
	e := &entry{journal: j, Tx: tx, ctx: ctx, random: random, number: j.numbers.Add(1), insert: j.insert[pool]}
	end := e.run()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.written[e.number] = outcome{end, join(e.rows), e.story.String()}
	for _, number := range e.met {
		j.met[number]++
	}
}

// entry is a transaction of the journal.
type entry struct {
	*journal
	*sql.Tx
	ctx     context.Context
	random  *rand.Rand
	number  int64
	insert  *sql.Stmt // of the pool
	rows    []int     // that it has written
	kept    int       // how many of them a savepoint keeps; -1: there is none
	lastRow int
	refused bool     // a statement was
	met     []uint16 // the server's errors
	story   strings.Builder
}

// run runs the statements of the transaction and ends it.
func (e *entry) run() ending {
	e.kept = -1
	e.tell(e.write())
	for range e.random.IntN(8) {
		if !e.step() {
			_ = e.Rollback()
			return rolledBack
		}
	}
	if e.random.IntN(10) == 0 {
		if err := e.Rollback(); err == nil || !e.refused {
			return rolledBack
		}
	}
	err := e.Commit()
	e.tell("COMMIT", err)
	switch {
	case err == nil && e.refused:
		e.fail("Commit is nil after a statement was refused")
	case err == nil:
		return acknowledged
	case errors.Is(err, mysqlinit.ErrTransactionLost):
		return refused
	case errors.Is(err, sql.ErrTxDone), e.ctx.Err() != nil && errors.Is(err, e.ctx.Err()): // the caller has left: not sent
		return rolledBack
	}
	return unanswered
}

// step runs a random statement. It reports whether the transaction goes on.
func (e *entry) step() bool {
	var what string
	var err error
	switch n := e.random.IntN(100); {
	case n < 35:
		what, err = e.write()
	case n < 70:
		id := 1 + e.random.IntN(hotRows)
		if e.random.IntN(100) == 0 {
			id = 0
		}
		how := e.random.IntN(len(touches))
		what, err = fmt.Sprintf("touch %d by %s", id, touches[how].name), touches[how].do(e, id)
	case n < 80:
		what, err = e.read()
	case n < 88:
		what = mistakes[e.random.IntN(len(mistakes))]
		_, err = e.ExecContext(e.ctx, what)
	case n < 96 || e.kept < 0:
		what = "SAVEPOINT s"
		if _, err = e.ExecContext(e.ctx, what); err == nil {
			e.kept = len(e.rows)
		}
	default:
		what = "ROLLBACK TO s"
		if _, err = e.ExecContext(e.ctx, what); err != nil {
			e.tell(what, err)
			return e.refused // otherwise nobody knows what is left
		}
		e.rows = e.rows[:e.kept]
	}
	e.tell(what, err)
	return err == nil || e.random.IntN(5) > 0 // most errors are swallowed
}

// tell notes how a statement has ended.
func (e *entry) tell(what string, err error) {
	fmt.Fprintf(&e.story, "\n\t%s: %v", what, err)
	serverErr, ok := errors.AsType[*mysql.MySQLError](err)
	if !errors.Is(err, mysqlinit.ErrTransactionLost) {
		if ok {
			e.met = append(e.met, serverErr.Number)
		}
		return
	}
	if !e.refused && e.open() {
		e.fail("a transaction was refused that the server has not ended")
	}
	e.refused = true
	// Rarely, KILL QUERY hides the deadlock whose victim the transaction has become.
	if !ok || !slices.Contains([]uint16{1213, 1205, 1317}, serverErr.Number) || serverErr.Number == 1205 && !e.timeoutIsLoss {
		e.fail("a transaction was refused for a reason that is none")
	}
}

// open reports whether the server still has the transaction open: it then has locks on the
// rows that it has written.
func (e *entry) open() bool {
	// Not with Exec: on MariaDB the MySQL driver hangs in that of a prepared SELECT without rows.
	err := e.admins[0].QueryRowContext(context.WithoutCancel(e.ctx), "SELECT COUNT(*) FROM journal WHERE tx = ? FOR UPDATE", e.number).Scan(new(int))
	serverErr, ok := errors.AsType[*mysql.MySQLError](err)
	if err != nil && (!ok || serverErr.Number != 1205) {
		e.Error(err)
	}
	return err != nil
}

func (e *entry) fail(why string) {
	e.wrong.Add(1)
	e.Errorf("-seed=%d: %s, transaction %d: %s:%s", *seed, e.name, e.number, why, e.story.String())
}

// write inserts a row.
func (e *entry) write() (what string, err error) {
	e.lastRow++
	n := e.lastRow
	switch e.random.IntN(4) {
	case 0:
		_, err = e.ExecContext(e.ctx, fmt.Sprintf("INSERT INTO journal VALUES (%d, %d)", e.number, n))
	case 1:
		_, err = e.ExecContext(e.ctx, "INSERT INTO journal VALUES (?, ?)", e.number, n)
	case 2:
		_, err = e.StmtContext(e.ctx, e.insert).ExecContext(e.ctx, e.number, n)
	case 3:
		var stmt *sql.Stmt
		if stmt, err = e.PrepareContext(e.ctx, "INSERT INTO journal VALUES (?, ?)"); err == nil {
			_, err = stmt.ExecContext(e.ctx, e.number, n)
			_ = stmt.Close()
		}
	}
	if err == nil {
		e.rows = append(e.rows, n)
	}
	return fmt.Sprintf("INSERT %d", n), err
}

// read reads the transaction's own rows. If it succeeds, they must all be there.
func (e *entry) read() (what string, err error) {
	var n int
	if err = e.QueryRowContext(e.ctx, "SELECT COUNT(*) FROM journal WHERE tx = ?", e.number).Scan(&n); err == nil && n != len(e.rows) {
		e.fail(fmt.Sprintf("it has written the rows %v and sees %d", e.rows, n))
	}
	return "SELECT", err
}

// mistakes are statements that fail, and leave a transaction whole. The guard can tell by
// their first words that they have not committed it.
var mistakes = []string{
	"INSERT INTO hot VALUES (1, 0)", // 1062
	"INSERT INTO hot VALUES (NULL, NULL)",
	"SELECT FROM nowhere WHERE", // 1064
	"SELECT * FROM nowhere",
	"SIGNAL SQLSTATE '45000'",
	"RELEASE SAVEPOINT nowhere",
}

// touches are ways to change or lock a row of the table hot, or to run into the error of it.
var touches = []struct {
	name string
	do   func(e *entry, id int) error
}{
	{"Exec", func(e *entry, id int) error {
		_, err := e.ExecContext(e.ctx, fmt.Sprintf("UPDATE hot SET n = n + 1 WHERE id = %d", id))
		return err
	}},
	{"Exec with an argument", func(e *entry, id int) error {
		_, err := e.ExecContext(e.ctx, "UPDATE hot SET n = n + 1 WHERE id = ?", id)
		return err
	}},
	{"Query", func(e *entry, id int) error {
		return e.QueryRowContext(e.ctx, fmt.Sprintf("SELECT n FROM hot WHERE id = %d FOR UPDATE", id)).Scan(new(int))
	}},
	{"prepared Query", func(e *entry, id int) error {
		return e.QueryRowContext(e.ctx, "SELECT n FROM hot WHERE id = ? FOR UPDATE", id).Scan(new(int))
	}},
	{"function", func(e *entry, id int) error {
		return e.QueryRowContext(e.ctx, "SELECT touch(?)", id).Scan(new(int))
	}},
	{"batch", func(e *entry, id int) error {
		_, err := e.ExecContext(e.ctx, fmt.Sprintf("SELECT 1; UPDATE hot SET n = n + 1 WHERE id = %d; DO 1", id))
		return err
	}},
	{"next result set", func(e *entry, id int) error {
		rows, err := e.QueryContext(e.ctx, fmt.Sprintf("SELECT 1; SELECT n FROM hot WHERE id = %d FOR UPDATE", id))
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
		}
		if rows.NextResultSet() {
			for rows.Next() {
			}
		}
		return rows.Err()
	}},
	{"rows closed early", func(e *entry, id int) error {
		rows, err := e.QueryContext(e.ctx, fmt.Sprintf("SELECT 1; SELECT n FROM hot WHERE id = %d FOR UPDATE", id))
		if err != nil {
			return err
		}
		return rows.Close()
	}},
}

// check compares the table with what the transactions must have left there.
func (j *journal) check(count int64) {
	rows, err := j.admins[0].Query("SELECT tx, n FROM journal ORDER BY tx, n")
	if err != nil {
		j.Fatal(err)
	}
	defer rows.Close()
	there := map[int64][]int{}
	for rows.Next() {
		var tx int64
		var n int
		if err := rows.Scan(&tx, &n); err != nil {
			j.Fatal(err)
		}
		there[tx] = append(there[tx], n)
	}
	if err := rows.Err(); err != nil {
		j.Fatal(err)
	}
	ends := map[ending]int{}
	for number, o := range j.written {
		ends[o.end]++
		got := join(there[number])
		delete(there, number)
		whole, none := got == o.rows, got == ""
		if o.end == acknowledged && whole || o.end == unanswered && (whole || none) || (o.end == refused || o.end == rolledBack) && none {
			continue
		}
		figures.halves.Add(1)
		if j.wrong.Add(1) < 10 {
			j.Errorf("-seed=%d: %s, transaction %d, %s: wrote %q, %q is there:%s", *seed, j.name, number, o.end, o.rows, got, o.story)
		}
	}
	if len(there) > 0 {
		j.Errorf("rows of transactions that never began: %v", slices.Collect(maps.Keys(there)))
	}
	figures.transactions.Add(int64(len(j.written)))
	figures.refused.Add(int64(ends[refused]))
	j.Logf("%s: %v, errors met: %v, %v", j.name, ends, j.met, j.did)
	for _, end := range []ending{acknowledged, refused, rolledBack, unanswered} {
		if ends[end] == 0 && count >= 1000 && j.wrong.Load() == 0 {
			j.Errorf("%s: too few transactions to prove anything: none was %s", j.name, end)
		}
	}
	for number, atLeast := range map[uint16]int64{1062: 1000, 1213: 1000, 1317: 1000, 1205: 10000} {
		if j.met[number] == 0 && count >= atLeast && j.wrong.Load() == 0 {
			j.Errorf("%s: too few transactions to prove anything: none met error %d", j.name, number)
		}
	}
}

func join(rows []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(rows), " ", ","), "[]")
}
