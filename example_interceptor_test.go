package mysqlinit_test

import (
	"context"
	"database/sql/driver"
	"log"
	"log/slog"

	"github.com/ngrok/sqlmw"

	"github.com/mysqlinit/mysqlinit"
)

// failures logs statements that fail.
type failures struct {
	sqlmw.NullInterceptor // all that is not overridden passes through
}

func (failures) ConnExecContext(ctx context.Context, conn driver.ExecerContext, query string, args []driver.NamedValue) (driver.Result, error) {
	result, err := conn.ExecContext(ctx, query, args)
	if err != nil {
		slog.WarnContext(ctx, "statement failed", "query", query, "err", err)
	}
	return result, err
}

// The interceptor sees a connection only after it has been prepared.
func ExampleWithInterceptor() {
	db, err := mysqlinit.Open("user:password@tcp(db:3306)/app", mysqlinit.WithInterceptor(failures{}))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}
