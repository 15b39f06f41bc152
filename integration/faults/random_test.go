package faults

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
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
	checkouts = flag.Int64("checkouts", 5000, "how many checkouts of random interleavings to check")
	seed      = flag.Uint64("seed", rand.Uint64(), "seed of the random interleavings; the scheduler can still change their order")
)

// visitors is how many goroutines use the pools at once.
const visitors = 12

// TestRandomInterleavings uses pools while connections are killed, cancelled and cut,
// while servers of two dialects replace each other, are killed and get other defaults, and
// while the pools change their sizes. Every visitor checks the session of its connection
// first, and in the end every pool must work on both servers.
func TestRandomInterleavings(t *testing.T) {
	t.Logf("-seed=%d", *seed)
	w := newWorld(t)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Minute)
	defer stop()
	var visiting, disturbing sync.WaitGroup
	for n := range visitors {
		visiting.Go(func() {
			random := rand.New(rand.NewPCG(*seed, uint64(n)))
			for (w.looked.Load() < *checkouts || !w.allHappened.Load()) && w.wrong.Load() == 0 && ctx.Err() == nil {
				pool := w.pools[random.IntN(len(w.pools))]
				if !pool.visit(ctx, random) {
					time.Sleep(time.Millisecond) // the server might be down
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
	w.wantPoolsWork()
	t.Logf("%d checkouts, %d that failed, %d transactions whose level was read, %v", w.looked.Load(), w.failed.Load(), w.levels.Load(), w.did)
	for _, disturbance := range disturbances {
		if w.did[disturbance.name] == 0 && *checkouts >= 1000 {
			t.Errorf("too few checkouts to prove anything: there was no %s", disturbance.name)
		}
	}
	if w.levels.Load() == 0 && *checkouts >= 1000 {
		t.Error("too few checkouts to prove anything: no transaction's level was read")
	}
	for _, pool := range w.pools {
		if pool.changes {
			_ = pool.prepared.Close()
		}
		_ = pool.db.Close()
	}
	for _, admin := range w.admins {
		wantNoThreads(t, admin)
	}
}

// world is everything that takes part in the interleavings.
type world struct {
	*testing.T
	*proxy.Proxy
	servers []*testserver.Server
	admins  []*sql.DB // pools to the servers that bypass the proxy
	pools   []*pool

	looked, failed, wrong, levels atomic.Int64
	did                           map[string]int // how often each disturbance has happened
	allHappened                   atomic.Bool    // each has happened at least once
	readingLevel                  sync.Mutex

	mu      sync.Mutex
	history map[string][]string // the last actions on each connection
}

// pool is a pool whose sessions must be as promised.
type pool struct {
	*world
	name     string
	db       *sql.DB
	promised string
	app      bool      // its account is not allowed to set binlog_format
	changes  bool      // its users change sessions, and a guard restores them
	prepared *sql.Stmt // changes the session of any connection
}

func newWorld(t *testing.T) *world {
	wantNoGoroutines(t) // before the servers start, since a restart replaces their goroutines
	w := &world{T: t, did: map[string]int{}, history: map[string][]string{}}
	for _, mysql := range []bool{false, true} {
		s := testserver.New(t, testserver.Config{MySQL: mysql, Binlog: "MIXED", Args: []string{"--innodb-lock-wait-timeout=1", "--lock-wait-timeout=5"}})
		admin := openDB(t, s.DSN(testserver.Root, ""))
		admin.SetMaxOpenConns(1)
		testserver.Exec(t, admin,
			"CREATE USER faulty", "GRANT ALL ON *.* TO faulty", "CREATE USER faultyapp", "GRANT ALL ON test.* TO faultyapp",
			"CREATE TABLE written (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(60)) ENGINE=InnoDB",
			"CREATE PROCEDURE drift() SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
			"CREATE PROCEDURE opening() START TRANSACTION")
		w.servers, w.admins = append(w.servers, s), append(w.admins, admin)
	}
	w.Proxy = proxy.New(t, w.servers[0].Addr)
	w.Set(nil)
	lateDial(t)
	// The first init command takes long enough to be killed sometimes.
	params := "initCommand=DO+SLEEP(0.002)&" + params
	for _, p := range []*pool{
		{name: "root's", promised: "READ-COMMITTED, ROW, +03:00, ON, test, 1"},
		{name: "app's", app: true, promised: "READ-COMMITTED, MIXED, +03:00, ON, test, 1"},
		{name: "root's guarded", promised: "READ-COMMITTED, ROW, +03:00, ON, test, 1", changes: true},
		{name: "app's guarded", app: true, promised: "READ-COMMITTED, MIXED, +03:00, ON, test, 1", changes: true},
	} {
		login, more := "faulty@tcp", ""
		if p.app {
			login = "faultyapp@late"
		}
		if p.changes {
			more = "&guard=true&multiStatements=true"
		}
		connector, err := new(mysqlinit.Driver).OpenConnector(login + "(" + w.Addr + ")/test?" + params + more)
		if err != nil {
			t.Fatal(err)
		}
		p.world, p.db = w, sql.OpenDB(watched{connector, p})
		t.Cleanup(func() { _ = p.db.Close() })
		p.db.SetMaxOpenConns(visitors / 2)
		if p.changes {
			if p.prepared, err = p.db.Prepare("SET time_zone = ?"); err != nil {
				t.Fatal(err)
			}
		}
		w.pools = append(w.pools, p)
	}
	return w
}

// lateDial registers a network whose dialer sometimes ignores its context. Connect then
// returns before the dialer does.
func lateDial(t *testing.T) {
	var dials atomic.Int64
	mysql.RegisterDialContext("late", func(ctx context.Context, addr string) (net.Conn, error) {
		if dials.Add(1)%20 == 0 {
			time.Sleep(100 * time.Millisecond)
			ctx = context.WithoutCancel(ctx)
		}
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	})
	t.Cleanup(func() { mysql.DeregisterDialContext("late") })
}

// visit takes a connection, checks its session and uses it. It reports whether it got a
// connection that worked.
func (p *pool) visit(ctx context.Context, random *rand.Rand) bool {
	// The minute ends a test that hangs. Some callers leave at a random moment.
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	caller := ctx
	if random.IntN(5) == 0 {
		var leave context.CancelFunc
		caller, leave = context.WithTimeout(ctx, time.Duration(random.IntN(3000))*time.Microsecond)
		defer leave()
	}
	if p.changes && random.IntN(4) == 0 {
		_, _ = p.prepared.ExecContext(caller, "+09:00")
	}
	conn, err := p.db.Conn(caller)
	if err != nil {
		p.failed.Add(1)
		return false
	}
	defer func() { _ = conn.Close() }()
	level := ""
	if p.changes && !p.app && random.IntN(4) == 0 {
		level = p.transactionLevel(ctx, conn)
	}
	thread, session, open, err := lookAt(ctx, conn)
	if err != nil { // killed
		p.failed.Add(1)
		return false
	}
	p.looked.Add(1)
	figures.checkouts.Add(1)
	key := p.name + " " + thread
	if p.changes && open { // without the guard, a killed COMMIT can leave a transaction open
		session += ", in a transaction"
	}
	if level != "" && level != "READ COMMITTED" {
		session += ", the next transaction " + level
	}
	if session != p.promised {
		figures.unprepared.Add(1)
		p.wrong.Add(1)
		p.mu.Lock()
		p.Errorf("-seed=%d: connection %s was handed out with %s, promised %s; its last actions:\n%s", *seed, key, session, p.promised, strings.Join(p.history[key], "\n"))
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

// watched checks the errors of Connect. It can't check those of the pool: a full pool
// returns driver.ErrBadConn if it hands a caller three dead connections in a row.
type watched struct {
	driver.Connector
	*pool
}

func (w watched) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := w.Connector.Connect(ctx)
	if errors.Is(err, driver.ErrBadConn) || !w.explained(err) {
		w.wrong.Add(1)
		w.Errorf("-seed=%d: %s: %v", *seed, w.name, err)
	}
	return conn, err
}

// explained reports whether err is one that this test can cause: if a server refuses the
// preparation, a disturbance must be the reason.
func (p *pool) explained(err error) bool {
	initErr, unprepared := errors.AsType[*mysqlinit.InitError](err)
	answer, answered := errors.AsType[*mysql.MySQLError](err)
	if !unprepared || !answered || p.app && strings.Contains(initErr.Reason, "STATEMENT format") {
		return true
	}
	return slices.Contains([]uint16{1053, 1317, 1927}, answer.Number) // shutdown, KILL QUERY, KILL
}

// lookAt reads what is promised for a session, on a server of either dialect. It also
// returns a name for the connection, and whether a transaction is open.
func lookAt(ctx context.Context, conn *sql.Conn) (thread, session string, open bool, err error) {
	rows, err := conn.QueryContext(ctx, "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation', 'binlog_format', 'time_zone', 'autocommit')")
	if err != nil {
		return "", "", false, err
	}
	defer func() { _ = rows.Close() }()
	values := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return "", "", false, err
		}
		values[strings.Replace(name, "tx_", "transaction_", 1)] = value
	}
	if err := rows.Err(); err != nil {
		return "", "", false, err
	}
	var version string
	var database, traced sql.NullString
	// Only MariaDB can tell whether a transaction is open. To MySQL it is a comment.
	err = conn.QueryRowContext(ctx, "SELECT CONNECTION_ID(), VERSION(), DATABASE(), @traced, 0 /*M! + @@in_transaction */").Scan(&thread, &version, &database, &traced, &open)
	return thread + " of " + version, strings.Join([]string{values["transaction_isolation"], values["binlog_format"], values["time_zone"], values["autocommit"], database.String, traced.String}, ", "), open, err
}

// transactionLevel begins a transaction and reads its isolation level. No variable shows a
// level that was set for the next transaction only, and any statement uses it up. InnoDB
// renews the table with the level only if nobody has read it for 100 ms, so one visitor
// reads at a time. transactionLevel returns "" to the others, and if the transaction is
// killed.
func (p *pool) transactionLevel(ctx context.Context, conn *sql.Conn) (level string) {
	if !p.readingLevel.TryLock() {
		return ""
	}
	defer p.readingLevel.Unlock()
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return ""
	}
	defer func() { _ = tx.Rollback() }()
	err = tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT id FROM written LIMIT 1) one").Scan(new(int))
	for tries := 0; err == nil && level == "" && tries < 10; tries++ {
		time.Sleep(110 * time.Millisecond)
		err = tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(trx_isolation_level), '') FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()").Scan(&level)
	}
	if level != "" {
		p.levels.Add(1)
	}
	return level
}

// changes are statements that change sessions. The guard restores the session or closes
// the connection.
var changes = []string{
	"SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
	"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
	"SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
	"SET @@SESSION.binlog_format = 'STATEMENT'",
	"SET binlog_format = MIXED, time_zone = '+00:00'",
	"SET @a = 1, SESSION time_zone = SYSTEM",
	"/* a comment */ SET LOCAL time_zone = '+05:00'",
	"DO 1; SET time_zone = '+09:00'; SELECT nonsense",
	"SET autocommit = 0",
	"SET NAMES latin1",
	"USE information_schema",
	"BEGIN",
	"START TRANSACTION READ ONLY",
	"COMMIT AND CHAIN",
	"CALL drift()",
	"CALL opening()",
	"LOCK TABLES written READ",
	"SET completion_type = 1",
	"CREATE TEMPORARY TABLE IF NOT EXISTS scratch (id INT) ENGINE=InnoDB",
	"PREPARE p FROM 'SET time_zone = ''+01:00'''",
	"EXECUTE IMMEDIATE 'SET time_zone = ''+02:00'''", // MariaDB's
}

// use runs some statements on a connection. It calls did for each.
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

// transaction runs the statement in a transaction, after an INSERT.
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

// wantPoolsWork checks that every pool works on each server when nothing disturbs it.
func (w *world) wantPoolsWork() {
	for n := range 2 * len(w.servers) {
		i := n % len(w.servers)
		if err := w.setDefaults(w.Context(), w.admins[i], "REPEATABLE READ", "MIXED"); err != nil {
			w.Error(err)
		}
		w.To(w.servers[i].Addr)
		w.CutAll()
		for _, p := range w.pools {
			if err := p.awaitConnection(); err != nil {
				w.Errorf("-seed=%d: %s pool does not work again on %s: %v", *seed, p.name, w.servers[i].Addr, err)
			}
		}
	}
}

// awaitConnection waits until the pool hands out a connection, whose session must be as promised.
func (p *pool) awaitConnection() (err error) {
	for range 100 {
		var session string
		var conn *sql.Conn
		if conn, err = p.db.Conn(p.Context()); err == nil {
			_, session, _, err = lookAt(p.Context(), conn)
			_ = conn.Close()
		}
		if err == nil && session != p.promised {
			figures.unprepared.Add(1)
			return fmt.Errorf("handed out with %s, promised %s", session, p.promised)
		}
		if err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}
