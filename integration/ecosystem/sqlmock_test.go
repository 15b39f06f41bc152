//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"
	"time"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// expectRun expects what mysqltx.Run sends around its function.
func expectRun(mock sqlmock.Sqlmock, inside func()) {
	ok := sqlmock.NewResult(0, 0)
	mock.ExpectBegin()
	mock.ExpectExec("SET autocommit = 0").WillReturnResult(ok)
	mock.ExpectQuery("group_replication_group_name").WillReturnError(&mysql.MySQLError{Number: 1193}) // only the first Run on a pool
	mock.ExpectExec("SAVEPOINT mysqltx_sentinel").WillReturnResult(ok)
	inside()
	mock.ExpectExec("RELEASE SAVEPOINT mysqltx_sentinel").WillReturnResult(ok)
	mock.ExpectCommit()
	mock.ExpectExec("SET autocommit = 1").WillReturnResult(ok)
}

// expectNew expects what mysqltx.GetOrCreate sends in Run if there is no such row.
func expectNew(mock sqlmock.Sqlmock, columns []string, row ...driver.Value) {
	mock.ExpectQuery("SELECT .* FROM users").WillReturnRows(sqlmock.NewRows(columns))
	mock.ExpectExec("SAVEPOINT mysqltx_1").WillReturnResult(sqlmock.NewResult(0, 0))
	mock.ExpectExec("INSERT INTO users").WillReturnResult(sqlmock.NewResult(1, 1))
	mock.ExpectQuery("SELECT .* FROM users").WillReturnRows(sqlmock.NewRows(columns).AddRow(row...))
}

func TestSqlmock(t *testing.T) {
	covers(t, "github.com/DATA-DOG/go-sqlmock")
	columns := []string{"id", "email", "name", "created_at", "updated_at", "deleted_at"}
	ann := []driver.Value{1, "ann@example.com", "ann", time.Now(), time.Now(), nil}
	test := func(name string, expect func(mock sqlmock.Sqlmock), inRun bool, opts ...mysqltx.Option) {
		t.Run(name, func(t *testing.T) {
			db, mock, err := sqlmock.New()
			if err != nil {
				t.Fatal(err)
			}
			// sqlmock opens no connection any more once it has none.
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			expect(mock)
			get := func(ctx context.Context, q mysqltx.Querier) error {
				user, _, err := sqlcGetOrCreate(ctx, q, "ann@example.com", "ann")
				if err == nil && user.ID != 1 {
					t.Errorf("got %+v", user)
				}
				return err
			}
			if inRun {
				err = mysqltx.Run(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error { return get(ctx, tx) }, opts...)
			} else {
				err = get(t.Context(), db)
			}
			if err != nil {
				t.Error(err)
			}
			mock.ExpectClose()
			mock.ExpectClose()
			if err := errors.Join(conn.Close(), db.Close()); err != nil {
				t.Error(err)
			}
			if err := mock.ExpectationsWereMet(); err != nil {
				t.Error(err)
			}
		})
	}
	expectFound := func(mock sqlmock.Sqlmock) {
		mock.ExpectQuery("SELECT .* FROM users").WillReturnRows(sqlmock.NewRows(columns).AddRow(ann...))
	}
	test("found", expectFound, false)
	test("new in Run", func(mock sqlmock.Sqlmock) {
		expectRun(mock, func() { expectNew(mock, columns, ann...) })
	}, true)
	test("new in Run without the sentinel", func(mock sqlmock.Sqlmock) {
		mock.ExpectBegin()
		expectNew(mock, columns, ann...)
		mock.ExpectExec("RELEASE SAVEPOINT mysqltx_1").WillReturnResult(sqlmock.NewResult(0, 0))
		mock.ExpectCommit()
	}, true, mysqltx.WithSentinel(false))
	test("found after a retry", func(mock sqlmock.Sqlmock) {
		mock.ExpectBegin()
		mock.ExpectQuery("SELECT .* FROM users").WillReturnError(&mysql.MySQLError{Number: 1213})
		mock.ExpectRollback()
		mock.ExpectClose() // Run takes another connection
		mock.ExpectBegin()
		expectFound(mock)
		mock.ExpectCommit()
	}, true, mysqltx.WithSentinel(false))
}
