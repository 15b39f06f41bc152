package sqltext

import (
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
)

func TestMask(t *testing.T) {
	for statement, want := range map[string]string{
		"SET @a = 'x', @b = \"y\", @c = 42":            "SET @a = ?, @b = ?, @c = ?",
		"SET @a = 'it''s' -- 'secret'\n, b = `c``d`":   "SET @a = ? , b = `c``d`",
		"SET binlog_format = 'ROW', x = 'ROWS'":        "SET binlog_format = 'ROW', x = ?",
		"SET /*!80000 a = 'x' */ /* 'secret' */ b = 1": "SET a = ? b = ?",
		"SET a = 'x\\' b = 'secret'":                   "SET a = ?…",
		"SET a\n=\t'unclosed":                          "SET a = ?",
		"":                                             "",
	} {
		if got := Mask(statement); got != want {
			t.Errorf("%s:\n got %s\nwant %s", statement, got, want)
		}
	}
}

// These cases were found by fuzzing.
func TestMaskAnswer(t *testing.T) {
	for _, test := range []struct{ statement, message, want string }{
		// Cut by the server, before the closing quote or in a literal.
		{"SET a = 'hunter2 and more'", "the value of 'hunter2 an", "the value of '…'"},
		{"SET a = 'hunter2''s and more'", "near 'hunter2''s an", "near '…'"},
		{"SET a = 0x68756e746572", "the value of 0x6875", withheld},
		// A name, and the introducer of a literal, which looks like one.
		{"SET @x = X'68756e746572'", "near 'X'68756e74' at line 1", "near '…'"},
		{"SET x = N'hunter2'", "near 'N'hunter' at line 1", "near '…'"},
		{"SET a = 1", "Unknown system variable 'a'", "Unknown system variable 'a'"},
		{"SET a = b / c", "Unknown column 'b' in 'field list'", "Unknown column 'b' in 'field list'"},
		// A literal that ends with a backslash under NO_BACKSLASH_ESCAPES.
		{`SET a = 'hunter2\', b = 'more'`, `unknown word 'more'`, "unknown word '…'"},
		{`SET a = 'hunter2\', b = 1`, `the value of hunter2\`, withheld},
		// TiDB quotes with the other quote.
		{"SET a = 0x68756e746572", `line 1 column 9 near "68756e746572"`, "line 1 column 9 near '…'"},
	} {
		if got := MaskAnswer(test.statement, &mysql.MySQLError{Number: 1064, Message: test.message}); got != "Error 1064: "+test.want {
			t.Errorf("%s, %s:\n got %s\nwant %s", test.statement, test.message, got, test.want)
		}
	}
	if got := MaskAnswer(`SET a = 'hunter2"s'`, fmt.Errorf("cannot send %q", `SET a = 'hunter2"s'`)); got != withheld {
		t.Errorf("got %s", got)
	}
}
