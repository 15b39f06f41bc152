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
// The command "mysqlinit check" prints the same. It only reads.
package inspect
