package mysqlinit

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
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

// WithConnectTimeout bounds dial, handshake and preparation together. Zero
// means no bound; a negative duration is an error. The default is
// [DefaultConnectTimeout]. It matters because database/sql also connects in the
// background, with a context that never ends. The error at its expiry has a
// Timeout method that returns true.
func WithConnectTimeout(d time.Duration) Option {
	return func(s *settings) error {
		if d < 0 {
			return fmt.Errorf("mysqlinit: WithConnectTimeout(%v): a duration must not be negative; 0 means no bound", d)
		}
		s.connectTimeout = given(d)
		return nil
	}
}

// WithLogger logs what was learned about a server, once each time it changes:
// the isolation variable's name, and whether binlog_format may be set. Nil, the
// default, logs nothing. No password and no literal of a statement is logged.
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
	expr  string // the value of transaction_isolation in a DSN that is no level's name
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
	connectTimeout setting[time.Duration]
	initCommands   []string
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
	s.connectTimeout = s.connectTimeout.or(over.connectTimeout)
	s.initCommands = append(s.initCommands[:len(s.initCommands):len(s.initCommands)], over.initCommands...)
	return s
}

func (s setting[T]) or(over setting[T]) setting[T] {
	if over.given {
		return over
	}
	return s
}

func (s setting[T]) contradicts(other setting[T]) bool {
	return s.given && other.given && s.value != other.value
}

// contradiction says where options and the DSN that they came with disagree.
func contradiction(opts, dsn settings) error {
	var errs []error
	report := func(contradicts bool, option, key string) {
		if contradicts {
			errs = append(errs, fmt.Errorf("mysqlinit: %s contradicts %s of the DSN: give one of them", option, key))
		}
	}
	report(opts.isolation.contradicts(dsn.isolation), "WithIsolation", "isolation")
	report(opts.binlog.contradicts(dsn.binlog) && !sameBinlog(opts.binlog.value, dsn.binlog.value), "WithBinlog", "binlog (or binlog_format)")
	report(opts.verify.contradicts(dsn.verify), "WithVerify", "verify")
	report(opts.connectTimeout.contradicts(dsn.connectTimeout), "WithConnectTimeout", "connectTimeout")
	return errors.Join(errs...)
}

// sameBinlog tells whether two choices agree: binlog_format=ROW is what the
// policies row and require-row set.
func sameBinlog(a, b binlog) bool {
	if a.format == "" {
		a, b = b, a
	}
	return a == b || b.format == "" && literal(a.format) == "ROW" && (b.policy == BinlogRow || b.policy == BinlogRequireRow)
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
	toks := tokenize(statement)
	for len(toks) > 0 && toks[0].punct(';') {
		toks = toks[1:]
	}
	if len(toks) == 0 {
		return errors.New("mysqlinit: an init command is empty: it takes one SQL statement")
	}
	for _, a := range assignments(toks) {
		switch a.name {
		case "transaction":
			if a.scope == "" {
				return errors.New("mysqlinit: the init command SET TRANSACTION holds for the next transaction only: write SET SESSION TRANSACTION, or use isolation (WithIsolation)")
			}
		case "transaction_isolation", "tx_isolation", "transaction_read_only", "tx_read_only":
			if a.bare {
				return fmt.Errorf("mysqlinit: an init command that sets @@%[1]s holds for the next transaction only: write @@SESSION.%[1]s, or use isolation (WithIsolation)", a.name)
			}
		}
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
