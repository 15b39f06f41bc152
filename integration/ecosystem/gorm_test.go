//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/mysqlinit/mysqlinit/mysqltx"
)

func openGORM(dsn string) (*gorm.DB, error) {
	return gorm.Open(mysql.New(mysql.Config{DriverName: "mysqlinit", DSN: dsn})) // was mysql.Open(dsn)
}

// With TranslateError, GORM returns gorm.ErrDuplicatedKey.
func openGORMTranslated(dsn string) (*gorm.DB, error) {
	dialector := mysql.New(mysql.Config{DriverName: "mysqlinit", DSN: dsn})
	return gorm.Open(dialector, &gorm.Config{TranslateError: true})
}

func openGORMConn(dsn string) (*gorm.DB, error) {
	pool, err := sql.Open("mysqlinit", dsn)
	if err != nil {
		return nil, err
	}
	return gorm.Open(mysql.New(mysql.Config{Conn: pool}))
}

// Name is a row of the table names.
type Name struct {
	Name string `gorm:"primaryKey" xorm:"pk" db:"name" bun:",pk"`
}

func (Name) TableName() string { return "names" }

func beginGORM(ctx context.Context, db *gorm.DB) (transaction, error) {
	db.Logger = logger.Discard // the duplicate key is expected
	tx := db.WithContext(ctx).Begin()
	return gormTransaction(tx), tx.Error
}

func transactGORM(ctx context.Context, db *gorm.DB, fn func(transaction) error) error {
	db.Logger = logger.Discard
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return fn(gormTransaction(tx)) })
}

func gormTransaction(tx *gorm.DB) transaction {
	return transaction{
		read: func(expr string) (value string, err error) {
			err = tx.Raw("SELECT " + expr).Scan(&value).Error
			return value, err
		},
		get: func(name string) (bool, error) {
			err := tx.First(&Name{}, "name = ?", name).Error
			return found(err, gorm.ErrRecordNotFound)
		},
		insert:   func(name string) error { return tx.Create(&Name{Name: name}).Error },
		rollback: func() error { return tx.Rollback().Error },
		nested: func(fn func(transaction) error) error {
			return tx.Transaction(func(inner *gorm.DB) error { return fn(gormTransaction(inner)) })
		},
	}
}

func closeGORM(db *gorm.DB) error {
	pool, err := db.DB()
	if err != nil {
		return err
	}
	return pool.Close()
}

func TestGORM(t *testing.T) {
	covers(t, "gorm.io/gorm", "gorm.io/driver/mysql")
	l := library[*gorm.DB]{
		plain:    func(dsn string) (*gorm.DB, error) { return gorm.Open(mysql.Open(dsn)) },
		prepared: map[string]func(string) (*gorm.DB, error){"DriverName": openGORM, "Conn": openGORMConn},
		begin:    beginGORM,
		transact: transactGORM,
		nests:    true,
		close:    closeGORM,
	}
	l.race(t)
	t.Run("guard", func(t *testing.T) { l.guard(t, openGORM) })
	t.Run("TranslateError", func(t *testing.T) {
		l.plain = func(dsn string) (*gorm.DB, error) {
			return gorm.Open(mysql.Open(dsn), &gorm.Config{TranslateError: true})
		}
		l.prepared = map[string]func(string) (*gorm.DB, error){"DriverName": openGORMTranslated}
		l.duplicate = func(t *testing.T, err error) {
			if !errors.Is(err, gorm.ErrDuplicatedKey) {
				t.Errorf("got %v, want gorm.ErrDuplicatedKey", err)
			}
		}
		l.race(t)
	})
	t.Run("FirstOrCreate", func(t *testing.T) { testFirstOrCreate(t, l.plain) })
	t.Run("Run", testGORMInRun)
}

// firstOrCreate is get-or-create with GORM: once more if another transaction was faster.
func firstOrCreate(tx *gorm.DB, row *Name) error {
	err := tx.FirstOrCreate(row, row).Error
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		err = tx.FirstOrCreate(row, row).Error
	}
	return err
}

// Another transaction commits the row between GORM's own SELECT and INSERT.
func testFirstOrCreate(t *testing.T, plain func(string) (*gorm.DB, error)) {
	play := func(t *testing.T, s *server, open func(string) (*gorm.DB, error)) error {
		database := s.database(t)
		db, err := open(s.dsn(database))
		if err != nil {
			t.Fatal(err)
		}
		defer closeGORM(db)
		db.Logger = logger.Discard
		var winner sync.Once
		err = db.Callback().Create().Before("gorm:create").Register("winner", func(*gorm.DB) {
			winner.Do(func() { s.exec(t, "INSERT INTO "+database+".names (name) VALUES ('ann')") })
		})
		if err != nil {
			t.Fatal(err)
		}
		return db.Transaction(func(tx *gorm.DB) error { return firstOrCreate(tx, &Name{Name: "ann"}) })
	}
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			// The plain driver's transaction cannot see the row, and cannot create it either.
			if err := play(t, s, plain); !errors.Is(err, gorm.ErrDuplicatedKey) && number(err) != errRecordChanged {
				t.Errorf("the plain driver should fail here, got %v", err)
			}
			if err := play(t, s, openGORMTranslated); err != nil {
				t.Error(err)
			}
		})
	}
}

// runGORM runs fn in a transaction of mysqltx.
func runGORM(ctx context.Context, db *gorm.DB, pool *sql.DB, fn func(db *gorm.DB) error) error {
	return mysqltx.Run(ctx, pool, func(ctx context.Context, tx *sql.Tx) error {
		inside := db.WithContext(ctx)
		inside.Statement.ConnPool = tx
		return fn(inside)
	})
}

// Two transactions lock two rows in opposite orders. GORM passes on the deadlock's error,
// and mysqltx runs the whole transaction again.
func testGORMInRun(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			db, err := openGORM(s.dsn(s.database(t)))
			if err != nil {
				t.Fatal(err)
			}
			defer closeGORM(db)
			db.Logger = logger.Discard
			pool, err := db.DB()
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Create([]Name{{"left"}, {"right"}}).Error; err != nil {
				t.Fatal(err)
			}
			lock := func(db *gorm.DB, name string) error {
				return db.Clauses(clause.Locking{Strength: "UPDATE"}).First(&Name{}, "name = ?", name).Error
			}
			var both, done sync.WaitGroup
			var attempts atomic.Int32
			both.Add(2)
			for first, second := range map[string]string{"left": "right", "right": "left"} {
				done.Go(func() {
					met := sync.OnceFunc(func() { both.Done(); both.Wait() })
					err := runGORM(t.Context(), db, pool, func(db *gorm.DB) error {
						attempts.Add(1)
						if err := db.Create(&Name{"by " + first}).Error; err != nil {
							return err
						}
						err := lock(db, first)
						met()
						if err != nil {
							return err
						}
						return lock(db, second)
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			done.Wait()
			var rows int64
			if err := db.Model(&Name{}).Where("name LIKE 'by %'").Count(&rows).Error; err != nil || rows != 2 {
				t.Errorf("%d rows, want 2: %v", rows, err)
			}
			if attempts.Load() < 3 {
				t.Errorf("%d attempts, want at least 3: there was no deadlock", attempts.Load())
			}
		})
	}
}
