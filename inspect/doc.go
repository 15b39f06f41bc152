// Package inspect reports how a session and its server are set up, and what to
// do about it. It looks at what matters to READ COMMITTED and row-based logging,
// to get-or-create code, and to transactions.
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
// Each [Finding] says what is the case, why it matters, and what to do about it
// on that server, with lines to copy in Commands. An [Info] is normal on a healthy
// server, a [Warning] goes wrong some day, an [Error] goes wrong now. All findings
// are listed in
// https://github.com/mysqlinit/mysqlinit/blob/main/docs/check.md.
//
// # What it does to the server
//
// It only reads, in seven to ten round trips on one connection. On Vitess it
// visits each shard, in three round trips. It needs no privilege: what an account
// is not allowed to see is left out, or reported as unknown.
//
// # The command
//
// "mysqlinit check DSN" prints the same, for a session with this driver and one
// without it.
package inspect
