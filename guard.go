package mysqlinit

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/mysqlinit/mysqlinit/internal/driverconn"
	"github.com/mysqlinit/mysqlinit/internal/session"
	"github.com/mysqlinit/mysqlinit/internal/sqltext"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// guard is what all guarded connections of a Connector share.
type guard struct {
	session          *session.Session
	limit            *timeLimit // of each restoring of a session
	repeatable       bool       // the SET alone makes a session again what Prepare made it
	setsUserVariable bool       // the SET sets one, which any statement can assign
	chains           bool       // a COMMIT can open a transaction: completion_type is set
	tx               txFacts    // for the guards of transactions
}

func newGuard(s *session.Session, limit *timeLimit, of params) *guard {
	g := &guard{
		session:          s,
		limit:            limit,
		repeatable:       !of.changedByCallback && setIsRepeatable(s.Config),
		setsUserVariable: slices.ContainsFunc(variablesOf(s.Config), sysvar.Variable.OfUser),
		tx:               txFacts{multiStatements: of.multiStatements, logger: s.Logger},
	}
	for _, v := range variablesOf(s.Config) {
		if v.BareName() == "completion_type" && !isWord(v.Value, "0", "NO_CHAIN") {
			g.chains = true
		}
	}
	for _, command := range s.InitCommands {
		if strings.Contains(strings.ToLower(command), "completion_type") {
			g.chains = true
		}
	}
	return g
}

// variablesOf returns all variables of the DSN, whoever sends them first.
func variablesOf(c session.Config) []sysvar.Variable {
	return slices.Concat(c.Variables, c.SentByDriver)
}

// isWord reports whether a value is one of some words in capitals.
func isWord(value string, words ...string) bool { return slices.Contains(words, sysvar.Word(value)) }

// setIsRepeatable reports whether the SET gives the same session whatever the
// session is, and no init command has changed what it sets.
func setIsRepeatable(c session.Config) bool {
	variables := variablesOf(c)
	for _, v := range append(variables, sysvar.Variable{Value: c.Isolation.Expr}, sysvar.Variable{Value: c.Binlog.Format}) {
		if !v.IsConstant() || v.Varies() {
			return false
		}
		// With autocommit off a transaction can be open, which the SET leaves open.
		if v.BareName() == "autocommit" && !isWord(v.Value, "1", "ON", "TRUE") {
			return false
		}
	}
	for _, command := range c.InitCommands {
		if sqltext.EffectOf(command, true)&^sqltext.SetsVariable != 0 || len(variables) > 0 && canOverride(command, variables) {
			return false
		}
	}
	return true
}

// canOverride reports whether an init command can change the value of a variable
// that the SET has set. Servers have variables with two names, such as
// long_query_time and log_slow_query_time, and some that set another, as
// max_join_size sets sql_big_selects. So any system variable counts.
func canOverride(command string, variables []sysvar.Variable) bool {
	return slices.ContainsFunc(sqltext.Assignments(command), func(a sqltext.Assignment) bool {
		return !a.OfUser() || slices.ContainsFunc(variables, sysvar.Variable.OfUser)
	})
}

// wrap returns the guarded form of a connection that was prepared in a form of
// the SET.
func (g *guard) wrap(conn connMethods, form session.Form) *guardedConn {
	c := &guardedConn{connMethods: conn, guard: g, form: form, txGuard: newTxGuard(&g.tx, conn)}
	c.autocommits = c.flags.Autocommit()
	c.results.tx = &c.txGuard
	return c
}

// effectOf returns what a query can do to a session.
func (g *guard) effectOf(query string) sqltext.Effect {
	e := sqltext.EffectOf(query, g.tx.multiStatements)
	if g.setsUserVariable && strings.Contains(query, "@") { // as in SELECT … INTO @tenant
		e |= sqltext.SetsVariable
	}
	if g.chains { // with completion_type each COMMIT and ROLLBACK can open a transaction
		if lower := strings.ToLower(query); strings.Contains(lower, "commit") || strings.Contains(lower, "rollback") {
			e |= sqltext.Opaque
		}
	}
	return e
}

// restores reports whether the SET restores what a statement has changed.
func (g *guard) restores(e sqltext.Effect, form session.Form) bool {
	return g.repeatable &&
		(e&sqltext.SetsIsolation == 0 || g.session.SetsIsolation()) &&
		(e&sqltext.SetsBinlog == 0 || g.session.SetsBinlog(form))
}

// guardedConn notices what its statements can do to the session, and puts the
// session back in order before the next user has it. database/sql calls it from
// one goroutine at a time.
type guardedConn struct {
	connMethods
	guard *guard
	form  session.Form // of the SET that prepared this connection

	tx                 driver.Tx // of BeginTx, until it ends
	changed            bool      // a statement has changed the session since it was last in order
	restoreAlways      bool      // a statement was prepared that changes it, and can run at any time
	discard            bool      // no SET restores the session: never pool it again
	autocommits        bool      // autocommit was on when the session was prepared
	autocommitMayBeOff bool

	txGuard             // watches tx
	results resultWatch // and its queries
}

var _ interface {
	connMethods
	Unwrap() driver.Conn
} = (*guardedConn)(nil)

// Unwrap returns the connection below. The guard does not see what is sent there,
// and so it does not watch a transaction any longer.
func (c *guardedConn) Unwrap() driver.Conn {
	c.watch = watchNothing
	return c.connMethods
}

// notice notes what a query that is about to run can do. The query can do so even
// if it fails, or if its answer is lost.
func (c *guardedConn) notice(ctx context.Context, query string) {
	if e := c.guard.effectOf(query); e != 0 {
		if c.tx != nil {
			if e&sqltext.Opaque != 0 {
				c.restarts(query)
				e |= sqltext.SetsIsolation // a procedure can
			}
			e &^= sqltext.Opaque      // the end of BeginTx's transaction ends what was opened
			e |= sqltext.SetsVariable // and the SET restores what a procedure set
		}
		c.note(ctx, e, query, &c.changed)
	}
}

// noticePrepared notes what a prepared query can do whenever it runs, even after
// the end of the transaction that it was prepared in.
func (c *guardedConn) noticePrepared(ctx context.Context, query string) {
	if e := c.guard.effectOf(query); e != 0 {
		c.note(ctx, e, query, &c.restoreAlways)
	}
}

func (c *guardedConn) note(ctx context.Context, e sqltext.Effect, query string, restorable *bool) {
	if noticed, ok := ctx.Value(preparation{}).(*bool); ok {
		*noticed = true
	}
	if e&(sqltext.Opaque|sqltext.Irreversible) == 0 && c.guard.restores(e, c.form) {
		*restorable = true
		return
	}
	if logger := c.guard.session.Logger; !c.discard && logger.Enabled(context.Background(), slog.LevelDebug) {
		logger.Debug("mysqlinit: guard will close a connection: no SET restores its session after this statement", slog.String("statement", sqltext.Mask(query)))
	}
	c.discard = true
}

// preparation is the key of a *bool in the context in which a Connector of Wrap
// prepares a connection. A guard that is somewhere below it, in a wrapper whose
// type does not show it, sets the bool.
type preparation struct{}

var errGuardBelow = errors.New("mysqlinit: Wrap: the connector already has a guard, which would restore its session instead of this one: give WithGuard to Wrap instead")

// IsValid reports, when a connection comes back to the pool, whether it can stay.
func (c *guardedConn) IsValid() bool {
	if c.discard || c.autocommitMayBeOff || c.tx != nil {
		return false
	}
	// With autocommit off each statement opens a transaction. With it on, somebody
	// has begun one that no text has shown, such as a COMMIT that chains.
	if c.flags.InTransaction() && c.flags.Autocommit() {
		c.guard.session.Logger.Debug("mysqlinit: guard will close a connection: a transaction was left open")
		return false
	}
	return c.connMethods.IsValid()
}

// ResetSession restores the session when a connection leaves the pool again. Its
// only error is driver.ErrBadConn: database/sql then takes another connection,
// and ignores all other errors.
func (c *guardedConn) ResetSession(ctx context.Context) error {
	if err := c.connMethods.ResetSession(ctx); err != nil || !c.IsValid() {
		return driver.ErrBadConn
	}
	if !c.changed && !c.restoreAlways {
		return nil
	}
	limited, cancel := c.guard.limit.on(ctx)
	defer cancel()
	if failure := c.guard.session.Restore(limited, c.connMethods, c.form); failure != nil {
		c.discard = true
		if ctx.Err() == nil { // otherwise it is the caller's own doing
			c.guard.session.Logger.Warn("mysqlinit: guard closes a connection: its session could not be restored", slog.Any("error", initError(failure)))
		}
		return driver.ErrBadConn
	}
	c.changed = false
	return nil
}

func (c *guardedConn) Exec(query string, args []driver.Value) (driver.Result, error) {
	if err := c.mayRun(context.Background(), query); err != nil {
		return nil, err
	}
	c.notice(context.Background(), query)
	result, err := c.connMethods.Exec(query, args)
	return resultOf(result, c.ran(query, err))
}

func (c *guardedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.mayRun(ctx, query); err != nil {
		return nil, err
	}
	if c.autocommits && (query == sysvar.AutocommitOff || query == sysvar.AutocommitOn) {
		c.autocommitMayBeOff = true
		result, err := c.connMethods.ExecContext(ctx, query, args)
		c.autocommitMayBeOff = err != nil || query == sysvar.AutocommitOff
		return resultOf(result, c.ran(query, err))
	}
	c.notice(ctx, query)
	result, err := c.connMethods.ExecContext(ctx, query, args)
	return resultOf(result, c.ran(query, err))
}

func (c *guardedConn) Query(query string, args []driver.Value) (driver.Rows, error) {
	if err := c.mayRun(context.Background(), query); err != nil {
		return nil, err
	}
	c.notice(context.Background(), query)
	rows, err := c.connMethods.Query(query, args)
	return c.results.rows(query, rows, err)
}

func (c *guardedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.mayRun(ctx, query); err != nil {
		return nil, err
	}
	c.notice(ctx, query)
	rows, err := c.connMethods.QueryContext(ctx, query, args)
	return c.results.rows(query, rows, err)
}

func (c *guardedConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c *guardedConn) PrepareContext(ctx context.Context, query string) (_ driver.Stmt, err error) {
	if err := c.mayRun(ctx, ""); err != nil {
		return nil, err
	}
	c.noticePrepared(ctx, query)
	// If PREPARE is killed, MySQL 9.7 can answer with an OK that is too short, and the
	// driver panics. database/sql would then keep a sql.Conn locked for ever.
	defer c.closeMalformed(&err)
	defer driverconn.RecoverMalformed(&err)
	stmt, err := c.connMethods.PrepareContext(ctx, query)
	return c.prepared(query, stmt, err)
}

// closeMalformed closes the connection after an answer that the driver did not
// understand: what comes next on it is not known.
func (c *guardedConn) closeMalformed(err *error) {
	if errors.Is(*err, driverconn.ErrMalformed) {
		c.discard = true
		c.connMethods.Close()
	}
}

func (c *guardedConn) prepared(query string, stmt driver.Stmt, err error) (driver.Stmt, error) {
	if err != nil {
		if c.watch != watchNothing {
			c.failed(err, commitsNothing)
		}
		return nil, err
	}
	return c.results.stmt(query, stmt), nil
}

func (c *guardedConn) Ping(ctx context.Context) error {
	err := c.connMethods.Ping(ctx)
	if err != nil && c.watch != watchNothing {
		c.failed(err, commitsNothing) // a Galera node reports a conflict here
	}
	return err
}

func (c *guardedConn) Begin() (driver.Tx, error) {
	tx, err := c.connMethods.Begin()
	return c.began(context.Background(), tx, err, sql.LevelDefault)
}

func (c *guardedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.connMethods.BeginTx(ctx, opts)
	return c.began(ctx, tx, err, sql.IsolationLevel(opts.Isolation))
}

func (c *guardedConn) began(ctx context.Context, tx driver.Tx, err error, level sql.IsolationLevel) (driver.Tx, error) {
	if err != nil {
		if level != sql.LevelDefault {
			// The driver has set the level of the next transaction, which did not begin.
			c.note(ctx, sqltext.SetsIsolation, "SET TRANSACTION ISOLATION LEVEL", &c.changed)
		}
		return tx, err
	}
	if c.tx != nil { // the server has ended the one before
		c.discard = true
		return tx, nil
	}
	c.tx = tx
	guarded := (*guardedTx)(c)
	if err := c.begun(ctx); err != nil {
		_ = guarded.Rollback()
		return nil, err
	}
	return guarded, nil
}

// guardedTx is a connection's transaction. It is the connection itself, so that
// it costs no allocation.
type guardedTx guardedConn

// Commit rolls back instead if the server has ended the transaction: on MySQL 5.6
// and MariaDB 10.5 a new one is open, with the statements after the error in it.
func (t *guardedTx) Commit() error {
	if t.tx == nil {
		return sql.ErrTxDone
	}
	c := (*guardedConn)(t)
	switch err := c.mayCommit(); {
	case err == nil:
		return t.end(driver.Tx.Commit)
	case c.lost != nil:
		_ = t.end(driver.Tx.Rollback)
		return err
	default: // nobody knows; closing the connection ends the transaction
		t.discard = true
		_ = t.end(driver.Tx.Rollback)
		return err
	}
}

func (t *guardedTx) Rollback() error { return t.end(driver.Tx.Rollback) }

func (t *guardedTx) end(how func(driver.Tx) error) error {
	if t.tx == nil {
		return sql.ErrTxDone
	}
	err := how(t.tx)
	t.tx = nil
	t.over()
	if err != nil || t.guard.chains {
		t.discard = true // nobody knows whether a transaction is open
	}
	return err
}
