package mysqlinit

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/session"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

func TestInitErrorSaysWhatWhyAndCure(t *testing.T) {
	cause := &mysql.MySQLError{Number: 1231, Message: "Variable 'sql_mode' can't be set to the value of 'hunter2'"}
	err := error(failureOf("SET sql_mode = 'hunter2', @@SESSION.binlog_format = 'ROW'", "it failed", "do better", cause))
	const want = "mysqlinit: it failed. Cure: do better. Answer: Error 1231: Variable 'sql_mode' can't be set to the value of '…'. Statement: SET sql_mode = ?, @@SESSION.binlog_format = 'ROW'"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr != cause {
		t.Errorf("Unwrap gives %v", errors.Unwrap(err))
	}
}

func TestInitErrorHidesLiteralsAlsoOfOtherErrorsAndFormats(t *testing.T) {
	err := failureOf("SET PASSWORD = 'hunter2'", "it failed", "", errors.New("broken pipe while sending SET PASSWORD = 'hunter2'"))
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	if text := fmt.Sprintf("%#v", failureOf("SET PASSWORD = 'hunter2'", "it failed", "", io.EOF)); strings.Contains(text, "hunter2") {
		t.Errorf("got %s", text)
	}
}

// What a server sends steers no terminal and begins no line of a log.
func TestInitErrorIsOneShortLineOfPrintableText(t *testing.T) {
	message := "a\x1b[2J\r\nb\u009b31m\u202e\u2066\u200b\u2028\xff" + strings.Repeat("long ", 1000)
	for _, cause := range []error{errors.New(message), &mysql.MySQLError{Number: 1105, Message: message}} {
		text := failureOf("SET @a = 1", "it failed", "", cause).Error()
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(text) || len(text) > 1000 {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	}
	if text := failureOf("SET @a = 1", "it failed", "", errors.New("ungültig: 構文 →")).Error(); !strings.Contains(text, ". Answer: ungültig: 構文 →. ") {
		t.Errorf("got %s", text)
	}
}

// Overlapping occurrences of a literal must not make masking quadratic.
func TestMaskingALongAnswer(t *testing.T) {
	literal := strings.Repeat("a", 1<<18)
	cause := &mysql.MySQLError{Number: 1231, Message: "the value of '" + strings.Repeat("a", 1<<24) + "'"}
	done := make(chan string, 1)
	go func() { done <- failureOf("SET @a = '"+literal+"'", "it failed", "", cause).Error() }()
	select {
	case text := <-done:
		if !strings.Contains(text, ". Answer: Error 1231: the value of '…'. ") {
			t.Errorf("got %s", text)
		}
	case <-time.After(20 * time.Second):
		t.Error("masking took longer than 20 s")
	}
}

func TestInitErrorIsNeverErrBadConn(t *testing.T) {
	for _, cause := range []error{driver.ErrBadConn, fmt.Errorf("wrapped: %w", driver.ErrBadConn)} {
		err := failureOf("DO 1", "it failed", "", cause)
		if errors.Is(err, driver.ErrBadConn) || !strings.Contains(err.Error(), "rejectReadOnly") {
			t.Errorf("got %v", err)
		}
	}
}

func failureOf(statement, reason, cure string, err error) *InitError {
	return initError(&session.Failure{Statement: statement, Reason: reason, Cure: cure, Err: err})
}

// literalForms write a text as SQL may.
var literalForms = []func(text string) string{
	func(text string) string { return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'" },
	func(text string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"` },
	func(text string) string { return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(text) + "'" },
	func(text string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `""`).Replace(text) + `"` },
	func(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }, // NO_BACKSLASH_ESCAPES
	func(text string) string { return "_utf8mb4'" + strings.ReplaceAll(text, "'", "''") + "'" },
	func(text string) string { return "N'" + strings.ReplaceAll(text, "'", "''") + "'" },
	func(text string) string { return fmt.Sprintf("0x%x", text) },
	func(text string) string { return fmt.Sprintf("X'%X'", text) },
	func(text string) string { return fmt.Sprintf("_latin1 x'%x'", text) },
}

func hides(t *testing.T, statement string, cause error) {
	t.Helper()
	hidesIn(t, failureOf(statement, "it failed", "", cause).Error(), statement, cause)
}

func hidesIn(t *testing.T, text, statement string, cause error) {
	t.Helper()
	// The latter is the former in hexadecimal.
	if lower := strings.ToLower(text); strings.Contains(lower, "hunter2") || strings.Contains(lower, "68756e74657232") {
		t.Errorf("%q with %q: %s", statement, cause, text)
	}
	if len(text) > 1000 || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}

// FuzzInitErrorHidesLiterals lets servers quote what they were sent, or its value,
// from anywhere on and cut anywhere, as they cut messages at 512 bytes.
func FuzzInitErrorHidesLiterals(f *testing.F) {
	for form := range literalForms {
		f.Add("", uint16(20), uint16(0), uint8(form))
		f.Add("it's \\ \"quoted\"", uint16(35), uint16(40), uint8(form))
		f.Add("'; --", uint16(14), uint16(50), uint8(form))
		f.Add(strings.Repeat("long' ", 100), uint16(0), uint16(511), uint8(form))
	}
	f.Fuzz(func(t *testing.T, rest string, from, length uint16, form uint8) {
		const secret = "hunter2"
		literal := literalForms[int(form)%len(literalForms)](secret + rest)
		statement := "SET PASSWORD FOR app = PASSWORD(" + literal + "), @x = 1"
		near := statement[min(int(from), len(statement)-1):]
		for _, message := range []string{
			"near '" + near + "' at line 1",
			"near '" + near[:min(80, len(near))] + "' at line 1",
			`near "` + near + `" at line 1`,
			"Variable 'x' can't be set to the value of '" + secret + rest + "'",
			"Variable 'PASSWORD' can't be set to the value of '" + literal + "'",
			"the value of " + literal,
			"Duplicate entry '" + secret + rest + "' for key 'PRIMARY'",
		} {
			for _, message := range []string{message, message[:min(int(length), len(message))]} {
				hides(t, statement, &mysql.MySQLError{Number: 1064, Message: message})
			}
		}
		// An error that is not the server's can quote the statement, but not its values.
		hides(t, statement, errors.New("broken pipe while sending "+statement))
		hides(t, statement, fmt.Errorf("cannot send %q", literal))
	})
}

// FuzzInitErrorHidesSecretVariables does the same with a DSN's variables. Some of
// their values are shown, but not that of a user variable, or of one whose name
// sounds like a secret.
func FuzzInitErrorHidesSecretVariables(f *testing.F) {
	for form := range literalForms {
		for number := range secretVariableErrors {
			f.Add("", uint16(100), uint16(50), uint8(form), uint8(number))
			f.Add("'+01:00' it's \\ \"quoted\"", uint16(60), uint16(200), uint8(form), uint8(number))
		}
	}
	f.Fuzz(func(t *testing.T, rest string, from, length uint16, form, number uint8) {
		const secret = "hunter2"
		literal := literalForms[int(form)%len(literalForms)](secret + rest)
		for _, hidden := range []sysvar.Variable{
			{Name: "@tenant", Value: literal}, {Name: " @`my tenant`", Value: "CONCAT(" + literal + ", 'x')"},
			{Name: "session.api_key", Value: literal}, {Name: "PASSWORD", Value: literal}, {Name: "vault_token", Value: "IF(1, " + literal + ", '')"},
			{Name: "sql_mode", Value: "'ANSI', @tenant = " + literal}, {Name: "sql_mode", Value: "'ANSI', PASSWORD = " + literal}, {Name: "sql_mode", Value: "(@tenant := " + literal + ")"},
		} {
			s := session.New(session.Config{
				Variables: []sysvar.Variable{{Name: "time_zone", Value: "'+01:00'"}, hidden, {Name: "lock_wait_timeout", Value: "60"}},
				Logger:    slog.New(slog.DiscardHandler),
			})
			conn := new(troubledConn)
			if _, failure := s.Prepare(t.Context(), conn, new(session.Progress)); failure != nil {
				t.Fatal(failure.Err)
			}
			statement := conn.sent[0]
			near := statement[min(int(from), len(statement)-1):]
			for _, message := range []string{
				"near '" + near + "' at line 1",
				"Variable 'time_zone' can't be set to the value of '" + secret + rest + "'",
				"Variable 'time_zone' can't be set to the value of '+01:00', near '" + near + "'",
				"Unknown system variable '" + hidden.Name + " = " + literal + "'",
				"the value of " + literal,
			} {
				for _, message := range []string{message, message[:min(int(length), len(message))]} {
					cause := &mysql.MySQLError{Number: secretVariableErrors[int(number)%len(secretVariableErrors)], Message: message}
					conn.exec = cause
					_, failure := s.Prepare(t.Context(), conn, new(session.Progress))
					hidesIn(t, initError(failure).Error(), statement, cause)
				}
			}
		}
	})
}

// secretVariableErrors are the errors whose texts name a variable or its value.
var secretVariableErrors = []uint16{1054, 1064, 1193, 1210, 1227, 1229, 1231, 1232, 1238, 1298, 1621, 9999}

func TestInitErrorShowsWhatTheServerSaw(t *testing.T) {
	s := session.New(session.Config{
		Variables: []sysvar.Variable{{Name: "@pin", Value: "1234"}, {Name: "time_zone", Value: "' 08:00'"}, {Name: "wait_timeout", Value: "1234"}, {Name: "lock_wait_timeout", Value: "60"}},
		Logger:    slog.New(slog.DiscardHandler),
	})
	conn := &troubledConn{exec: &mysql.MySQLError{Number: 1298, Message: "Unknown or incorrect time zone: ' 08:00'"}}
	_, failure := s.Prepare(t.Context(), conn, new(session.Progress))
	// A number that is also in a secret value is secret.
	const want = "mysqlinit: the server refused time_zone, which the DSN sets: it does not take ' 08:00'. Cure: in a DSN a '+' stands for a space: write %2B. " +
		"Answer: Error 1298: Unknown or incorrect time zone: ' 08:00'. Statement: SET @pin = ?, time_zone = ' 08:00', wait_timeout = ?, lock_wait_timeout = 60"
	if got := initError(failure).Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
