package session

import (
	"cmp"
	"database/sql"
	"strings"

	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// Form is one way to write the SET. Which one a server takes depends on its
// kind, its version and the account.
type Form struct {
	name   string // of the isolation level's variable
	binlog binlogForm
	galera bool // the assertion asks for wsrep_on too, which only MariaDB knows
}

// binlogForm is what the SET does about binlog_format.
type binlogForm byte

const (
	leaveBinlog  binlogForm = iota
	setBinlog               // @@SESSION.binlog_format = 'ROW'
	assertBinlog            // refuse STATEMENT, in the isolation level's own item
)

// String is for the log.
func (b binlogForm) String() string {
	switch b {
	case setBinlog:
		return "set to ROW"
	case assertBinlog:
		return "asserted not to be STATEMENT"
	}
	return "left alone"
}

// statement is a SET that can be sent.
type statement struct {
	form           Form
	text           string // "" if there is nothing to set
	namesIsolation bool   // it sets the isolation level by the variable's name
}

// statement writes the SET of our own items and of variables. Our items come
// first, so that nothing in a value of the DSN can comment them out. Only a level
// that the DSN writes as a variable keeps its place: some variables have to be
// set before it.
func (c *Config) statement(f Form, variables []sysvar.Variable) *statement {
	const formatItem = "@@SESSION." + sysvar.BinlogFormat
	if c.Isolation.Level != sql.LevelDefault && f.binlog == leaveBinlog && c.Binlog.Format == "" && len(variables) == 0 {
		// Every dialect takes this form, and SQL proxies follow it.
		return &statement{form: f, text: "SET SESSION TRANSACTION ISOLATION LEVEL " + sysvar.SpacedLevelName(c.Isolation.Level)}
	}
	quote := c.quoter()
	level := c.levelValue(f, quote)
	before := min(c.LevelAfter, len(variables))
	var items itemList
	if before == 0 {
		items.addLevel(f.name, level)
	}
	if f.binlog == setBinlog {
		items.add(formatItem, quote("ROW"))
	}
	if c.Binlog.Format != "" {
		items.add(formatItem, c.Binlog.Format)
	}
	for i, v := range variables {
		items.add(v.Name, v.Value)
		if i+1 == before {
			items.addLevel(f.name, level)
		}
	}
	return &statement{form: f, text: items.text.String(), namesIsolation: level != ""}
}

// levelValue is the SQL for the isolation level, with the check of binlog_format
// in it if the form has one. It is "" if the level is left to the server.
func (c *Config) levelValue(f Form, quote func(string) string) string {
	const isStatement = "@@SESSION." + sysvar.BinlogFormat + " = "
	name := sysvar.LevelName(c.Isolation.Level)
	if name == "" || f.binlog != assertBinlog {
		if name != "" {
			name = quote(name)
		}
		return cmp.Or(name, c.Isolation.Expr)
	}
	log := "@@GLOBAL.log_bin"
	if f.galera {
		log = "(" + log + " OR @@wsrep_on)"
	}
	return "IF(" + isStatement + quote("STATEMENT") + " AND " + log + ", " + quote(sysvar.StatementFormatText) + ", " + quote(name) + ")"
}

// itemList is the text of a SET under construction.
type itemList struct{ text strings.Builder }

func (l *itemList) addLevel(name, value string) {
	if value != "" {
		l.add("@@SESSION."+name, value)
	}
}

func (l *itemList) add(name, value string) {
	if l.text.Len() == 0 {
		l.text.WriteString("SET ")
	} else {
		l.text.WriteString(", ")
	}
	l.text.WriteString(name + " = " + value)
	if strings.Contains(value, "--") || strings.Contains(value, "#") {
		l.text.WriteByte('\n') // a comment in the value ends here, before the next item
	}
}
