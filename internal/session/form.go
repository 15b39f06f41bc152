package session

import (
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

// statement writes the SET of our own items and of variables. Our items come first, so
// that nothing in a value of the DSN can comment them out.
func (c *Config) statement(f Form, variables []sysvar.Variable) *statement {
	const (
		formatItem = "@@SESSION." + sysvar.BinlogFormat
		logBin     = "@@GLOBAL.log_bin"
	)
	s := &statement{form: f}
	introducer := c.introducer()
	quote := func(literal string) string { return introducer + "'" + literal + "'" }
	level := sysvar.LevelName(c.Isolation.Level)
	var items itemList
	isolationItem := func(value string) {
		s.namesIsolation = true
		items.add("@@SESSION."+f.name, value)
	}
	switch {
	case level == "":
	case f.binlog == assertBinlog:
		log := logBin
		if f.galera {
			log = "(" + logBin + " OR @@wsrep_on)"
		}
		isolationItem("IF(" + formatItem + " = " + quote("STATEMENT") + " AND " + log + ", " + quote(sysvar.StatementFormatText) + ", " + quote(level) + ")")
	case f.binlog == leaveBinlog && c.Binlog.Format == "" && len(variables) == 0:
		// Every dialect takes this form, and SQL proxies follow it.
		s.text = "SET SESSION TRANSACTION ISOLATION LEVEL " + sysvar.SpacedLevelName(c.Isolation.Level)
		return s
	default:
		isolationItem(quote(level))
	}
	if f.binlog == setBinlog {
		items.add(formatItem, quote("ROW"))
	}
	if c.Isolation.Expr != "" {
		isolationItem(c.Isolation.Expr)
	}
	if c.Binlog.Format != "" {
		items.add(formatItem, c.Binlog.Format)
	}
	for _, v := range variables {
		items.add(v.Name, v.Value)
	}
	s.text = items.text.String()
	return s
}

// itemList is the text of a SET under construction.
type itemList struct{ text strings.Builder }

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
