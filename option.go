package mysqlinit

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ngrok/sqlmw"
)

// DefaultConnectTimeout bounds dial, handshake and preparation of a connection
// where neither [WithConnectTimeout] nor the DSN's connectTimeout says
// otherwise. A longer timeout in the DSN (or Config.Timeout) raises it.
const DefaultConnectTimeout = 30 * time.Second

// Option changes what a connection is prepared with. Options are applied in
// order; of the same one given twice the last counts, except those that are
// documented as repeatable.
type Option func(*settings) error

// WithIsolation sets the isolation level that every session starts with. The
// default is [sql.LevelReadCommitted]; [sql.LevelDefault] leaves the server's.
// A level that MySQL does not have is an error. [sql.TxOptions.Isolation] still
// chooses the level of one transaction.
func WithIsolation(level sql.IsolationLevel) Option {
	return func(s *settings) error {
		if level != sql.LevelDefault && levelNames[level] == "" {
			return fmt.Errorf("mysqlinit: WithIsolation(%v): MySQL has no such level; it takes sql.LevelReadCommitted, LevelRepeatableRead, LevelReadUncommitted, LevelSerializable, or LevelDefault for the server's own", level)
		}
		s.isolation = given(isolation{level: level})
		return nil
	}
}

// BinlogPolicy says what to do about the session's binlog_format, which READ
// COMMITTED needs not to be STATEMENT.
type BinlogPolicy int

const (
	// BinlogRow sets ROW. Where the account or the server does not let it be
	// set, it asserts instead, in the same SET, that the format is not STATEMENT
	// with the binary log on; MIXED is fine, InnoDB then logs rows by itself.
	BinlogRow BinlogPolicy = iota
	// BinlogRequireRow sets ROW; anything that keeps it from being set is an error.
	BinlogRequireRow
	// BinlogAssert never sets the format, it only asserts. It is for accounts
	// known to lack the privilege, whose refused attempts a DBA would see in
	// Access_denied_errors, and where MIXED should stay MIXED.
	BinlogAssert
	// BinlogServer leaves the format alone and asks nothing. It is the setting
	// for use behind an SQL proxy.
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
			return fmt.Errorf("mysqlinit: WithBinlog(%v): no such policy; it takes BinlogRow, BinlogRequireRow, BinlogAssert or BinlogServer", policy)
		}
		s.binlog = given(binlog{policy: policy})
		return nil
	}
}

// WithInitCommand adds a statement that every connection runs before its first
// use, after the session's variables are set. It may be repeated; the commands
// run in order, one round trip each. A command is one statement and is never
// split on ';'. One whose effect would end with the next transaction, such as
// SET TRANSACTION, is an error.
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
// prepared, at one more round trip a connection; a mismatch is an [*InitError].
// A value that an init command chose counts as chosen. The default is false.
func WithVerify(on bool) Option {
	return func(s *settings) error {
		s.verify = given(on)
		return nil
	}
}

// WithGuard keeps isolation level, binlog format and the DSN's variables of a
// pooled session as they were prepared. When a connection leaves the pool again
// after its last user ran a SET, the one SET of its preparation is sent once more.
// Init commands are not run again: a variable that only they set is not kept. The
// default is false. A query costs no allocation and no round trip more; a checkout
// costs one after such a statement, and every checkout does once the connection
// has prepared one.
//
// A connection is closed instead of pooled again where a SET cannot restore its
// session: after USE, LOCK TABLES, XA, EXECUTE, a change of autocommit, of the
// character set, or of isolation level or binlog format where these are left to
// the server, after a statement that the guard does not know; where a value of the DSN is more than a
// literal or a word, for it may mean another a second time; and, outside a
// [sql.Tx], after BEGIN, START TRANSACTION and CALL, which inside one its end
// and the SET undo, where the SET sets the isolation level. It is also closed
// where restoring failed; [WithLogger] says why.
//
// The guard reads the text of statements, so it does not see what a stored
// function or a trigger changes, nor what a procedure called inside a
// transaction does beyond the isolation level and what the SET restores, nor
// what is sent through the Unwrap method of the connection that
// [sql.Conn.Raw] shows, nor that the server itself switches autocommit off or
// makes COMMIT chain. It makes no promise about other variables, user variables,
// temporary tables and locks by name.
//
// Over [Wrap] it keeps isolation level and binlog format, for it does not know
// the DSN. The parent's connections must have every method that the MySQL
// driver's own have; Connect returns an error that names those missing. A parent
// that is a [Connector] with a guard is an error: give it to Wrap instead.
func WithGuard(on bool) Option {
	return func(s *settings) error {
		s.guard = given(on)
		return nil
	}
}

// WithConnectTimeout bounds dial, handshake and preparation together, and each
// restoring of a session by [WithGuard]. Zero means no bound; a negative
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

// WithInterceptor lays a sqlmw interceptor over every prepared connection: what
// it sees of a connection comes after the preparation, and its ConnectorConnect
// is given a connector whose connections are prepared. It may be repeated; the
// first is the outermost. Nil is an error.
//
// ConnectorConnect has to return a connection that it got from its connector,
// or one around it that has all its methods; to have got none is an error. Where it
// fails, the connections that it got are closed, also when it has closed them
// itself. connectTimeout bounds each Connect of its connector, not what it does
// besides; a SET that it runs counts for [WithGuard] as the first user's.
//
// No method is given a nil context, which sqlmw passes for statements and
// transactions begun without one. A statement, rows or a transaction returned
// beside an error is closed; neither a value nor an error gives an error that
// names the interceptor, and the connection is not pooled again.
//
// sqlmw puts a connection of its own over the prepared one. What
// [sql.Conn.Raw] shows has a method Unwrap() driver.Conn, which returns the
// connection below: the MySQL driver's own, or the one of [WithGuard]. Results
// are sqlmw's as well: for [mysql.Result], execute on the unwrapped connection,
// which no interceptor sees. An interceptor costs the allocations of sqlmw.
func WithInterceptor(i sqlmw.Interceptor) Option {
	return func(s *settings) error {
		if i == nil {
			return errors.New("mysqlinit: WithInterceptor(nil): it takes a sqlmw.Interceptor; embed sqlmw.NullInterceptor and override what it shall see")
		}
		s.interceptors = append(s.interceptors, i)
		return nil
	}
}

// WithLogger logs, at level Info, what was learned about a server, once each time
// it changes: the isolation variable's name, and whether binlog_format may be
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

// isolation is a level, or the DSN's own expression for it.
type isolation struct {
	level sql.IsolationLevel
	expr  string // the value of transaction_isolation in a DSN that is no level's name; then level is LevelDefault
}

// binlog is a policy, or the DSN's own choice of binlog_format, which replaces it.
type binlog struct {
	policy BinlogPolicy
	format string // the value of binlog_format in a DSN, as written
}

// settings is what options and DSN keys choose. The zero value means the
// defaults.
type settings struct {
	isolation      setting[isolation]
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

// overlay returns s with what over chooses; init commands append.
func (s settings) overlay(over settings) settings {
	s.isolation = s.isolation.or(over.isolation)
	s.binlog = s.binlog.or(over.binlog)
	s.verify = s.verify.or(over.verify)
	s.guard = s.guard.or(over.guard)
	s.connectTimeout = s.connectTimeout.or(over.connectTimeout)
	s.initCommands = append(s.initCommands[:len(s.initCommands):len(s.initCommands)], over.initCommands...)
	s.interceptors = append(s.interceptors[:len(s.interceptors):len(s.interceptors)], over.interceptors...)
	return s
}

func (s setting[T]) or(over setting[T]) setting[T] {
	if over.given {
		return over
	}
	return s
}

func (s setting[T]) contradicts(other setting[T], same func(a, b T) bool) bool {
	return s.given && other.given && !same(s.value, other.value)
}

func equal[T comparable](a, b T) bool { return a == b }

// contradiction says where options and the DSN that they came with disagree.
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

// sameIsolation tells whether two choices agree.
func sameIsolation(a, b isolation) bool {
	return a.level == b.level && literal(a.expr) == literal(b.expr)
}

// sameBinlog tells whether two choices agree: binlog_format=ROW is what the
// policies row and require-row set.
func sameBinlog(a, b binlog) bool {
	if a.format == "" {
		a, b = b, a
	}
	return a == b || b.format != "" && literal(a.format) == literal(b.format) || b.format == "" && literal(a.format) == "ROW" && (b.policy == BinlogRow || b.policy == BinlogRequireRow)
}

// check refuses what no server could do.
func (s settings) check() error {
	level := s.level()
	if needsRowLog(level.level) && literal(s.binlog.value.format) == "STATEMENT" {
		return fmt.Errorf("mysqlinit: binlog_format=STATEMENT contradicts isolation=%s: InnoDB refuses every write with error 1665; leave binlog_format out, or choose isolation=repeatable-read or isolation=server", strings.ToLower(levelNames[level.level]))
	}
	return nil
}

// level is the chosen isolation or the default.
func (s settings) level() isolation {
	if s.isolation.given {
		return s.isolation.value
	}
	return isolation{level: sql.LevelReadCommitted}
}

// checkInitCommand refuses a command that would do nothing for the session.
func checkInitCommand(statement string) error {
	empty := true
	for _, toks := range splitTop(tokenize(statement), ';') { // with multiStatements it may be several
		empty = empty && len(toks) == 0
		for _, a := range assignments(toks) {
			switch a.name {
			case "transaction":
				if a.scope == "" {
					return errors.New("mysqlinit: the init command SET TRANSACTION holds for the next transaction only: write SET SESSION TRANSACTION, or use isolation (WithIsolation)")
				}
			case newName, oldName, "transaction_read_only", "tx_read_only":
				if a.bare {
					return fmt.Errorf("mysqlinit: an init command that sets @@%[1]s holds for the next transaction only: write @@SESSION.%[1]s, or use isolation (WithIsolation)", a.name)
				}
			}
		}
	}
	if empty {
		return errors.New("mysqlinit: an init command is empty: it takes one SQL statement")
	}
	return nil
}

// levelNames are the levels that MySQL has, as its variable spells them.
var levelNames = map[sql.IsolationLevel]string{
	sql.LevelReadUncommitted: "READ-UNCOMMITTED",
	sql.LevelReadCommitted:   "READ-COMMITTED",
	sql.LevelRepeatableRead:  "REPEATABLE-READ",
	sql.LevelSerializable:    "SERIALIZABLE",
}

// needsRowLog tells the levels at which InnoDB cannot write a STATEMENT log.
func needsRowLog(level sql.IsolationLevel) bool {
	return level == sql.LevelReadCommitted || level == sql.LevelReadUncommitted
}

// levelByName knows READ COMMITTED, read-committed and 'READ-COMMITTED' alike.
func levelByName(s string) (sql.IsolationLevel, bool) {
	name := strings.Join(strings.Fields(literal(s)), "-")
	for level, known := range levelNames {
		if name == known {
			return level, true
		}
	}
	return sql.LevelDefault, false
}

// literal returns a word in capitals, without the quotes around it.
func literal(s string) string {
	s = strings.TrimSpace(s)
	if n := len(s); n >= 2 && s[0] == s[n-1] && (s[0] == '\'' || s[0] == '"') {
		s = s[1 : n-1]
	}
	return strings.ToUpper(strings.TrimSpace(s))
}
