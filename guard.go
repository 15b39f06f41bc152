package mysqlinit

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"log/slog"
	"strings"
)

// guardedConn notices what its statements may do to the session, and puts the
// session back in order before the next user has it. database/sql calls it from
// one goroutine at a time.
type guardedConn struct {
	connMethods
	session *session
	form    form // of the SET that prepared this connection

	tx       driver.Tx // of BeginTx, until it ends
	changed  bool      // by a statement, since the session was last in order
	prepared bool      // a statement that changes it, which may run at any time
	beyond   bool      // repair: never to be pooled again
	manual   bool      // autocommit is off, or may be
}

// What mysqltx sends around a transaction. After the second the session is what it
// was, so that a transaction does not cost the connection.
const (
	autocommitOff = "SET autocommit = 0"
	autocommitOn  = "SET autocommit = 1"
)

var _ interface {
	connMethods
	Unwrap() driver.Conn
} = (*guardedConn)(nil)

// Unwrap returns the connection below. The guard does not see what is sent there.
func (g *guardedConn) Unwrap() driver.Conn { return g.connMethods }

// notice notes what a query that is about to run may do; it may do so even
// where it fails, or where its answer is lost.
func (g *guardedConn) notice(query string) {
	if e := g.session.effectOf(query); e != 0 {
		if g.tx != nil {
			if e&opensOrHides != 0 {
				e |= setsIsolation // a procedure may
			}
			e &^= opensOrHides // the end of BeginTx's transaction ends what was opened
			e |= setsVariable  // and the SET restores what a procedure set
		}
		g.note(e, query, &g.changed)
	}
}

// noticePrepared notes what a query that is prepared may do whenever it runs,
// also when the transaction that it was prepared in has ended.
func (g *guardedConn) noticePrepared(query string) {
	if e := g.session.effectOf(query); e != 0 {
		g.note(e, query, &g.prepared)
	}
}

// effectOf tells what a query may do to this session.
func (s *session) effectOf(query string) effect {
	e := effectOf(query, s.multiStatements)
	if s.chains { // with completion_type each COMMIT and ROLLBACK may open a transaction
		if lower := strings.ToLower(query); strings.Contains(lower, "commit") || strings.Contains(lower, "rollback") {
			e |= opensOrHides
		}
	}
	return e
}

func (g *guardedConn) note(e effect, query string, restorable *bool) {
	if e&(opensOrHides|sticks) == 0 && g.session.restores(e, g.form) {
		*restorable = true
		return
	}
	if !g.beyond && g.session.logger.Enabled(context.Background(), slog.LevelDebug) {
		g.session.logger.Debug("mysqlinit: guard will close a connection: no SET restores its session after this statement", slog.String("statement", maskLiterals(query)))
	}
	g.beyond = true
}

// restores tells whether the SET restores what a statement has changed.
func (s *session) restores(e effect, f form) bool {
	return s.repeatable &&
		(e&setsIsolation == 0 || s.isolation != isolation{}) &&
		(e&setsBinlog == 0 || f.binlog == setBinlog || s.binlog.format != "")
}

// IsValid tells database/sql, when a connection comes back to the pool, whether
// it may stay.
func (g *guardedConn) IsValid() bool {
	return !g.beyond && !g.manual && g.tx == nil && g.connMethods.IsValid()
}

// ResetSession restores the session when a connection leaves the pool again.
// Its only error is driver.ErrBadConn: database/sql then takes another
// connection, and ignores all other errors.
func (g *guardedConn) ResetSession(ctx context.Context) error {
	if err := g.connMethods.ResetSession(ctx); err != nil || !g.IsValid() {
		return driver.ErrBadConn
	}
	if !g.changed && !g.prepared {
		return nil
	}
	bounded, cancel := g.session.bound(ctx)
	defer cancel()
	text := g.session.setText(g.form, g.session.restored)
	if err := exec(bounded, g.connMethods, text); err != nil {
		g.beyond = true
		if ctx.Err() == nil { // else the caller's own doing
			g.session.logger.Warn("mysqlinit: guard closes a connection: its session could not be restored", slog.Any("error", newInitError(text, "restoring the session failed", "", err)))
		}
		return driver.ErrBadConn
	}
	g.changed = false
	return nil
}

func (g *guardedConn) Exec(query string, args []driver.Value) (driver.Result, error) {
	g.notice(query)
	return g.connMethods.Exec(query, args)
}

func (g *guardedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if g.session.autocommits && (query == autocommitOff || query == autocommitOn) {
		g.manual = true
		result, err := g.connMethods.ExecContext(ctx, query, args)
		g.manual = err != nil || query == autocommitOff
		return result, err
	}
	g.notice(query)
	return g.connMethods.ExecContext(ctx, query, args)
}

func (g *guardedConn) Query(query string, args []driver.Value) (driver.Rows, error) {
	g.notice(query)
	return g.connMethods.Query(query, args)
}

func (g *guardedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	g.notice(query)
	return g.connMethods.QueryContext(ctx, query, args)
}

func (g *guardedConn) Prepare(query string) (driver.Stmt, error) {
	g.noticePrepared(query)
	return g.connMethods.Prepare(query)
}

func (g *guardedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	g.noticePrepared(query)
	return g.connMethods.PrepareContext(ctx, query)
}

func (g *guardedConn) Begin() (driver.Tx, error) {
	tx, err := g.connMethods.Begin()
	return g.began(tx, err, sql.LevelDefault)
}

func (g *guardedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := g.connMethods.BeginTx(ctx, opts)
	return g.began(tx, err, sql.IsolationLevel(opts.Isolation))
}

func (g *guardedConn) began(tx driver.Tx, err error, level sql.IsolationLevel) (driver.Tx, error) {
	if err != nil {
		if level != sql.LevelDefault {
			// The driver has set the level of the next transaction, which may not
			// have begun.
			g.note(setsIsolation, "SET TRANSACTION ISOLATION LEVEL", &g.changed)
		}
		return tx, err
	}
	if g.tx != nil { // the server has ended the one before
		g.beyond = true
		return tx, nil
	}
	g.tx = tx
	return (*guardedTx)(g), nil
}

// guardedTx is a connection's transaction. It is the connection itself, so that
// it costs no allocation.
type guardedTx guardedConn

func (t *guardedTx) Commit() error { return t.end(driver.Tx.Commit) }

func (t *guardedTx) Rollback() error { return t.end(driver.Tx.Rollback) }

func (t *guardedTx) end(how func(driver.Tx) error) error {
	if t.tx == nil {
		return sql.ErrTxDone
	}
	err := how(t.tx)
	t.tx = nil
	if err != nil || t.session.chains {
		t.beyond = true // nobody knows whether a transaction is open
	}
	return err
}
