package mysqlinit

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/ngrok/sqlmw"

	"github.com/mysqlinit/mysqlinit/internal/session"
	"github.com/mysqlinit/mysqlinit/internal/sqltext"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// DefaultConnectTimeout bounds dial, handshake and preparation of a connection,
// unless [WithConnectTimeout] or the DSN's connectTimeout says otherwise. A longer
// timeout in the DSN (or Config.Timeout) raises it.
const DefaultConnectTimeout = 30 * time.Second

// Option changes what a connection is prepared with. Options are applied in
// order. If an option is given twice, the last one wins, unless it is documented
// as repeatable.
type Option func(*settings) error

// WithIsolation sets the isolation level that every session starts with. The
// default is [sql.LevelReadCommitted]; [sql.LevelDefault] leaves the server's
// level. A level that MySQL does not have is an error. [sql.TxOptions.Isolation]
// still chooses the level of one transaction.
func WithIsolation(level sql.IsolationLevel) Option {
	return func(s *settings) error {
		if level != sql.LevelDefault && sysvar.LevelName(level) == "" {
			return fmt.Errorf("mysqlinit: WithIsolation(%v): MySQL has no such level; want sql.LevelReadCommitted, LevelRepeatableRead, LevelReadUncommitted, LevelSerializable, or LevelDefault for the server's level", level)
		}
		s.isolation = given(session.Isolation{Level: level})
		return nil
	}
}

// BinlogPolicy says how to handle the session's binlog_format. READ COMMITTED
// cannot write if it is STATEMENT.
type BinlogPolicy int

const (
	// BinlogRow sets ROW. If the account or the server does not let it be set, the
	// same SET asserts that the format is not STATEMENT with the binary log on.
	// MIXED is fine, because InnoDB then logs rows by itself.
	BinlogRow BinlogPolicy = iota
	// BinlogRequireRow sets ROW. If that is impossible, connecting fails.
	BinlogRequireRow
	// BinlogAssert never sets the format; it only asserts. Use it for accounts known
	// to lack the privilege, whose refused attempts a DBA would see in
	// Access_denied_errors, and if MIXED should stay MIXED.
	BinlogAssert
	// BinlogServer leaves the format alone and asks nothing. Use it behind an SQL
	// proxy.
	BinlogServer
)

var binlogPolicyNames = [...]string{BinlogRow: "row", BinlogRequireRow: "require-row", BinlogAssert: "assert", BinlogServer: "server"}

// String returns the policy as the DSN key binlog spells it.
func (p BinlogPolicy) String() string {
	if p < 0 || int(p) >= len(binlogPolicyNames) {
		return fmt.Sprintf("BinlogPolicy(%d)", int(p))
	}
	return binlogPolicyNames[p]
}

// WithBinlog sets the policy for binlog_format. The default is [BinlogRow].
func WithBinlog(policy BinlogPolicy) Option {
	return func(s *settings) error {
		if policy < 0 || int(policy) >= len(binlogPolicyNames) {
			return fmt.Errorf("mysqlinit: WithBinlog(%v): no such policy; want BinlogRow, BinlogRequireRow, BinlogAssert or BinlogServer", policy)
		}
		s.binlog = given(binlog{policy: policy})
		return nil
	}
}

// WithInitCommand adds a statement that every connection runs before its first
// use, after the session's variables are set. It is repeatable; the commands run
// in order, one round trip each. A command is one statement and is never split
// on ';'. If a transaction is open after them, because autocommit is off or the
// server's init_connect has begun one, it is committed. A command whose effect
// would end with the next transaction, such as SET TRANSACTION, is an error. A
// command for MariaDB only can stand in a comment that MySQL skips: /*M! SET
// SESSION wsrep_sync_wait=7 */.
func WithInitCommand(statement string) Option {
	return func(s *settings) error {
		if err := checkInitCommand(statement); err != nil {
			return err
		}
		s.initCommands = append(s.initCommands, statement)
		return nil
	}
}

// WithVerify reads isolation level and binlog format back after a session is
// prepared, at one extra round trip a connection; a mismatch is an [*InitError].
// A value that an init command chose counts as chosen. The default is false.
func WithVerify(on bool) Option {
	return func(s *settings) error {
		s.verify = given(on)
		return nil
	}
}

// WithGuard keeps transactions whole, and pooled sessions as they were prepared.
// The default is false. A query costs no extra allocation and no extra round trip.
//
// If the server ends a transaction of BeginTx by an error, such as a deadlock
// (1213), each later statement in it is refused without being sent, and Commit
// rolls back: both return [ErrTransactionLost], with the server's error in it.
// Without the guard the server would run these statements on their own, and
// answer COMMIT with OK. The document docs/guard.md has the details.
//
// If a user ran a SET, the one SET of the preparation is sent again when the
// connection next leaves the pool. That keeps the isolation level, the binlog
// format and the DSN's variables. A checkout costs one round trip after such a
// statement; once a connection has prepared one, each checkout does.
//
// A connection is closed instead of pooled again if no SET can restore its
// session:
//
//   - after USE, LOCK TABLES, XA or EXECUTE
//   - after a change of autocommit or of the character set
//   - after a change of the isolation level or the binlog format, if that is left
//     to the server
//   - after a statement that the guard does not know
//   - after any SET, if a value of the DSN could mean something else a second
//     time: one that is more than a literal or a word, DEFAULT, an empty text
//     (unless it is sql_mode's), or a part of optimizer_switch
//   - after any SET, if the DSN sets variables and an init command sets a system
//     variable: it can be one of these under another name, or depend on one
//   - outside a [sql.Tx], after BEGIN, START TRANSACTION and CALL; inside one, its
//     end and the SET undo these, provided the SET sets the isolation level
//   - if autocommit is on and the server says that a transaction is open
//   - if restoring failed; [WithLogger] says why
//
// The guard reads the text of statements. It does not see
//
//   - what a stored function or a trigger changes
//   - what a procedure called inside a transaction changes, apart from the
//     isolation level and what the SET restores
//   - what is sent through the Unwrap method of the connection that
//     [sql.Conn.Raw] shows
//   - that a transaction is open because the server's own autocommit is off
//   - that a COMMIT chains by the server's own completion_type, if the connections
//     below [Wrap] are not the MySQL driver's
//
// It makes no promise about other variables, user variables that the DSN does not
// set, temporary tables and locks by name, and does not run init commands again:
// a variable that only they set is not kept. If the DSN sets a user variable, any
// statement with an @ in its text counts as a SET.
//
// Over [Wrap] it keeps isolation level and binlog format, because it does not
// know the DSN. The parent's connections must have every method that the MySQL
// driver's connections have; Connect returns an error that names those missing.
// A parent that has a guard of its own, even inside a wrapper, is an error: give
// the guard to Wrap instead.
//
// If the MySQL driver panics on the answer to a PREPARE, as it does on what MySQL
// 9.7 can send when that is killed, the guard returns an error and closes the
// connection.
func WithGuard(on bool) Option {
	return func(s *settings) error {
		s.guard = given(on)
		return nil
	}
}

// WithConnectTimeout bounds dial, handshake and preparation together, and also
// each restoring of a session by [WithGuard]. Zero means no bound; a negative
// duration is an error. The default is [DefaultConnectTimeout]. It matters
// because database/sql also connects in the background, with a context that
// never ends. The error at its expiry has a Timeout method that returns true.
func WithConnectTimeout(d time.Duration) Option {
	return func(s *settings) error {
		if d < 0 {
			return fmt.Errorf("mysqlinit: WithConnectTimeout(%v): a duration must not be negative; 0 means no bound", d)
		}
		s.connectTimeout = given(d)
		return nil
	}
}

// WithInterceptor wraps every prepared connection in a sqlmw interceptor. What
// the interceptor sees of a connection comes after the preparation, and its
// ConnectorConnect is given a connector whose connections are prepared. The
// option is repeatable; the first interceptor is the outermost. Nil is an error.
//
// ConnectorConnect has to return a connection that it got from its connector, or
// one around it that has all its methods. It is an error to return another
// connection, or one without having got any. Other connections that it got are
// closed, and if it fails all of them, even if it has closed them itself. If it
// returns a wrapper, it has to close the others first: what the wrapper is around
// is not seen. connectTimeout bounds each Connect of its connector, and nothing
// else that it does. A SET that it runs counts for [WithGuard] as the first
// user's.
//
// No method is given a nil context, which sqlmw passes for statements and
// transactions begun without one. A statement, rows or a transaction returned
// along with an error is closed. If a method returns neither a value nor an
// error, the caller gets an error that names the interceptor, and the connection
// is not pooled again.
//
// sqlmw wraps the prepared connection in its own. What [sql.Conn.Raw] shows has a
// method Unwrap() driver.Conn, which returns the connection below: the MySQL
// driver's, or the one of [WithGuard]. Results are sqlmw's as well: for
// [mysql.Result], execute on the unwrapped connection, which no interceptor
// sees. An interceptor costs the allocations of sqlmw.
func WithInterceptor(i sqlmw.Interceptor) Option {
	return func(s *settings) error {
		if i == nil {
			return errors.New("mysqlinit: WithInterceptor(nil): want a sqlmw.Interceptor; embed sqlmw.NullInterceptor and override the methods you need")
		}
		s.interceptors = append(s.interceptors, i)
		return nil
	}
}

// WithLogger logs, at level Info, what was learned about a server, once each time
// it changes: the isolation variable's name, and whether binlog_format can be
// set. With [WithGuard] it also logs why a session could not be restored (Warn),
// and which statement costs a connection (Debug). Nil, the default, logs
// nothing. No password and no literal of a statement is logged.
func WithLogger(l *slog.Logger) Option {
	return func(s *settings) error {
		s.logger = l
		return nil
	}
}

// setting is a value and whether somebody chose it.
type setting[T comparable] struct {
	value T
	given bool
}

func given[T comparable](v T) setting[T] { return setting[T]{v, true} }

func (s setting[T]) overriddenBy(over setting[T]) setting[T] {
	if over.given {
		return over
	}
	return s
}

func (s setting[T]) contradicts(other setting[T], same func(a, b T) bool) bool {
	return s.given && other.given && !same(s.value, other.value)
}

func equal[T comparable](a, b T) bool { return a == b }

// binlog is a policy, or the DSN's choice of binlog_format, which replaces it.
type binlog struct {
	policy BinlogPolicy
	format string // the value of binlog_format in a DSN, as written
}

func (b binlog) config() session.Binlog {
	if b.format != "" {
		return session.Binlog{Format: b.format}
	}
	return session.Binlog{
		Set:    b.policy == BinlogRow || b.policy == BinlogRequireRow,
		Assert: b.policy == BinlogRow || b.policy == BinlogAssert,
	}
}

// settings is what options and DSN keys choose. The zero value means the
// defaults.
type settings struct {
	isolation      setting[session.Isolation]
	binlog         setting[binlog]
	verify         setting[bool]
	guard          setting[bool]
	connectTimeout setting[time.Duration]
	initCommands   []string
	interceptors   []sqlmw.Interceptor
	logger         *slog.Logger
}

func newSettings(opts []Option) (settings, error) {
	var s settings
	var errs []error
	for _, opt := range opts {
		if opt != nil {
			errs = append(errs, opt(&s))
		}
	}
	return s, errors.Join(errs...)
}

// overriddenBy returns s with what over chooses. Init commands and interceptors
// append.
func (s settings) overriddenBy(over settings) settings {
	s.isolation = s.isolation.overriddenBy(over.isolation)
	s.binlog = s.binlog.overriddenBy(over.binlog)
	s.verify = s.verify.overriddenBy(over.verify)
	s.guard = s.guard.overriddenBy(over.guard)
	s.connectTimeout = s.connectTimeout.overriddenBy(over.connectTimeout)
	s.initCommands = slices.Concat(s.initCommands, over.initCommands)
	s.interceptors = slices.Concat(s.interceptors, over.interceptors)
	return s
}

// contradiction says in what options and the DSN that they came with disagree.
func contradiction(opts, dsn settings) error {
	var errs []error
	report := func(contradicts bool, option, key string) {
		if contradicts {
			errs = append(errs, fmt.Errorf("mysqlinit: %s contradicts %s of the DSN: give one of them", option, key))
		}
	}
	report(opts.isolation.contradicts(dsn.isolation, sameIsolation), "WithIsolation", "isolation")
	report(opts.binlog.contradicts(dsn.binlog, sameBinlog), "WithBinlog", "binlog (or binlog_format)")
	report(opts.verify.contradicts(dsn.verify, equal), "WithVerify", "verify")
	report(opts.guard.contradicts(dsn.guard, equal), "WithGuard", "guard")
	report(opts.connectTimeout.contradicts(dsn.connectTimeout, equal), "WithConnectTimeout", "connectTimeout")
	return errors.Join(errs...)
}

// sameIsolation reports whether two choices agree.
func sameIsolation(a, b session.Isolation) bool {
	return a.Level == b.Level && sysvar.Word(a.Expr) == sysvar.Word(b.Expr)
}

// sameBinlog reports whether two choices agree. binlog_format=ROW agrees with the
// policies that set ROW.
func sameBinlog(a, b binlog) bool {
	switch {
	case a.format == "" && b.format == "":
		return a.policy == b.policy
	case a.format == "":
		return setsFormat(a.policy, b.format)
	case b.format == "":
		return setsFormat(b.policy, a.format)
	}
	return sysvar.Word(a.format) == sysvar.Word(b.format)
}

func setsFormat(policy BinlogPolicy, format string) bool {
	return (policy == BinlogRow || policy == BinlogRequireRow) && sysvar.Word(format) == "ROW"
}

// check refuses what no server could do.
func (s settings) check() error {
	level := s.level().Level
	if sysvar.NeedsRowLog(level) && sysvar.Word(s.binlog.value.format) == "STATEMENT" {
		return fmt.Errorf("mysqlinit: binlog_format=STATEMENT contradicts isolation=%s: InnoDB refuses every write with error 1665; leave binlog_format out, or choose isolation=repeatable-read or isolation=server", strings.ToLower(sysvar.LevelName(level)))
	}
	return nil
}

// level is the chosen isolation level or the default.
func (s settings) level() session.Isolation {
	if s.isolation.given {
		return s.isolation.value
	}
	return session.Isolation{Level: sql.LevelReadCommitted}
}

// connectTimeoutOver is the chosen connectTimeout or the default, which a longer
// timeout of the dial raises.
func (s settings) connectTimeoutOver(dialTimeout time.Duration) time.Duration {
	if s.connectTimeout.given {
		return s.connectTimeout.value
	}
	return max(DefaultConnectTimeout, dialTimeout)
}

func (s settings) loggerOrNone() *slog.Logger {
	if s.logger != nil {
		return s.logger
	}
	return slog.New(slog.DiscardHandler)
}

// checkInitCommand refuses a command that would do nothing for the session.
func checkInitCommand(statement string) error {
	if sqltext.IsEmpty(statement) {
		return errors.New("mysqlinit: an init command is empty: want one SQL statement")
	}
	for _, a := range sqltext.Assignments(statement) {
		switch a.Name {
		case "transaction":
			if a.Scope == "" {
				return errors.New("mysqlinit: the init command SET TRANSACTION holds for the next transaction only: write SET SESSION TRANSACTION, or use isolation (WithIsolation)")
			}
		case sysvar.TransactionIsolation, sysvar.TxIsolation, "transaction_read_only", "tx_read_only":
			if a.Bare {
				return fmt.Errorf("mysqlinit: an init command that sets @@%[1]s holds for the next transaction only: write @@SESSION.%[1]s, or use isolation (WithIsolation)", a.Name)
			}
		}
	}
	return nil
}
