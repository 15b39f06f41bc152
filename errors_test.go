package mysqlinit

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"
)

func TestInitErrorSaysWhatWhyAndCure(t *testing.T) {
	cause := &mysql.MySQLError{Number: 1231, Message: "Variable 'sql_mode' can't be set to the value of 'hunter2'"}
	err := error(newInitError("SET sql_mode = 'hunter2', @@SESSION.binlog_format = 'ROW'", "it failed", "do better", cause))
	const want = "mysqlinit: it failed: SET sql_mode = ?, @@SESSION.binlog_format = 'ROW': Error 1231: Variable 'sql_mode' can't be set to the value of '…'. Cure: do better"
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr != cause {
		t.Errorf("Unwrap gives %v", errors.Unwrap(err))
	}
}

func TestInitErrorHidesLiteralsAlsoOfOtherErrorsAndFormats(t *testing.T) {
	err := newInitError("SET PASSWORD = 'hunter2'", "it failed", "", errors.New("broken pipe while sending SET PASSWORD = 'hunter2'"))
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	if text := fmt.Sprintf("%#v", newInitError("SET PASSWORD = 'hunter2'", "it failed", "", io.EOF)); strings.Contains(text, "hunter2") {
		t.Errorf("got %s", text)
	}
}

// What a server sends steers no terminal and begins no line of a log.
func TestInitErrorIsOneShortLineOfPrintableText(t *testing.T) {
	message := "a\x1b[2J\r\nb\u009b31m\u202e\u2066\u200b\u2028\xff" + strings.Repeat("long ", 1000)
	for _, cause := range []error{errors.New(message), &mysql.MySQLError{Number: 1105, Message: message}} {
		text := newInitError("SET @a = 1", "it failed", "", cause).Error()
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.ValidString(text) || len(text) > 1000 {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	}
	if text := newInitError("SET @a = 1", "it failed", "", errors.New("ungültig: 構文 →")).Error(); !strings.HasSuffix(text, "ungültig: 構文 →") {
		t.Errorf("got %s", text)
	}
}

// Overlapping occurrences of a literal must not make masking quadratic.
func TestMaskingALongAnswer(t *testing.T) {
	literal := strings.Repeat("a", 1<<18)
	cause := &mysql.MySQLError{Number: 1231, Message: "the value of '" + strings.Repeat("a", 1<<24) + "'"}
	done := make(chan string, 1)
	go func() { done <- newInitError("SET @a = '"+literal+"'", "it failed", "", cause).Error() }()
	select {
	case text := <-done:
		if !strings.HasSuffix(text, "Error 1231: the value of '…'") {
			t.Errorf("got %s", text)
		}
	case <-time.After(20 * time.Second):
		t.Error("it takes longer than 20 s")
	}
}

func TestInitErrorIsNeverErrBadConn(t *testing.T) {
	for _, cause := range []error{driver.ErrBadConn, fmt.Errorf("wrapped: %w", driver.ErrBadConn)} {
		err := newInitError("DO 1", "it failed", "", cause)
		if errors.Is(err, driver.ErrBadConn) || !strings.Contains(err.Error(), "rejectReadOnly") {
			t.Errorf("got %v", err)
		}
	}
}

func TestMaskLiterals(t *testing.T) {
	for statement, want := range map[string]string{
		"SET @a = 'x', @b = \"y\", @c = 42":            "SET @a = ?, @b = ?, @c = ?",
		"SET @a = 'it''s' -- 'secret'\n, b = `c``d`":   "SET @a = ? , b = `c``d`",
		"SET binlog_format = 'ROW', x = 'ROWS'":        "SET binlog_format = 'ROW', x = ?",
		"SET /*!80000 a = 'x' */ /* 'secret' */ b = 1": "SET a = ? b = ?",
		"SET a = 'x\\' b = 'secret'":                   "SET a = ?…",
		"SET a\n=\t'unclosed":                          "SET a = ?",
		"":                                             "",
	} {
		if got := maskLiterals(statement); got != want {
			t.Errorf("%s:\n got %s\nwant %s", statement, got, want)
		}
	}
}

func FuzzInitErrorHidesLiterals(f *testing.F) {
	f.Add("", uint8(0), true)
	f.Add("it's \\ \"quoted\"", uint8(20), false)
	f.Add("'; --", uint8(14), true)
	f.Fuzz(func(t *testing.T, rest string, cut uint8, single bool) {
		const secret = "hunter2"
		quote := `"`
		if single {
			quote = "'"
		}
		literal := quote + strings.NewReplacer(`\`, `\\`, quote, `\`+quote).Replace(secret+rest) + quote
		statement := "SET PASSWORD FOR app = PASSWORD(" + literal + "), @x = 1"
		for _, message := range []string{
			"near '" + statement[min(int(cut), len(statement)-1):] + "' at line 1",
			"Variable 'x' can't be set to the value of '" + secret + rest + "'",
			"the value of " + secret + rest,
		} {
			err := newInitError(statement, "it failed", "", &mysql.MySQLError{Number: 1064, Message: message})
			if strings.Contains(strings.ToLower(err.Error()), secret) {
				t.Errorf("%q with %q: %v", statement, message, err)
			}
		}
	})
}
