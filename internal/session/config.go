// Package session makes the session of a new connection what was asked for. A
// [Config] says what that is; a [Session] sends it, and remembers how this server
// wants it written.
package session

import (
	"database/sql"
	"log/slog"
	"slices"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// Config is what a session is asked to be. It does not change once a Session has
// it.
type Config struct {
	Isolation    Isolation
	Binlog       Binlog
	LevelAfter   int               // how many of Variables stand before the isolation level
	Variables    []sysvar.Variable // further variables of the one SET, in this order
	SentByDriver []sysvar.Variable // variables that the MySQL driver has set before
	InitCommands []string          // run after the SET, one round trip each
	Multi        bool              // a query can be several statements
	Verify       bool              // read the session back at the end
	Logger       *slog.Logger      // told what was learned; never nil
}

// Isolation is a level, or the user's own expression for it. The zero value
// leaves the server's level.
type Isolation struct {
	Level sql.IsolationLevel
	Expr  string // a value of transaction_isolation that names no level; Level is then LevelDefault
}

// Binlog is what to do about the session's binlog_format: a policy of two
// booleans, or the user's own format. The zero value leaves the server's format
// and does not look at it.
type Binlog struct {
	Set    bool   // set ROW; with Assert too, assert if it cannot be set
	Assert bool   // refuse a session that logs in STATEMENT format
	Format string // a value of binlog_format, as written; replaces the policy
}

// SetsIsolation reports whether the SET sets the isolation level.
func (c *Config) SetsIsolation() bool { return c.Isolation != Isolation{} }

// quoter returns a function that makes a literal of our own text. Under utf16 and its like
// MySQL takes the letters of 'READ-COMMITTED' for others, unless their character
// set stands before them.
func (c *Config) quoter() func(text string) string {
	choosesCharset := func(v sysvar.Variable) bool {
		name := v.BareName()
		return name == "character_set_connection" || name == "collation_connection"
	}
	if slices.ContainsFunc(c.Variables, choosesCharset) || slices.ContainsFunc(c.SentByDriver, choosesCharset) {
		return func(text string) string { return "_latin1'" + text + "'" }
	}
	return func(text string) string { return "'" + text + "'" }
}
