// Package inspect tells what state a session and its server are in, as far as they
// matter to READ COMMITTED and row-based logging, to get-or-create code, and to transactions, and what
// to do about it.
//
//	report, err := inspect.Session(ctx, db)
//	if err != nil {
//		return err
//	}
//	for _, finding := range report.Findings {
//		if finding.Severity >= inspect.Warning {
//			slog.Warn(finding.What, "id", finding.ID, "cure", finding.Cure)
//		}
//	}
//
// # Findings
//
// Each [Finding] says what is the case, why it matters and what to do about it on that
// server. [Info] is what any healthy server shows, a [Warning] goes wrong some day, an
// [Error] now. The list is in
// https://github.com/mysqlinit/mysqlinit/blob/main/docs/check.md.
//
// # What it does to the server
//
// It only reads, in seven to ten round trips on one connection, and needs no privilege:
// what an account may not see is left out, or said to be unknown.
//
// # The command
//
// "mysqlinit check DSN" prints the same, for sessions with this driver and without it.
package inspect
