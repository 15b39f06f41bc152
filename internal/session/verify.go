package session

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"github.com/mysqlinit/mysqlinit/internal/driverconn"
	"github.com/mysqlinit/mysqlinit/internal/sqltext"
	"github.com/mysqlinit/mysqlinit/internal/sysvar"
)

// verify reads isolation level and binlog format back.
func (s *Session) verify(ctx context.Context, conn driver.Conn, f Form) *Failure {
	wantLevel, wantFormat := s.expected(f)
	query, row, err := readBack(ctx, conn, f.name, wantFormat != "")
	if serverErr := serverError(err); serverErr != nil && serverErr.Number == errUnknownVariable && names(serverErr.Message, f.name) {
		// The SET did not tell us which name the server knows. Learn it, so that the
		// next connection asks once.
		f.name = sysvar.OtherIsolationName(f.name)
		if query, row, err = readBack(ctx, conn, f.name, wantFormat != ""); err == nil {
			s.learned.Store(&lesson{s.statement(f, s.Variables), driverconn.Account(conn), time.Now()})
		}
	}
	if err != nil {
		return &Failure{Statement: query, Reason: PhaseVerify.Failed(), Err: err}
	}
	return mismatch(query, row, wantLevel, wantFormat)
}

// readBack asks for the isolation level by this name, and for the binlog format.
// A server need not know the format, unless it is needed.
func readBack(ctx context.Context, conn driver.Conn, name string, needsFormat bool) (query string, row []string, err error) {
	// LIMIT 1 overrides a sql_select_limit of 0.
	query = "SELECT @@SESSION." + name + ", @@SESSION." + sysvar.BinlogFormat + " LIMIT 1"
	row, err = driverconn.QueryRow(ctx, conn, query, 2)
	if serverErr := serverError(err); serverErr != nil && serverErr.Number == errUnknownVariable && names(serverErr.Message, sysvar.BinlogFormat) && !needsFormat {
		query = "SELECT @@SESSION." + name + ", '' LIMIT 1"
		row, err = driverconn.QueryRow(ctx, conn, query, 2)
	}
	return query, row, err
}

func mismatch(query string, row []string, wantLevel, wantFormat string) *Failure {
	var wrong []string
	if wantLevel != "" && !strings.EqualFold(row[0], wantLevel) {
		wrong = append(wrong, fmt.Sprintf("isolation level %s instead of %s", sqltext.OneLine(row[0]), wantLevel))
	}
	if wantFormat != "" && !strings.EqualFold(row[1], wantFormat) {
		wrong = append(wrong, fmt.Sprintf("binlog_format %s instead of %s", sqltext.OneLine(row[1]), wantFormat))
	}
	if len(wrong) == 0 {
		return nil
	}
	return &Failure{
		Statement: query,
		Reason:    "verify found " + strings.Join(wrong, " and "),
		Cure:      "look for an init command, a variable of the DSN or a proxy in between that changes the session; without verify the difference would go unseen",
	}
}

// expected returns what verify has to find, "" if anything is right. What an init
// command chose last counts.
func (s *Session) expected(f Form) (level, format string) {
	level = sysvar.LevelName(s.Isolation.Level)
	switch {
	case s.Binlog.Format != "":
		format = sysvar.ParseBinlogFormat(s.Binlog.Format)
	case f.binlog == setBinlog:
		format = "ROW"
	}
	for _, command := range s.InitCommands {
		for _, a := range sqltext.Assignments(command) {
			if !a.OfSession() {
				continue
			}
			switch a.Name {
			case "transaction":
				if _, rest, ok := strings.Cut(strings.ToUpper(a.Value), "ISOLATION LEVEL "); ok {
					rest, _, _ = strings.Cut(rest, " ,") // READ ONLY or READ WRITE can follow
					level = levelNamed(rest)
				}
			case sysvar.TransactionIsolation, sysvar.TxIsolation:
				level = levelNamed(a.Value)
			case sysvar.BinlogFormat:
				format = sysvar.ParseBinlogFormat(a.Value)
			}
		}
	}
	return level, format
}

func levelNamed(text string) string {
	level, _ := sysvar.ParseLevel(text)
	return sysvar.LevelName(level)
}
