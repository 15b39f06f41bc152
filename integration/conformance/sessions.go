package conformance

import (
	"fmt"
	"sync"
	"testing"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// account is an account of the target.
type account struct {
	dsn     string
	canSet  bool   // it is allowed to set binlog_format
	refused uint16 // otherwise, the server's error
}

// accountOf finds out whether the account is allowed to set binlog_format.
func (s *suite) accountOf(t *testing.T, dsn string) account {
	t.Helper()
	if s.facts.Format == "" {
		return account{dsn: dsn}
	}
	_, err := openPlain(t, dsn).ExecContext(t.Context(), "SET SESSION binlog_format = 'ROW'")
	if err != nil && number(err) == 0 {
		t.Fatal(err)
	}
	return account{dsn: dsn, canSet: err == nil, refused: number(err)}
}

// wantBare checks what a session of the DSN gets under that global format. The parameters
// must not change what a bare DSN gets. It returns a cell.
func (s *suite) wantBare(t *testing.T, a account, params, global string) string {
	t.Helper()
	db := open(t, a.dsn, params)
	switch {
	case a.canSet:
		s.wantSession(t, db, "READ-COMMITTED", "ROW")
		return "ROW"
	case global == "STATEMENT" && s.facts.statementRefused():
		wantInitError(t, db.PingContext(t.Context()), a.refused, "1665")
		return "InitError: STATEMENT"
	default:
		s.wantSession(t, db, "READ-COMMITTED", global)
		return global
	}
}

func (s *suite) bareRoot(t *testing.T) string {
	return s.wantBare(t, s.accountOf(t, s.Root), "", s.facts.Format)
}

func (s *suite) bareApp(t *testing.T) string {
	if s.App == "" {
		return notHere
	}
	a := s.accountOf(t, s.App)
	cell := s.wantBare(t, a, "", s.facts.Format)
	if a.refused != 0 {
		cell += fmt.Sprintf(" (%d)", a.refused)
	}
	return cell
}

// manyConnections opens many connections at once and checks that each is prepared.
func (s *suite) manyConnections(t *testing.T) string {
	const connections = 20
	db := open(t, s.Root, "")
	var all sync.WaitGroup
	held := make(chan struct{})
	var holding sync.WaitGroup
	holding.Add(connections)
	for range connections {
		all.Go(func() {
			conn, err := db.Conn(t.Context())
			holding.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			wantValue(t, conn, s.level(), "READ-COMMITTED")
			<-held
		})
	}
	holding.Wait()
	close(held)
	all.Wait()
	return "all prepared"
}

// dialects checks that each isolation level can be set under either name of its variable.
func (s *suite) dialects(t *testing.T) string {
	levels := map[string]string{"READ-UNCOMMITTED": "read-uncommitted", "READ-COMMITTED": "read-committed", "REPEATABLE-READ": "repeatable-read", "SERIALIZABLE": "serializable"}
	spellings := 0
	for level, value := range levels {
		for _, params := range []string{"isolation=" + value, "tx_isolation='" + level + "'", "transaction_isolation='" + level + "'"} {
			s.wantSession(t, open(t, s.Root, params), level, "")
			spellings++
		}
	}
	serverLevel, err := read(t.Context(), openPlain(t, s.Root), s.level())
	if err != nil {
		t.Fatal(err)
	}
	s.wantSession(t, open(t, s.Root, "isolation=server&binlog=server"), serverLevel, s.facts.Format)
	s.wantSession(t, open(t, s.Root, "binlog=server"), "READ-COMMITTED", s.facts.Format)
	s.wantSession(t, open(t, s.Root, "time_zone=%27%2B03:00%27"), "READ-COMMITTED", "")
	wantValue(t, open(t, s.Root, "time_zone=%27%2B03:00%27"), "@@time_zone", "+03:00")
	return fmt.Sprintf("%d spellings", spellings)
}

// serializable writes at SERIALIZABLE, which multi-primary Group Replication refuses.
func (s *suite) serializable(t *testing.T) string {
	name := table(t, openPlain(t, s.Root), "serializable", "id INT PRIMARY KEY")
	_, err := open(t, s.Root, "isolation=serializable").ExecContext(t.Context(), "INSERT INTO "+name+" VALUES (1)")
	if err != nil && number(err) == 0 {
		t.Error(err)
	}
	wantFact(t, s, "a write at SERIALIZABLE", number(err), func(f Facts) uint16 { return f.Serializable })
	return cellNumber(number(err))
}

// initCommands checks that init commands run in order on each connection, and the error if
// one fails.
func (s *suite) initCommands(t *testing.T) string {
	db := open(t, s.Root, "initCommand=SET+@mysqlinit=1&initCommand=SET+@mysqlinit=@mysqlinit*10%2B2")
	for range 3 {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		wantValue(t, conn, "@mysqlinit", "12")
		wantValue(t, conn, s.level(), "READ-COMMITTED")
	}
	err := open(t, s.Root, "initCommand=SET+no_such_variable=1").PingContext(t.Context())
	wantInitError(t, err, errUnknownVariable, "init command 1")
	// Servers that do not know the variable skip the comment.
	if err := open(t, s.Root, "initCommand=%2F*M!+SET+SESSION+wsrep_sync_wait%3D7+*%2F").PingContext(t.Context()); err != nil {
		t.Error(err)
	}
	return "ok"
}

// verify checks that verify=true accepts correct sessions and finds wrong ones.
func (s *suite) verify(t *testing.T) string {
	for _, params := range []string{"verify=true", "verify=true&isolation=serializable", "verify=true&initCommand=SET+SESSION+TRANSACTION+ISOLATION+LEVEL+SERIALIZABLE"} {
		if err := open(t, s.Root, params).PingContext(t.Context()); err != nil {
			t.Errorf("%s: %v", params, err)
		}
	}
	// The driver does not look into a prepared statement.
	drift := "initCommand=PREPARE+drift+FROM+%27SET+SESSION+TRANSACTION+ISOLATION+LEVEL+SERIALIZABLE%27&initCommand=EXECUTE+drift"
	err := open(t, s.Root, "verify=true&"+drift).PingContext(t.Context())
	wantInitError(t, err, 0, "SERIALIZABLE instead of READ-COMMITTED")
	return "finds drift"
}

// guard checks that a changed session doesn't reach the next user of the connection.
func (s *suite) guard(t *testing.T) string {
	db := open(t, s.Root, "guard=true&time_zone=%27%2B03:00%27")
	db.SetMaxOpenConns(1)
	changes := []string{"SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET " + s.level() + " = 'SERIALIZABLE'", "SET time_zone = '+04:00'", "SET autocommit = 0", "BEGIN"}
	if s.accountOf(t, s.Root).canSet && !s.facts.FormatIgnored {
		changes = append(changes, "SET SESSION binlog_format = 'MIXED'")
	}
	for _, change := range changes {
		testserver.Exec(t, db, change)
		for expr, want := range map[string]string{s.level(): "READ-COMMITTED", "@@time_zone": "+03:00", "@@autocommit": "1"} {
			if got, err := read(t.Context(), db, expr); err != nil || got != want {
				t.Errorf("after %s %s is %q, want %q; %v", change, expr, got, want, err)
			}
		}
	}
	return fmt.Sprintf("%d changes undone", len(changes))
}
