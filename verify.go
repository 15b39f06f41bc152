package mysqlinit

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// verifySession reads isolation level and binlog format back.
func (s *session) verifySession(ctx context.Context, conn driver.Conn, f form) error {
	wantLevel, wantFormat := s.expected(f)
	for _, name := range []string{f.name, map[string]string{newName: oldName, oldName: newName}[f.name]} {
		// LIMIT 1 stands above a sql_select_limit of 0.
		query := "SELECT @@SESSION." + name + ", @@SESSION.binlog_format LIMIT 1"
		row, err := queryRow(ctx, conn, query, 2)
		if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok && serverErr.Number == errUnknownVariable {
			if quotes(serverErr.Message, "binlog_format") && wantFormat == "" {
				query = "SELECT @@SESSION." + name + ", '' LIMIT 1"
				row, err = queryRow(ctx, conn, query, 2)
			} else if quotes(serverErr.Message, name) && name == f.name {
				continue
			}
		}
		if err != nil {
			return newInitError(query, phaseVerify.failed(), "", err)
		}
		if name != f.name { // the SET did not say the name: learn it, to ask once the next time
			f.name = name
			s.learned.Store(s.statement(f))
		}
		return mismatch(query, row, wantLevel, wantFormat)
	}
	return nil // not reached: the last name returns
}

func mismatch(query string, row []string, wantLevel, wantFormat string) error {
	var wrong []string
	if wantLevel != "" && !strings.EqualFold(row[0], wantLevel) {
		wrong = append(wrong, fmt.Sprintf("isolation level %s instead of %s", oneLine(row[0]), wantLevel))
	}
	if wantFormat != "" && !strings.EqualFold(row[1], wantFormat) {
		wrong = append(wrong, fmt.Sprintf("binlog_format %s instead of %s", oneLine(row[1]), wantFormat))
	}
	if len(wrong) == 0 {
		return nil
	}
	return newInitError(query, "verify found "+strings.Join(wrong, " and "),
		"look for an init command, a variable of the DSN or a proxy in between that changes the session; without verify the difference would go unseen", nil)
}

// expected returns what verify shall find, "" where anything is right. What an
// init command chose last counts.
func (s *session) expected(f form) (level, format string) {
	level = levelNames[s.isolation.level]
	switch {
	case s.binlog.format != "":
		format = publicWord(s.binlog.format)
	case f.binlog == setBinlog:
		format = "ROW"
	}
	var chosen []assignment
	for _, command := range s.initCommands {
		for _, statement := range splitTop(tokenize(command), ';') { // with multiStatements it may be several
			chosen = append(chosen, assignments(statement)...)
		}
	}
	for _, a := range chosen {
		if a.scope == "global" || strings.HasPrefix(a.scope, "persist") {
			continue
		}
		words := make([]string, len(a.value))
		for i, t := range a.value {
			words[i] = t.text
		}
		value := strings.Join(words, " ")
		switch a.name {
		case "transaction":
			if _, rest, ok := strings.Cut(strings.ToUpper(value), "ISOLATION LEVEL "); ok {
				rest, _, _ = strings.Cut(rest, " ,") // READ ONLY or READ WRITE may follow
				level = levelWord(rest)
			}
		case newName, oldName:
			level = levelWord(value)
		case "binlog_format":
			format = publicWord(value)
		}
	}
	return level, format
}

func levelWord(value string) string {
	level, _ := levelByName(value)
	return levelNames[level]
}

// publicWord returns ROW, MIXED or STATEMENT, and "" for any other expression.
func publicWord(value string) string {
	switch word := literal(value); word {
	case "ROW", "MIXED", "STATEMENT":
		return word
	}
	return ""
}
