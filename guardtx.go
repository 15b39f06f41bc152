package mysqlinit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/driverconn"
	"github.com/mysqlinit/mysqlinit/internal/sqltext"
	"github.com/mysqlinit/mysqlinit/internal/txlost"
)

// watchLevel is how closely a transaction of BeginTx is watched.
type watchLevel byte

const (
	watchNothing watchLevel = iota // no transaction is open, or the guard stands down until it ends
	watchErrors                    // only for errors that always end a transaction
	watchFlags                     // for these, and for the server's status flags
)

// txGuard watches the transactions of BeginTx on one connection. On the way that
// goes well a statement costs it a comparison and a look at the flags.
type txGuard struct {
	*txFacts
	conn  connMethods
	flags driverconn.Flags // of conn

	watch  watchLevel
	doubt  *mysql.MySQLError // has perhaps ended the transaction: PING before the next statement
	lost   error             // a *lostError: the transaction is over, and nothing runs in it
	strict bool              // a statement that commits the transaction is a loss too
	marked bool              // groupMark is set in the transaction
}

// txFacts are what the guards of a Connector's connections share.
type txFacts struct {
	multiStatements bool // a query can be several statements
	logger          *slog.Logger
	group           membership
}

func newTxGuard(facts *txFacts, conn connMethods) txGuard {
	return txGuard{txFacts: facts, conn: conn, flags: driverconn.FlagsOf(conn)}
}

// errDuplicateEntry is ER_DUP_ENTRY. It never rolls a transaction back, and code
// that races to create a row meets it all the time.
const errDuplicateEntry = 1062

// lostError refuses a statement of a transaction that the server has ended.
type lostError struct {
	cause     *mysql.MySQLError // what ended the transaction; nil if no error said so
	committed string            // the statement that committed it, if one did
}

func (e *lostError) Error() string {
	text := "mysqlinit: " + txlost.Err.Error()
	if e.committed != "" {
		return text + ". Do this outside of transactions: " + e.committed
	}
	text += "; roll back, and run the whole transaction again"
	if e.cause == nil {
		return text + " (no error said why)"
	}
	return fmt.Sprintf("%s. An earlier statement failed with the reason, and its error was not returned: %v", text, e.cause)
}

func (e *lostError) Is(target error) bool { return target == ErrTransactionLost }

// Unwrap returns the error that ended the transaction, for code that retries by
// its number.
func (e *lostError) Unwrap() error {
	if e.cause == nil {
		return nil
	}
	return e.cause
}

// begun begins to watch a transaction. If the flags do not show it, they will not
// show its end either: a proxy in between can lack them.
func (g *txGuard) begun(ctx context.Context) error {
	g.over()
	g.watch = watchErrors
	if g.flags.InTransaction() {
		g.watch = watchFlags
	}
	if g.group.learned.Load() == isMember {
		return g.mark(ctx)
	}
	return nil
}

// over ends the watch, because the transaction has ended.
func (g *txGuard) over() {
	g.watch, g.doubt, g.lost, g.strict, g.marked = watchNothing, nil, nil, false, false
}

// WatchStrictly is for mysqltx, right after BEGIN. It makes a statement that commits
// the transaction of BeginTx a loss, as an error is that rolls it back: what
// follows is refused, and Commit is an error. It reports whether the guard sees
// both, on a member of a group too. If it does not, it changes nothing.
func (g *txGuard) WatchStrictly(ctx context.Context) (bool, error) {
	if g.watch != watchFlags {
		return false, nil
	}
	member, err := g.inGroup(ctx)
	if err == nil && member && !g.marked {
		err = g.mark(ctx)
	}
	g.strict = err == nil
	return g.strict, err
}

// mayRun is asked before each statement of a transaction. It returns an error if
// the transaction is lost.
func (g *txGuard) mayRun(ctx context.Context, query string) error {
	if g.watch == watchNothing {
		return nil
	}
	if g.lost == nil && !g.marked && sqltext.IsSavepoint(query) {
		if err := g.touchGroup(ctx); err != nil {
			return err
		}
	}
	if g.doubt != nil && g.lost == nil {
		if err := g.resolveDoubt(ctx); err != nil {
			return err
		}
	}
	return g.lost
}

// mayCommit is asked before COMMIT. Nothing but what bounds COMMIT bounds it.
func (g *txGuard) mayCommit() error {
	err := g.mayRun(context.Background(), commitsNothing)
	if err == nil && g.marked {
		err = g.checkMark(context.Background())
	}
	return err
}

// resolveDoubt asks the server for its status flags. The doubt stays if the
// server does not answer.
func (g *txGuard) resolveDoubt(ctx context.Context) error {
	err := g.conn.Ping(ctx)
	if err != nil {
		g.failed(err, commitsNothing)
		if g.lost != nil {
			return g.lost
		}
		return err
	}
	if !g.flags.InTransaction() {
		g.lose(&lostError{cause: g.doubt})
	}
	g.doubt = nil
	return nil
}

// ran is called at the end of each statement, and returns the error that the user
// gets. It reads the text only if something is wrong.
func (g *txGuard) ran(query string, err error) error {
	switch {
	case g.watch == watchNothing:
	case err != nil:
		g.failed(err, query)
	case g.watch == watchFlags && !g.flags.InTransaction():
		if g.staysInside(query) { // it was lost before, and this statement ran outside of it
			g.lose(&lostError{})
			return g.lost
		}
		g.committed(query)
	}
	return err
}

func (g *txGuard) staysInside(query string) bool {
	return sqltext.StaysInside(query, g.multiStatements)
}

// commitsNothing stands for the text of what cannot commit, such as a PING.
const commitsNothing = ""

// failed notes a statement's error. If the statement could have committed, it has
// perhaps done so in spite of its error, as CREATE TABLE does with error 1050, and
// CREATE UNIQUE INDEX with 1062. From then on the flags do not
// prove a loss, unless this is one too.
func (g *txGuard) failed(err error, query string) {
	serverErr, ok := errors.AsType[*mysql.MySQLError](err)
	switch {
	case !ok: // not sent, or the connection is gone and the transaction with it
	case txlost.Ends(serverErr):
		g.lose(&lostError{cause: serverErr})
	case g.watch != watchFlags:
	case !g.staysInside(query) && !g.strict:
		g.watch = watchErrors
		g.doubt = nil
	case serverErr.Number != errDuplicateEntry && g.doubt == nil:
		g.doubt = serverErr
	}
}

func (g *txGuard) lose(err *lostError) {
	if g.lost == nil {
		g.lost = err
	}
}

// restarts notes that a query is about to end the transaction and to begin another,
// as BEGIN does. The flags do not show that. Whether a procedure does it, nobody
// knows.
func (g *txGuard) restarts(query string) {
	if g.strict && !isCall(query) && !g.staysInside(query) {
		g.lose(&lostError{committed: sqltext.Mask(query)})
	}
}

func isCall(query string) bool {
	fields := strings.Fields(query)
	return len(fields) > 0 && strings.EqualFold(fields[0], "CALL")
}

// committed notes that a statement has committed the transaction by itself, as DDL
// does. The guard stands down, unless the watch is strict.
func (g *txGuard) committed(query string) {
	if g.strict {
		g.lose(&lostError{committed: sqltext.Mask(query)})
		return
	}
	g.watch = watchNothing
	level, why := slog.LevelDebug, "mysqlinit: a statement has committed the transaction that it ran in; the guard does not watch the rest"
	if isCall(query) {
		// A handler in the procedure can have caught a deadlock, which looks the same.
		level, why = slog.LevelWarn, "mysqlinit: a procedure has ended the transaction that it was called in, by a COMMIT or by an error that it caught; the guard does not watch the rest"
	}
	if logger := g.logger; logger.Enabled(context.Background(), level) {
		logger.Log(context.Background(), level, why, slog.String("statement", sqltext.Mask(query)))
	}
}

// How the guard works on a member of a group (Group Replication). If a change of
// another member is in the way of a transaction, the member rolls it back in
// InnoDB, and InnoDB's next statement says so. A SAVEPOINT is an exception: it
// silently begins another transaction in InnoDB, and COMMIT answers OK. What came
// before the SAVEPOINT is then on all members but this one (seen on MySQL 9.7).
//
// Savepoints from before the loss are not in InnoDB's new transaction. So the guard
// sets one as soon as a transaction has begun, while it has no lock that could be in
// anyone's way, and releases it before COMMIT. Those are three round trips for each
// transaction, so a Connector begins with them at its first SAVEPOINT, or at the
// first Run of mysqltx.

// groupMark is the name of the guard's savepoint.
const groupMark = "mysqlinit_guard"

// membership is whether a server belongs to a group.
type membership struct{ learned atomic.Int32 }

const (
	notLearned int32 = iota
	noMember
	isMember
)

func (g *txGuard) mark(ctx context.Context) error {
	err := driverconn.Exec(ctx, g.conn, txlost.TouchInnoDB)
	if err == nil {
		err = driverconn.Exec(ctx, g.conn, "SAVEPOINT "+groupMark)
	}
	g.marked = err == nil
	return err
}

// checkMark asks whether the transaction is still the one that was marked. A
// statement that commits has removed the mark (1305), which proves nothing.
func (g *txGuard) checkMark(ctx context.Context) error {
	err := driverconn.Exec(ctx, g.conn, "RELEASE SAVEPOINT "+groupMark)
	serverErr, answered := errors.AsType[*mysql.MySQLError](err)
	switch {
	case !answered:
		return err
	case txlost.Ends(serverErr):
		g.lose(&lostError{cause: serverErr})
	}
	return g.lost
}

// inGroup reports whether the server belongs to a group. It asks once.
func (g *txGuard) inGroup(ctx context.Context) (bool, error) {
	m := &g.group
	if m.learned.Load() == notLearned {
		_, err := driverconn.QueryRow(ctx, g.conn, txlost.GroupName, 1)
		_, answered := errors.AsType[*mysql.MySQLError](err)
		switch {
		case err == nil:
			m.learned.Store(isMember)
		case answered: // 1193: the plugin is not there
			m.learned.Store(noMember)
		default:
			return false, err
		}
	}
	return m.learned.Load() == isMember, nil
}

// touchGroup runs before a SAVEPOINT in a transaction without a mark, and learns
// whether there should have been one. If there should, it asks InnoDB at least
// whether the transaction is lost already.
func (g *txGuard) touchGroup(ctx context.Context) error {
	member, err := g.inGroup(ctx)
	if err != nil || !member {
		return err
	}
	if err := driverconn.Exec(ctx, g.conn, txlost.TouchInnoDB); err != nil {
		g.failed(err, commitsNothing)
		if g.lost == nil {
			return err
		}
	}
	return nil
}
