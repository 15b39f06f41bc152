package mysqlinit

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/mysqlinit/mysqlinit/internal/session"
)

// troubledConn is a connection of the driver's whose calls fail as told.
type troubledConn struct {
	connMethods
	begin, end, exec, reset error
	sent                    []string
	bounded                 bool // the last statement's context had a deadline
}

func (c *troubledConn) IsValid() bool                      { return true }
func (c *troubledConn) ResetSession(context.Context) error { return c.reset }
func (c *troubledConn) ExecContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	c.sent = append(c.sent, query)
	_, c.bounded = ctx.Deadline()
	return nil, c.exec
}
func (c *troubledConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	return troubledTx{c}, c.begin
}

type troubledTx struct{ conn *troubledConn }

func (t troubledTx) Commit() error   { return t.conn.end }
func (t troubledTx) Rollback() error { return t.conn.end }

func guardOf(t *testing.T, conn *troubledConn, dsn string, opts ...Option) *guardedConn {
	t.Helper()
	s := testConnector(t, dsn, append(opts, WithGuard(true))...)
	// Prepare the connection, because the guard needs the form of the SET.
	sent, exec := conn.sent, conn.exec
	conn.exec = nil
	form, failure := s.session.Prepare(t.Context(), conn, new(session.Progress))
	if failure != nil {
		t.Fatal(failure.Err)
	}
	conn.sent, conn.exec, conn.bounded = sent, exec, false
	return s.guard.wrap(conn, form)
}

var serializable = driver.TxOptions{Isolation: driver.IsolationLevel(sql.LevelSerializable)}

// The driver sets the next transaction's level before it begins that.
func TestGuardRestoresAfterABeginThatFailed(t *testing.T) {
	conn := &troubledConn{begin: errors.New("not now")}
	g := guardOf(t, conn, "/")
	if _, err := g.BeginTx(t.Context(), driver.TxOptions{}); err != conn.begin || g.changed {
		t.Errorf("without a level: %v, changed %v", err, g.changed)
	}
	if _, err := g.BeginTx(t.Context(), serializable); err != conn.begin {
		t.Error(err)
	}
	if err := g.ResetSession(t.Context()); err != nil || len(conn.sent) != 1 || !strings.Contains(conn.sent[0], "'READ-COMMITTED'") || !conn.bounded {
		t.Errorf("%v, sent %q, bounded %v", err, conn.sent, conn.bounded)
	}
	// If the level is the server's, nothing restores it.
	g = guardOf(t, conn, "/?isolation=server")
	_, _ = g.BeginTx(t.Context(), serializable)
	if g.IsValid() {
		t.Error("the connection counts as valid")
	}
}

func TestGuardClosesAfterATransactionThatMayNotHaveEnded(t *testing.T) {
	for name, end := range map[string]func(driver.Tx) error{"Commit": driver.Tx.Commit, "Rollback": driver.Tx.Rollback} {
		for _, fails := range []error{nil, errors.New("lost")} {
			g := guardOf(t, &troubledConn{end: fails}, "/")
			tx, err := g.BeginTx(t.Context(), serializable)
			if err != nil {
				t.Fatal(err)
			}
			if g.IsValid() {
				t.Error("a connection with an open transaction counts as valid")
			}
			if err := end(tx); err != fails {
				t.Errorf("%s: %v", name, err)
			}
			if g.IsValid() != (fails == nil) {
				t.Errorf("%s that returned %v: valid %v", name, fails, g.IsValid())
			}
			if err := end(tx); err != sql.ErrTxDone {
				t.Errorf("%s again: %v", name, err)
			}
		}
	}
}

func TestGuardsResetSessionReturnsOnlyErrBadConn(t *testing.T) {
	if err := guardOf(t, &troubledConn{reset: errors.New("a wrapper's own")}, "/").ResetSession(t.Context()); err != driver.ErrBadConn {
		t.Errorf("got %v", err)
	}
	for _, cancelled := range []bool{false, true} {
		var log strings.Builder
		conn := &troubledConn{exec: errors.New("no")}
		g := guardOf(t, conn, "/", WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		g.changed = true
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if cancelled {
			cancel()
		}
		if err := g.ResetSession(ctx); err != driver.ErrBadConn || g.IsValid() {
			t.Errorf("got %v, valid %v", err, g.IsValid())
		}
		if logged := strings.Contains(log.String(), "level=WARN"); logged == cancelled {
			t.Errorf("the caller's context ended: %v; logged %q", cancelled, &log)
		}
		// A wrapper without IsValid has put the connection back.
		conn.exec = nil
		if err := g.ResetSession(t.Context()); err != driver.ErrBadConn {
			t.Errorf("the second time: %v", err)
		}
	}
}

func TestSETIsRepeatable(t *testing.T) {
	for query, want := range map[string]bool{
		"":                                    true,
		"time_zone='UTC'":                     true,
		"tx_isolation=DEFAULT":                false,
		"sql_mode=CONCAT(@@sql_mode,',ANSI')": false,
		"sql_mode=@@sql_mode":                 false,
		"autocommit=1":                        true,
		"autocommit=0":                        false,
		"time_zone=DEFAULT":                   false,
		"sql_mode=''":                         true,
		"default_storage_engine=''":           false,
		"optimizer_switch='mrr=on'":           false,
		"wait_timeout=60":                     true,
		"@x='a'||'b'":                         false,
		"@x='a\\b'":                           false,
		`@x="a"`:                              false,
		"@x=CURRENT_TIMESTAMP":                false,
		"@x=utc_date":                         false,
		"tx_isolation=@@GLOBAL.tx_isolation":  false,
		"initCommand=DO+1":                    true,
		"initCommand=SET+@x=1":                true,
		"initCommand=SET+SESSION+TRANSACTION+ISOLATION+LEVEL+SERIALIZABLE": false,
		"initCommand=SET+binlog_format='MIXED'":                            false,
		"initCommand=SET+TIME_ZONE='SYSTEM'":                               true,
		"initCommand=SET+TIME_ZONE='SYSTEM'&time_zone='UTC'":               false,
		"initCommand=SET+sql_select_limit=9&time_zone='UTC'":               false,
		"initCommand=SET+@a=1,+@b:=2&time_zone='UTC'":                      true,
		"initCommand=SET+@a=1&@b=2":                                        false,
		"initCommand=DO+1&time_zone='UTC'":                                 true,
		"initCommand=CALL+prepare_session()":                               false,
	} {
		if got := testConnector(t, "/?guard=true&"+query).guard.repeatable; got != want {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
}

// BenchmarkGuard is what the guard adds to one checkout and one query, apart from
// any server: to be compared with the time of a round trip.
func BenchmarkGuard(b *testing.B) {
	bare := &quietConn{}
	for name, conn := range map[string]connMethods{
		"bare":  bare,
		"guard": testConnector(b, "/?multiStatements=true&guard=true").guard.wrap(bare, session.Form{}),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = conn.ResetSession(context.Background())
				_, _ = conn.QueryContext(context.Background(), "SELECT id, name, price FROM products WHERE id = ? AND shop = ?", nil)
				_ = conn.IsValid()
			}
		})
	}
}

// quietConn does nothing.
type quietConn struct{ connMethods }

func (*quietConn) IsValid() bool                      { return true }
func (*quietConn) ResetSession(context.Context) error { return nil }
func (*quietConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return nil, nil
}
