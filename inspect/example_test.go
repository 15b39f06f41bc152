package inspect_test

import (
	"context"
	"database/sql"
	"log"
	"log/slog"

	"github.com/mysqlinit/mysqlinit/inspect"
)

// The code of docs/check.md. TestDocsCodeCompiles compares.

func warnOfDatabase(ctx context.Context, db *sql.DB) error {
	report, err := inspect.Session(ctx, db)
	if err != nil {
		return err
	}
	for _, finding := range report.Findings {
		if finding.Severity >= inspect.Warning {
			slog.WarnContext(ctx, finding.What, "id", finding.ID, "cure", finding.Cure)
		}
	}
	return nil
}

func ExampleSession() {
	var db *sql.DB // the program's pool
	if err := warnOfDatabase(context.Background(), db); err != nil {
		log.Fatal(err)
	}
}
