package conformance

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// policies tries each binlog policy with each account under each global format. On a
// server that is not private it tries only the format that the server has.
func (s *suite) policies(t *testing.T) string {
	if s.facts.Format == "" {
		return notHere
	}
	root := openPlain(t, s.Root)
	formats := s.globalFormats(t, root)
	accounts := []account{s.accountOf(t, s.Root)}
	if s.App != "" {
		accounts = append(accounts, s.accountOf(t, s.App))
	}
	for _, format := range formats {
		if len(formats) > 1 {
			testserver.Exec(t, root, "SET GLOBAL binlog_format = '"+format+"'")
		}
		for _, a := range accounts {
			t.Run(fmt.Sprintf("%s, can set it: %v", format, a.canSet), func(t *testing.T) { s.policiesOf(t, a, format) })
		}
	}
	cell := "ok under " + strings.Join(formats, ", ")
	if s.facts.FormatIgnored {
		cell += "; SET is ignored"
	}
	if s.Want != nil && s.Want.FixedFormat != 0 {
		cell += fmt.Sprintf("; other formats: %d", s.Want.FixedFormat)
	}
	if s.Want != nil && s.Want.OnlyRow != 0 {
		cell += fmt.Sprintf("; writes except in ROW: %d", s.Want.OnlyRow)
	}
	return cell
}

// globalFormats returns the formats to try. The server's own format is restored after the
// test.
func (s *suite) globalFormats(t *testing.T, root *sql.DB) []string {
	if !s.Private || s.facts.FormatIgnored {
		return []string{s.facts.Format}
	}
	_, err := root.ExecContext(t.Context(), "SET GLOBAL binlog_format = 'STATEMENT'")
	wantFact(t, s, "SET GLOBAL binlog_format = 'STATEMENT'", number(err), func(f Facts) uint16 { return f.FixedFormat })
	if err != nil {
		return []string{s.facts.Format}
	}
	t.Cleanup(func() {
		if _, err := root.ExecContext(context.WithoutCancel(t.Context()), "SET GLOBAL binlog_format = '"+s.facts.Format+"'"); err != nil {
			t.Error(err)
		}
	})
	return []string{"STATEMENT", "MIXED", "ROW"}
}

// policiesOf tries each policy with one account under one global format.
func (s *suite) policiesOf(t *testing.T, a account, global string) {
	refused := global == "STATEMENT" && s.facts.statementRefused()
	s.wantBare(t, a, "", global)
	s.wantBare(t, a, "binlog=row", global)

	if required := open(t, a.dsn, "binlog=require-row"); a.canSet {
		s.wantSession(t, required, "READ-COMMITTED", "ROW")
	} else {
		wantInitError(t, required.PingContext(t.Context()), a.refused, "require-row", "GRANT")
	}

	if asserted := open(t, a.dsn, "binlog=assert"); refused {
		wantInitError(t, asserted.PingContext(t.Context()), errWrongValue, "1665")
	} else {
		s.wantSession(t, asserted, "READ-COMMITTED", global)
	}

	unchanged := open(t, a.dsn, "binlog=server")
	s.wantSession(t, unchanged, "READ-COMMITTED", global)
	var want uint16
	if refused {
		want = errNoRowLog
	}
	if s.Want != nil && s.Want.OnlyRow != 0 && global != "ROW" {
		want = s.Want.OnlyRow
	}
	s.wantWrite(t, unchanged, want)
}

// wantWrite checks the error of a write in the server's own format (0: none). It shows that
// the policies refuse only what the server would refuse later.
func (s *suite) wantWrite(t *testing.T, db *sql.DB, want uint16) {
	t.Helper()
	name := table(t, openPlain(t, s.Root), "policies", "id INT PRIMARY KEY")
	_, err := db.ExecContext(t.Context(), "INSERT INTO "+name+" VALUES (1)")
	if number(err) != want || err != nil && want == 0 {
		t.Errorf("a write in the server's own format: got %v, want error %d", err, want)
	}
}
