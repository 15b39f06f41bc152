package containers

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/testcontainers/testcontainers-go"
	tcmysql "github.com/testcontainers/testcontainers-go/modules/mysql"

	_ "github.com/mysqlinit/mysqlinit"
)

func openContainer(ctx context.Context, container *tcmysql.MySQLContainer) (*sql.DB, error) {
	dsn, err := container.ConnectionString(ctx)
	if err != nil {
		return nil, err
	}
	return sql.Open("mysqlinit", dsn) // was "mysql"
}

// A transaction loses the race of get-or-create and still sees the winner's row.
func TestContainer(t *testing.T) {
	testcontainers.SkipIfProviderIsNotHealthy(t) // with the reason
	container, err := tcmysql.Run(t.Context(), "mysql:8.4")
	testcontainers.CleanupContainer(t, container)
	if err != nil {
		t.Fatal(err)
	}
	db, err := openContainer(t.Context(), container)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE names (name VARCHAR(20) PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	var isolation string
	err = tx.QueryRowContext(t.Context(), "SELECT @@SESSION.transaction_isolation").Scan(&isolation)
	if err != nil || isolation != "READ-COMMITTED" {
		t.Errorf("the isolation level is %q; %v", isolation, err)
	}
	get := func() error {
		return tx.QueryRowContext(t.Context(), "SELECT name FROM names WHERE name = 'ann'").Scan(new(string))
	}
	const insert = "INSERT INTO names (name) VALUES ('ann')"
	if err := get(); !errors.Is(err, sql.ErrNoRows) {
		t.Fatalf("before the race: %v", err)
	}
	if _, err := db.ExecContext(t.Context(), insert); err != nil {
		t.Fatal(err)
	}
	_, err = tx.ExecContext(t.Context(), insert)
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); !ok || serverErr.Number != 1062 {
		t.Fatalf("got %v, want error 1062", err)
	}
	if err := get(); err != nil {
		t.Errorf("after the race: %v", err)
	}
}
