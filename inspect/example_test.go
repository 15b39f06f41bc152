package inspect_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"log/slog"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/inspect"
)

// The code of docs/check.md. TestDocsCodeCompiles compares the two.

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

// The report then also covers what the DSN sets and what it leaves out.
func ExampleWithConfig() {
	cfg, err := mysql.ParseDSN("user:password@tcp(db:3306)/app")
	if err != nil {
		log.Fatal(err)
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		log.Fatal(err)
	}
	report, err := inspect.Session(context.Background(), sql.OpenDB(connector), inspect.WithConfig(cfg))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Session.Isolation, report.Session.BinlogFormat)
}

// A health check that fails if something goes wrong now.
func ExampleWorst() {
	findings := []inspect.Finding{{ID: "wait-timeout", Severity: inspect.Warning}, {ID: "read-timeout-unset", Severity: inspect.Info}}
	worst := inspect.Worst(findings)
	fmt.Println(worst, worst >= inspect.Error)
	// Output: warning false
}

// A program sorts its own findings in with those of a report.
func ExampleSort() {
	findings := []inspect.Finding{{ID: "not-innodb", Severity: inspect.Warning}, {ID: "our-schema-old", Severity: inspect.Error}}
	inspect.Sort(findings)
	fmt.Println(findings[0].ID)
	// Output: our-schema-old
}
