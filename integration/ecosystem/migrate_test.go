//go:build ecosystem

package ecosystem

import (
	"database/sql"
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	migratemysql "github.com/golang-migrate/migrate/v4/database/mysql"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

func openMigrate(dsn string, migrations fs.FS) (*migrate.Migrate, error) {
	pool, err := sql.Open("mysqlinit", dsn) // with multiStatements=true, as migrate wants it
	if err != nil {
		return nil, err
	}
	target, err := migratemysql.WithInstance(pool, &migratemysql.Config{})
	if err != nil {
		return nil, err
	}
	source, err := iofs.New(migrations, ".")
	if err != nil {
		return nil, err
	}
	return migrate.NewWithInstance("iofs", source, "mysql", target)
}

// With a URL, migrate always opens the driver "mysql".
func openMigrateURL(dsn string, migrations fs.FS) (*migrate.Migrate, error) {
	source, err := iofs.New(migrations, ".")
	if err != nil {
		return nil, err
	}
	return migrate.NewWithSourceInstance("iofs", source, "mysql://"+dsn)
}

// A migration in SQL reads in its transaction, waits for a lock while another transaction
// commits a row, reads again, and records what it has seen.
func TestMigrate(t *testing.T) {
	covers(t, "github.com/golang-migrate/migrate/v4")
	// When the lock "begun" is taken, the transaction has its snapshot. It then waits for the
	// lock "gate".
	const race = `
CREATE TABLE seen (session VARCHAR(40), before_race INT, after_race INT);
START TRANSACTION;
SELECT COUNT(*) INTO @before_race FROM names WHERE name = 'ann';
SELECT GET_LOCK('begun', 0), GET_LOCK('gate', 60);
SELECT COUNT(*) INTO @after_race FROM names WHERE name = 'ann';
`
	for _, s := range servers {
		for _, test := range []struct {
			name, seen string
			open       func(string, fs.FS) (*migrate.Migrate, error)
		}{
			{"URL", "REPEATABLE-READ MIXED 0 0", openMigrateURL},
			{"WithInstance", "READ-COMMITTED ROW 0 1", openMigrate},
		} {
			t.Run(s.name+"/"+test.name, func(t *testing.T) {
				database := s.database(t)
				m, err := test.open(s.dsn(database)+"?multiStatements=true", fstest.MapFS{
					"1_race.up.sql": {Data: []byte(race + `
INSERT INTO seen VALUES (` + s.session() + `, @before_race, @after_race);
COMMIT;
DO RELEASE_LOCK('begun'), RELEASE_LOCK('gate');`)},
					"2_duplicate.up.sql": {Data: []byte("INSERT INTO names (name) VALUES ('ann')")},
				})
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				lock, err := s.plain.Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer lock.Close()
				if _, err := lock.ExecContext(t.Context(), "DO GET_LOCK('gate', 0)"); err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() { done <- m.Up() }()
				s.await(t, "SELECT IS_USED_LOCK('begun') IS NOT NULL", "1")
				s.exec(t, "INSERT INTO "+database+".names (name) VALUES ('ann')")
				if _, err := lock.ExecContext(t.Context(), "DO RELEASE_LOCK('gate')"); err != nil {
					t.Fatal(err)
				}
				wantMigrateError(t, <-done)
				s.want(t, "SELECT CONCAT_WS(' ', session, before_race, after_race) FROM "+database+".seen", test.seen)
			})
		}
	}
}

// wantMigrateError checks that err is migrate's error and contains the server's error 1062.
// migrate's errors have no Unwrap.
func wantMigrateError(t *testing.T, err error) {
	t.Helper()
	failed, ok := errors.AsType[database.Error](err)
	if !ok {
		t.Fatalf("got %T %v, want a database.Error", err, err)
	}
	wantServerError(t, failed.OrigErr)
}
