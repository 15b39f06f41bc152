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

var (
	transactions = flag.Int64("transactions", 5000, "how many transactions of BeginTx to run under the guard")
	runs         = flag.Int64("runs", 5000, "how many transactions of mysqltx.Run to run, half of them under the guard")
)

// writers is how many goroutines run transactions of either kind on a server at once.
const writers = 24

// TestTransactions runs random transactions, which swallow most of the errors that they
// meet: deadlocks, lock waits that time out, duplicate keys, statements that make no sense.
// Meanwhile queries and connections are killed, the network is cut, also around a COMMIT,
// and callers leave. Some are transactions of BeginTx under the guard, some of mysqltx.Run
// with and without it. In the end one that was acknowledged must be there whole, and no
// other at all. If COMMIT was not answered, it must be either.
func TestTransactions(t *testing.T) {
	t.Logf("-seed=%d", *seed)
	wantNoGoroutines(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Hour)
	defer stop()
	var all sync.WaitGroup
	for n, mysql := range []bool{false, true} {
		// One of them ends the transaction after a lock wait that timed out, the other only the statement.
		timeoutIsLoss := (uint64(n)+*seed)%2 == 0
		s := testserver.New(t, testserver.Config{MySQL: mysql, Binlog: "MIXED", Args: []string{
			"--innodb-lock-wait-timeout=1", fmt.Sprintf("--innodb-rollback-on-timeout=%t", timeoutIsLoss)}})
		j := newJournal(t, s, timeoutIsLoss)
		all.Go(func() { j.fill(ctx, uint64(n)) })
	}
	all.Wait()
	if ctx.Err() != nil {
		t.Error("not done within an hour")
	}
}

// journal is a server with some tables. Each transaction writes rows under its own number
// into the table journal, and changes rows of the table hot, where it meets the others.
type journal struct {
	*world
	name          string
	pools         []*source
	guardedPools  []*source // of them
	timeoutIsLoss bool      // innodb_rollback_on_timeout

	numbers atomic.Int64
	retries atomic.Int64 // by Run
	mu      sync.Mutex
	written map[int64]outcome // of each transaction
	count   map[kind]int64    // of them
	met     map[uint16]int    // the server's errors
}

// source is a pool of connections to the journal.
type source struct {
	*sql.DB
	insert  *sql.Stmt
	guarded bool
}

// kind is who begins and commits a transaction.
type kind string

const (
	byBeginTx kind = "BeginTx"
	byRun     kind = "Run"
)

// outcome is what a transaction has to leave in the journal.
type outcome struct {
	kind
	end     ending
	allowed []string // the rows that are allowed to be there, such as "1,3"
	story   string
}

type ending string

const (
	acknowledged ending = "acknowledged" // all rows
	refused      ending = "refused"      // as lost: no row
	rolledBack   ending = "rolled back"  // or abandoned: no row
	unanswered   ending = "unanswered"   // COMMIT: all rows or none
)

// The rows 1 to hotRows of the table hot are for deadlocks. Row 0 is locked all the time.
const hotRows = 8

func newJournal(t *testing.T, s *testserver.Server, timeoutIsLoss bool) *journal {
	admin := openDB(t, s.DSN(testserver.Root, ""))
	admin.SetMaxOpenConns(4) // one of them holds row 0
	testserver.Exec(t, admin, "CREATE USER faulty", "GRANT ALL ON *.* TO faulty",
		"CREATE TABLE journal (tx BIGINT, n INT, PRIMARY KEY (tx, n)) ENGINE=InnoDB",
		"CREATE TABLE hot (id INT PRIMARY KEY, n BIGINT NOT NULL) ENGINE=InnoDB",
		"CREATE TABLE shared (name BIGINT PRIMARY KEY, tx BIGINT, n INT) ENGINE=InnoDB", // by GetOrCreate
		"CREATE TABLE other (id INT) ENGINE=InnoDB",
		"CREATE FUNCTION touch(row_id INT) RETURNS INT DETERMINISTIC BEGIN UPDATE hot SET n = n + 1 WHERE id = row_id; RETURN 1; END")
	for id := range hotRows + 1 {
		testserver.Exec(t, admin, fmt.Sprintf("INSERT INTO hot VALUES (%d, 0)", id))
	}
	name := "MariaDB"
	if s.MySQL {
		name = "MySQL"
	}
	j := &journal{name: name, timeoutIsLoss: timeoutIsLoss, written: map[int64]outcome{}, count: map[kind]int64{}, met: map[uint16]int{}}
	j.world = &world{T: t, Proxy: proxy.New(t, s.Addr), servers: []*testserver.Server{s}, admins: []*sql.DB{admin}, did: map[string]int{}}
	j.Set(nil)
	for _, guard := range []bool{true, false} {
		for _, interpolate := range []bool{false, true} {
			// A lock wait is over after a second. The timeout ends stalled connections.
			db := openDB(t, fmt.Sprintf("faulty@tcp(%s)/test?guard=%t&multiStatements=true&readTimeout=2s&interpolateParams=%t", j.Addr, guard, interpolate))
			db.SetMaxOpenConns(writers)
			db.SetMaxIdleConns(writers)
			insert, err := db.Prepare("INSERT INTO journal VALUES (?, ?)")
			if err != nil {
				t.Fatal(err)
			}
			j.pools = append(j.pools, &source{db, insert, guard})
		}
		if guard {
			j.guardedPools = j.pools
		}
	}
	return j
}

// fill runs transactions, and then compares what they have left with what they must leave.
func (j *journal) fill(ctx context.Context, stream uint64) {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	var writing, disturbing sync.WaitGroup
	disturbing.Go(func() { j.holdRow0(ctx) })
	disturbing.Go(func() { j.disturb(ctx, rand.New(rand.NewPCG(*seed, stream<<32))) })
	for n := range 2 * writers {
		k, count := byBeginTx, *transactions/2
		if n%2 == 1 {
			k, count = byRun, *runs/2
		}
		writing.Go(func() {
			random := rand.New(rand.NewPCG(*seed, stream<<32+uint64(n)+1))
			for j.ended(k) < count && j.wrong.Load() == 0 && ctx.Err() == nil {
				j.transact(ctx, random, k)
			}
		})
	}
	writing.Wait()
	enough()
	disturbing.Wait()
	for _, pool := range j.pools {
		_ = pool.insert.Close()
		_ = pool.Close()
	}
	wantNoThreads(j.T, j.admins[0]) // a COMMIT can still be under way
	j.check()
}

func (j *journal) ended(k kind) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.count[k]
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

// commit is the packet of a COMMIT.
const commit = "\x07\x00\x00\x00\x03COMMIT"

// networkFaults are faults of the first COMMIT or UPDATE on a connection.
var networkFaults = []struct {
	name string
	proxy.Fault
}{
	{"cut before COMMIT", proxy.Fault{What: proxy.Cut, ToServer: true, Text: commit}},
	{"cut inside COMMIT", proxy.Fault{What: proxy.Cut, ToServer: true, Text: commit, After: 7}},
	{"cut after COMMIT", proxy.Fault{What: proxy.Cut, ToServer: true, Text: commit, After: len(commit)}},
	{"reset after COMMIT", proxy.Fault{What: proxy.Reset, ToServer: true, Text: commit, After: len(commit)}},
	{"stall before COMMIT", proxy.Fault{What: proxy.Stall, ToServer: true, Text: commit}},
	{"stall inside UPDATE", proxy.Fault{What: proxy.Stall, ToServer: true, Text: "UPDATE hot", After: 4}},
}

// disturb kills and cuts until ctx ends.
func (j *journal) disturb(ctx context.Context, random *rand.Rand) {
	var fault string
	var happened <-chan struct{}
	for ctx.Err() == nil {
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		if random.IntN(100) == 0 {
			time.Sleep(1500 * time.Millisecond) // otherwise hardly a lock wait lives until its timeout
		}
		select {
		case <-happened:
			j.did[fault]++
			j.Set(nil)
			happened = nil
		default:
			if happened == nil && random.IntN(16) == 0 {
				next := networkFaults[random.IntN(len(networkFaults))]
				fault, happened = next.name, j.Set(&next.Fault)
			}
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
func (j *journal) transact(ctx context.Context, random *rand.Rand, k kind) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if random.IntN(20) == 0 {
		var leave context.CancelFunc
		ctx, leave = context.WithTimeout(ctx, time.Duration(random.IntN(8000))*time.Microsecond)
		defer leave()
	}
	e := &entry{journal: j, kind: k, random: random, number: j.numbers.Add(1), committed: []string{""}}
	var end ending
	if k == byRun {
		e.source = j.pools[random.IntN(len(j.pools))]
		end = e.run(ctx)
	} else {
		e.source = j.guardedPools[random.IntN(len(j.guardedPools))]
		tx, err := e.BeginTx(ctx, nil)
		if err != nil {
			time.Sleep(time.Millisecond)
			return
		}
		e.begin(ctx, tx)
		end = e.endTx(e.work())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.count[k]++
	j.written[e.number] = outcome{k, end, e.allowed(end), e.story.String()}
	for _, number := range e.met {
		j.met[number]++
	}
}

// entry is a transaction of the journal.
type entry struct {
	*journal
	*source
	kind
	random  *rand.Rand
	number  int64
	lastRow int
	met     []uint16 // the server's errors
	story   strings.Builder
	attempt

	// What is there even if nothing more is committed: "", unless DDL has committed
	// something. Several texts if nobody knows.
	committed []string
}

// attempt is one transaction on the server. Only Run makes several for an entry.
type attempt struct {
	ctx      context.Context
	tx       *sql.Tx
	firstRow int
	rows     []int // that it has written and not taken back
	kept     int   // how many of them a savepoint keeps; -1: there is none
	depth    int   // of Runs in it
	failed   bool  // a statement or a call has
	refused  bool  // it must not be committed
	ddl      bool  // has committed it
}

func (e *entry) begin(ctx context.Context, tx *sql.Tx) {
	e.attempt = attempt{ctx: ctx, tx: tx, firstRow: e.lastRow + 1, kept: -1}
}

// work runs the statements of the transaction. It returns some of the errors that it meets.
func (e *entry) work() error {
	e.tell(e.write())
	for range e.random.IntN(8) {
		if err := e.step(); err != nil {
			return err
		}
	}
	return nil
}

// endTx ends a transaction of BeginTx.
func (e *entry) endTx(err error) ending {
	if err != nil {
		_ = e.tx.Rollback()
		return rolledBack
	}
	if e.random.IntN(10) == 0 {
		if err := e.tx.Rollback(); err == nil || !e.refused {
			return rolledBack
		}
	}
	err = e.tx.Commit()
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

// allowed returns the rows that are allowed to be there after the end.
func (e *entry) allowed(end ending) []string {
	switch end {
	case acknowledged:
		return e.with(e.rows)
	case unanswered:
		return append(e.with(e.rows), e.committed...)
	}
	return e.committed
}

// with returns what is there if these rows are committed too.
func (e *entry) with(rows []int) (all []string) {
	for _, there := range e.committed {
		all = append(all, strings.Trim(there+","+join(rows), ","))
	}
	return all
}

// step runs a random statement. If it fails, step returns the error or swallows it.
func (e *entry) step() error {
	var what string
	var err error
	switch n := e.random.IntN(100); {
	case e.kind == byRun && n < 15:
		return e.call()
	case n < 35:
		what, err = e.write()
	case n < 70:
		id := 1 + e.random.IntN(hotRows)
		if e.random.IntN(400) == 0 {
			id = 0
		}
		how := e.random.IntN(len(touches))
		what, err = fmt.Sprintf("touch %d by %s", id, touches[how].name), touches[how].do(e, id)
	case n < 80:
		what, err = e.read()
	case n < 88:
		what = mistakes[e.random.IntN(len(mistakes))]
		_, err = e.tx.ExecContext(e.ctx, what)
	case n < 96 || e.kept < 0:
		what = fmt.Sprintf("SAVEPOINT s%d", e.depth)
		if _, err = e.tx.ExecContext(e.ctx, what); err == nil {
			e.kept = len(e.rows)
		}
	default:
		what = fmt.Sprintf("ROLLBACK TO s%d", e.depth)
		if _, err = e.tx.ExecContext(e.ctx, what); err != nil {
			e.tell(what, err)
			if e.refused {
				return nil
			}
			return err // nobody knows what is left
		}
		e.rows = e.rows[:e.kept]
	}
	e.tell(what, err)
	return e.swallow(err)
}

// swallow returns nil instead of most errors.
func (e *entry) swallow(err error) error {
	if e.random.IntN(5) > 0 {
		return nil
	}
	return err
}

// tell notes how a statement has ended. It checks a refusal.
func (e *entry) tell(what string, err error) {
	before := e.refused
	e.note(what, err)
	if !errors.Is(err, mysqlinit.ErrTransactionLost) || e.ddl {
		return
	}
	if !before && e.open() {
		e.fail("a transaction was refused that the server has not ended")
	}
	// Rarely, KILL QUERY hides the deadlock whose victim the transaction has become.
	serverErr, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok || !slices.Contains([]uint16{1213, 1205, 1317}, serverErr.Number) || serverErr.Number == 1205 && !e.timeoutIsLoss {
		e.fail("a transaction was refused for a reason that is none")
	}
}

// note notes how a statement or a call has ended.
func (e *entry) note(what string, err error) {
	fmt.Fprintf(&e.story, "\n\t%s: %v", what, err)
	if err == nil {
		return
	}
	e.failed = true
	if errors.Is(err, mysqlinit.ErrTransactionLost) {
		e.refused = true
	} else if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		e.met = append(e.met, serverErr.Number)
	}
}

// open reports whether the server still has the transaction open: it then has a lock on
// each row that it has written.
func (e *entry) open() bool {
	if len(e.rows) == 0 {
		return false
	}
	// Not with Exec: on MariaDB the MySQL driver hangs in that of a prepared SELECT without rows.
	err := e.admins[0].QueryRowContext(context.WithoutCancel(e.ctx), "SELECT COUNT(*) FROM journal WHERE tx = ? AND n = ? FOR UPDATE", e.number, e.rows[0]).Scan(new(int))
	serverErr, ok := errors.AsType[*mysql.MySQLError](err)
	if err != nil && (!ok || serverErr.Number != 1205) {
		e.Error(err)
	}
	return err != nil
}

func (e *entry) fail(why string) {
	e.wrong.Add(1)
	e.Errorf("-seed=%d: %s, transaction %d of %s: %s:%s", *seed, e.name, e.number, e.kind, why, e.story.String())
}

// write inserts a row.
func (e *entry) write() (what string, err error) {
	e.lastRow++
	n := e.lastRow
	switch e.random.IntN(4) {
	case 0:
		_, err = e.tx.ExecContext(e.ctx, fmt.Sprintf("INSERT INTO journal VALUES (%d, %d)", e.number, n))
	case 1:
		_, err = e.tx.ExecContext(e.ctx, "INSERT INTO journal VALUES (?, ?)", e.number, n)
	case 2:
		_, err = e.tx.StmtContext(e.ctx, e.insert).ExecContext(e.ctx, e.number, n)
	case 3:
		var stmt *sql.Stmt
		if stmt, err = e.tx.PrepareContext(e.ctx, "INSERT INTO journal VALUES (?, ?)"); err == nil {
			_, err = stmt.ExecContext(e.ctx, e.number, n)
			_ = stmt.Close()
		}
	}
	if err == nil {
		e.rows = append(e.rows, n)
	}
	return fmt.Sprintf("INSERT %d", n), err
}

// read reads the transaction's own rows. If it succeeds, they must all be there. Without
// the guard they can be lost after an error.
func (e *entry) read() (what string, err error) {
	var n int
	if err = e.tx.QueryRowContext(e.ctx, "SELECT COUNT(*) FROM journal WHERE tx = ? AND n >= ?", e.number, e.firstRow).Scan(&n); err == nil && n != len(e.rows) && (e.guarded || !e.failed) {
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
		_, err := e.tx.ExecContext(e.ctx, fmt.Sprintf("UPDATE hot SET n = n + 1 WHERE id = %d", id))
		return err
	}},
	{"Exec with an argument", func(e *entry, id int) error {
		_, err := e.tx.ExecContext(e.ctx, "UPDATE hot SET n = n + 1 WHERE id = ?", id)
		return err
	}},
	{"Query", func(e *entry, id int) error {
		return e.tx.QueryRowContext(e.ctx, fmt.Sprintf("SELECT n FROM hot WHERE id = %d FOR UPDATE", id)).Scan(new(int))
	}},
	{"prepared Query", func(e *entry, id int) error {
		return e.tx.QueryRowContext(e.ctx, "SELECT n FROM hot WHERE id = ? FOR UPDATE", id).Scan(new(int))
	}},
	{"function", func(e *entry, id int) error {
		return e.tx.QueryRowContext(e.ctx, "SELECT touch(?)", id).Scan(new(int))
	}},
	{"batch", func(e *entry, id int) error {
		_, err := e.tx.ExecContext(e.ctx, fmt.Sprintf("SELECT 1; UPDATE hot SET n = n + 1 WHERE id = %d; DO 1", id))
		return err
	}},
	{"next result set", func(e *entry, id int) error {
		rows, err := e.tx.QueryContext(e.ctx, fmt.Sprintf("SELECT 1; SELECT n FROM hot WHERE id = %d FOR UPDATE", id))
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
		rows, err := e.tx.QueryContext(e.ctx, fmt.Sprintf("SELECT 1; SELECT n FROM hot WHERE id = %d FOR UPDATE", id))
		if err != nil {
			return err
		}
		return rows.Close()
	}},
}

// check compares the table with what the transactions must have left there.
func (j *journal) check() {
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
	ends := map[kind]map[ending]int64{byBeginTx: {}, byRun: {}}
	for number, o := range j.written {
		ends[o.kind][o.end]++
		got := join(there[number])
		delete(there, number)
		if slices.Contains(o.allowed, got) {
			continue
		}
		figures.halves.Add(1)
		if j.wrong.Add(1) < 10 {
			j.Errorf("-seed=%d: %s, transaction %d of %s, %s: %q is there, want one of %q:%s", *seed, j.name, number, o.kind, o.end, got, o.allowed, o.story)
		}
	}
	if len(there) > 0 {
		j.Errorf("rows of transactions that never began: %v", slices.Collect(maps.Keys(there)))
	}
	figures.transactions.Add(j.count[byBeginTx])
	figures.refused.Add(ends[byBeginTx][refused])
	figures.runs.Add(j.count[byRun])
	figures.retries.Add(j.retries.Load())
	figures.ambiguous.Add(ends[byRun][unanswered])
	j.Logf("%s: %v, %d retries, errors met: %v, %v", j.name, ends, j.retries.Load(), j.met, j.did)
	j.wantCreators()
	j.wantEnough(ends)
}

// wantEnough checks that enough has happened for the result to prove something.
func (j *journal) wantEnough(ends map[kind]map[ending]int64) {
	if j.wrong.Load() > 0 {
		return
	}
	few := func(count, enough int64, happened int64, what any) {
		if happened == 0 && count >= enough {
			j.Errorf("%s: too few transactions to prove anything: no %v", j.name, what)
		}
	}
	for k, ends := range ends {
		for _, end := range []ending{acknowledged, refused, rolledBack, unanswered} {
			few(j.count[k], 1000, ends[end], fmt.Sprintf("transaction of %s was %s", k, end))
		}
	}
	both := j.count[byBeginTx] + j.count[byRun]
	for number, enough := range map[uint16]int64{1062: 1000, 1213: 1000, 1317: 1000, 1205: 10000} {
		few(both, enough, int64(j.met[number]), fmt.Sprintf("error %d", number))
	}
	for _, fault := range networkFaults {
		few(both, 20000, int64(j.did[fault.name]), fault.name)
	}
	few(j.count[byRun], 1000, j.retries.Load(), "retry")
}

func join(rows []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(rows), " ", ","), "[]")
}
