package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/mysqlinit/mysqlinit/internal/scripted"
)

// dirt steers a terminal that receives it unchanged.
const dirt = "\x1b[2J\x1b]0;owned\x07\r\nforged\x00\u009b31m\u202e\u2066\u200b\u2028\xff'"

// dirtyAnswer answers for a session in which more follows every text.
func dirtyAnswer(statement, more string) []byte {
	rows := func(columns []string, rows ...[]string) []byte {
		set := scripted.Head(1, columns...)
		sequence := byte(len(columns)) + 2
		for _, row := range rows {
			set = append(set, scripted.Row(sequence, row...)...)
			sequence++
		}
		return append(set, scripted.End(sequence)...)
	}
	switch {
	case strings.HasPrefix(statement, "SELECT VERSION(), DATABASE()"):
		return rows([]string{"v", "d"}, []string{"8.0" + more, "app" + more})
	case strings.HasPrefix(statement, "SELECT @@version, CURRENT_USER()"):
		return rows([]string{"v", "u", "d", "c"}, []string{"8.0" + more, "app@%" + more, "app" + more, "1"})
	case strings.Contains(statement, "VARIABLES WHERE"):
		return rows([]string{"Variable_name", "Value"}, []string{"transaction_isolation", "READ-COMMITTED" + more},
			[]string{"binlog_format", "ROW" + more}, []string{"sql_mode", more}, []string{"version_comment", more}, []string{"init_connect", more},
			[]string{"binlog_do_db", more}, []string{"port", more}, []string{"time_zone", more})
	case strings.Contains(statement, "information_schema.TABLES"):
		return rows([]string{"name", "transactional", "primary"}, []string{"t" + more, "0", "0"})
	case strings.HasPrefix(statement, "SELECT @@SESSION."):
		return rows([]string{"level"}, []string{"READ-COMMITTED" + more})
	case strings.HasPrefix(statement, "SELECT"), strings.HasPrefix(statement, "SHOW"):
		return rows([]string{"name" + more}, []string{"1"})
	}
	return scripted.OK(1)
}

// hasForgedLine reports whether dirt begins a line, and not because it did not fit on
// the line before.
func hasForgedLine(text string) bool {
	const word = "forged"
	before := strings.Repeat(" ", mostColumns)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, word) && utf8.RuneCountInString(before+" "+word) < mostColumns {
			return true
		}
		before = line
	}
	return false
}

func TestDirtyServer(t *testing.T) {
	for name, more := range map[string]string{"dirt": dirt, "long": strings.Repeat("x", 1<<16-100)} {
		for _, fails := range []string{"", "SET", "SHOW SESSION", "SELECT VERSION", "INSERT", "login"} {
			script := scripted.Script{Answer: func(client net.Conn, statement string, number int) bool {
				if fails != "" && strings.HasPrefix(statement, fails) {
					return scripted.Send(client, scripted.Error(1, 1105, more))
				}
				return scripted.Send(client, dirtyAnswer(statement, more))
			}}
			if fails == "login" {
				script.Auth = scripted.Error(2, 1045, more)
			}
			dsn := scripted.Start(t, script).DSN("time_zone=%27UTC%27")
			for _, command := range [][]string{{"check", dsn}, {"check", "-json", dsn}, {"race", "-force", "-workers", "2", "-keys", "2", dsn}} {
				t.Run(name+"/"+fails+"/"+strings.Join(command[:len(command)-1], " "), func(t *testing.T) {
					var stdout, stderr strings.Builder
					run(t.Context(), command, &stdout, &stderr)
					text := stdout.String() + stderr.String()
					if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
						t.Errorf("not printable: %.2000q", text)
					}
					if text == "" || hasForgedLine(text) {
						t.Errorf("empty, or with a forged line: %.2000q", text)
					}
					if command[1] != "-json" {
						if len(text) > 1<<15 {
							t.Errorf("%d bytes", len(text))
						}
					} else if stdout.Len() > 0 {
						var c checked
						if err := json.Unmarshal([]byte(stdout.String()), &c); err != nil {
							t.Error(err)
						} else if c.Failure != nil {
							if c.Failure.Text == "" {
								t.Error("a failure without a text")
							}
						} else if want := "8.0" + strings.ToValidUTF8(more, "\ufffd"); c.Server.Version != want {
							t.Errorf("the version in the JSON is %.500q", c.Server.Version)
						}
					}
				})
			}
		}
	}
}
