package faults

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

var (
	checkouts = flag.Int64("checkouts", 5000, "how many checkouts of random interleavings to look at")
	seed      = flag.Uint64("seed", rand.Uint64(), "of the random interleavings, as far as the scheduler repeats them")
)

// visitors is how many use the pools at once.
const visitors = 12

// TestRandomInterleavings has pools at work while connections are killed, cancelled and
// cut, servers of two dialects take turns and are killed, and the pools change their
// sizes. Whoever gets a connection looks at its session first.
func TestRandomInterleavings(t *testing.T) {
	t.Logf("-seed=%d", *seed)
	w := newWorld(t)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Minute)
	defer stop()
	var visiting, disturbing sync.WaitGroup
	for n := range visitors {
		visiting.Go(func() {
			random := rand.New(rand.NewPCG(*seed, uint64(n)))
			for w.looked.Load() < *checkouts && w.wrong.Load() == 0 && ctx.Err() == nil {
				pool := w.pools[random.IntN(len(w.pools))]
				if !pool.visit(ctx, random) {
					time.Sleep(time.Millisecond) // the server may be down
				}
			}
		})
	}
	disturbed, enough := context.WithCancel(ctx)
	disturbing.Go(func() { w.disturb(disturbed, rand.New(rand.NewPCG(*seed, visitors))) })
	visiting.Wait()
	enough()
	disturbing.Wait()
	if ctx.Err() != nil {
		t.Errorf("%d checkouts of %d in 20 minutes", w.looked.Load(), *checkouts)
	}
	t.Logf("%d checkouts, %d that failed, %v", w.looked.Load(), w.failed.Load(), w.did)
	for _, disturbance := range disturbances {
		if w.did[disturbance.name] == 0 && *checkouts >= 1000 {
			t.Errorf("too few to mean anything: no %s", disturbance.name)
		}
	}
	for _, pool := range w.pools {
		_ = pool.db.Close()
	}
	for _, admin := range w.admins {
		wantNoThreads(t, admin)
	}
}

// world is all that the interleavings are made of.
type world struct {
	*testing.T
	*proxy
	servers []*testserver.Server
	admins  []*sql.DB // of the servers, not through the proxy
	pools   []*pool

	looked, failed, wrong atomic.Int64
	did                   map[string]int // how often there was each disturbance

	mu      sync.Mutex
	history map[string][]string // what was last done on a connection
}

// pool is one whose sessions are promised.
type pool struct {
	*world
	name     string
	db       *sql.DB
	promised string
	changes  bool // its users change sessions, which a guard restores
}

func newWorld(t *testing.T) *world {
	wantNoGoroutines(t) // servers that are restarted have other ones
	w := &world{T: t, did: map[string]int{}, history: map[string][]string{}}
	for _, mysql := range []bool{false, true} {
		s := testserver.New(t, testserver.Config{MySQL: mysql, Binlog: "MIXED"})
		admin := openDB(t, s.DSN(testserver.Root, ""))
		admin.SetMaxOpenConns(1)
		exec(t, admin,
			"CREATE USER faulty", "GRANT ALL ON *.* TO faulty", "CREATE USER faultyapp", "GRANT ALL ON test.* TO faultyapp",
			"CREATE TABLE written (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(60)) ENGINE=InnoDB")
		w.servers, w.admins = append(w.servers, s), append(w.admins, admin)
	}
	w.proxy = newProxy(t, w.servers[0].Addr)
	w.set(nil)
	for _, p := range []*pool{
		{name: "faulty", promised: "READ-COMMITTED, ROW, +03:00, ON, test, 1"},
		{name: "faultyapp", promised: "READ-COMMITTED, MIXED, +03:00, ON, test, 1"},
		{name: "guard", promised: "READ-COMMITTED, ROW, +03:00, ON, test, 1", changes: true},
	} {
		account, more := p.name, ""
		if p.changes {
			account, more = "faulty", "&guard=true"
		}
		p.world, p.db = w, openDB(t, account+"@tcp("+w.addr+")/test?"+params+more)
		p.db.SetMaxOpenConns(visitors / 2)
		w.pools = append(w.pools, p)
	}
	return w
}

// visit takes a connection, looks at its session and uses it. It tells whether that
// succeeded.
func (p *pool) visit(ctx context.Context, random *rand.Rand) bool {
	// A minute is for a test that hangs. Some callers leave, at whatever moment.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	caller := ctx
	if random.IntN(5) == 0 {
		var leave context.CancelFunc
		caller, leave = context.WithTimeout(ctx, time.Duration(random.IntN(3000))*time.Microsecond)
		defer leave()
	}
	conn, err := p.db.Conn(caller)
	if err != nil {
		if errors.Is(err, driver.ErrBadConn) {
			p.Errorf("%s: %v", p.name, err)
		}
		p.failed.Add(1)
		return false
	}
	defer func() { _ = conn.Close() }()
	id, session, err := lookAt(ctx, conn)
	if err != nil { // killed
		p.failed.Add(1)
		return false
	}
	p.looked.Add(1)
	figures.checkouts.Add(1)
	key := p.name + " " + id
	if session != p.promised {
		figures.unprepared.Add(1)
		p.wrong.Add(1)
		p.mu.Lock()
		p.Errorf("-seed=%d: connection %s was handed out with %s, promised %s; on it before:\n%s", *seed, key, session, p.promised, strings.Join(p.history[key], "\n"))
		p.mu.Unlock()
	}
	p.use(caller, conn, random, func(did string, err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		h := append(p.history[key], fmt.Sprintf("%s: %v", did, err))
		p.history[key] = h[max(0, len(h)-10):]
	})
	return true
}

// lookAt reads what is promised, whatever the server's dialect.
func lookAt(ctx context.Context, conn *sql.Conn) (id, session string, err error) {
	rows, err := conn.QueryContext(ctx, "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation', 'binlog_format', 'time_zone', 'autocommit')")
	if err != nil {
		return "", "", err
	}
	defer func() { _ = rows.Close() }()
	values := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return "", "", err
		}
		values[strings.Replace(name, "tx_", "transaction_", 1)] = value
	}
	if err := rows.Err(); err != nil {
		return "", "", err
	}
	var database, traced sql.NullString
	err = conn.QueryRowContext(ctx, "SELECT CONNECTION_ID(), DATABASE(), @traced").Scan(&id, &database, &traced)
	return id, strings.Join([]string{values["transaction_isolation"], values["binlog_format"], values["time_zone"], values["autocommit"], database.String, traced.String}, ", "), err
}

// changes are what users do to sessions. A guard restores them or closes the connection.
var changes = []string{
	"SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
	"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
	"SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
	"SET @@SESSION.binlog_format = 'STATEMENT'",
	"SET binlog_format = MIXED, time_zone = '+00:00'",
	"SET @a = 1, SESSION time_zone = SYSTEM",
	"/* a comment */ SET LOCAL time_zone = '+05:00'",
	"SET autocommit = 0",
	"SET NAMES latin1",
	"USE information_schema",
	"BEGIN",
	"START TRANSACTION READ ONLY",
	"PREPARE p FROM 'SET time_zone = ''+01:00'''",
	"EXECUTE IMMEDIATE 'SET time_zone = ''+02:00'''", // MariaDB's
}

// use does something with a connection, or several things.
func (p *pool) use(ctx context.Context, conn *sql.Conn, random *rand.Rand, did func(string, error)) {
	for range random.IntN(3) {
		statement := "SELECT COUNT(*) FROM written"
		if p.changes && random.IntN(2) == 0 {
			statement = changes[random.IntN(len(changes))]
		}
		switch random.IntN(4) {
		case 0:
			_, err := conn.ExecContext(ctx, statement)
			did("Exec "+statement, err)
		case 1:
			rows, err := conn.QueryContext(ctx, statement)
			if err == nil {
				err = rows.Close()
			}
			did("Query "+statement, err)
		case 2:
			stmt, err := conn.PrepareContext(ctx, statement)
			if err == nil {
				_, err = stmt.ExecContext(ctx)
				if random.IntN(2) == 0 {
					err = errors.Join(err, stmt.Close())
				}
			}
			did("prepared "+statement, err)
		case 3:
			did("transaction "+statement, transaction(ctx, conn, statement, random))
		}
	}
}

func transaction(ctx context.Context, conn *sql.Conn, statement string, random *rand.Rand) error {
	levels := []sql.IsolationLevel{sql.LevelDefault, sql.LevelDefault, sql.LevelSerializable}
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: levels[random.IntN(len(levels))]})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, s := range []string{"INSERT INTO written (name) VALUES ('a')", statement} {
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	if random.IntN(2) == 0 {
		return nil
	}
	return tx.Commit()
}

// disturbances, and how often there is one of each kind, in relation to the others.
var disturbances = []struct {
	name  string
	often int
	do    func(ctx context.Context, w *world, random *rand.Rand) error
}{
	{"KILL CONNECTION", 30, func(ctx context.Context, w *world, random *rand.Rand) error { return w.kill(ctx, random, "CONNECTION") }},
	{"KILL QUERY", 30, func(ctx context.Context, w *world, random *rand.Rand) error { return w.kill(ctx, random, "QUERY") }},
	{"resize", 20, func(_ context.Context, w *world, random *rand.Rand) error {
		db := w.pools[random.IntN(len(w.pools))].db
		db.SetMaxOpenConns(1 + random.IntN(visitors))
		db.SetMaxIdleConns(random.IntN(visitors))
		db.SetConnMaxLifetime(time.Duration(random.IntN(200)) * time.Millisecond)
		return nil
	}},
	{"failover", 8, func(_ context.Context, w *world, random *rand.Rand) error {
		w.to(w.servers[random.IntN(len(w.servers))].Addr)
		return nil
	}},
	{"cut", 4, func(_ context.Context, w *world, _ *rand.Rand) error { w.cutAll(); return nil }},
	{"server killed", 1, func(ctx context.Context, w *world, random *rand.Rand) error {
		return w.servers[random.IntN(len(w.servers))].Restart(context.WithoutCancel(ctx))
	}},
}

// disturb does what disturbs, each once and then at random, until ctx ends. All servers
// are up then.
func (w *world) disturb(ctx context.Context, random *rand.Rand) {
	next := random.Perm(len(disturbances))
	var often []int // each index as often as its disturbance
	for i, d := range disturbances {
		often = append(often, slices.Repeat([]int{i}, d.often)...)
	}
	for ctx.Err() == nil {
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		if len(next) == 0 {
			next = append(next, often[random.IntN(len(often))])
		}
		d := disturbances[next[0]]
		next = next[1:]
		if err := d.do(ctx, w, random); err != nil && ctx.Err() == nil {
			w.Errorf("%s: %v", d.name, err)
		}
		w.did[d.name]++
	}
}

// kill ends a random thread of a random server, or its query.
func (w *world) kill(ctx context.Context, random *rand.Rand, what string) error {
	admin := w.admins[random.IntN(len(w.admins))]
	var id string
	err := admin.QueryRowContext(ctx, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER LIKE 'faulty%' ORDER BY RAND() LIMIT 1").Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = admin.ExecContext(ctx, "KILL "+what+" "+id)
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == 1094 { // it has ended by itself
		return nil
	}
	return err
}
