//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"

	"gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

func openGORM(dsn string) (*gorm.DB, error) {
	return gorm.Open(mysql.New(mysql.Config{DriverName: "mysqlinit", DSN: dsn})) // was mysql.Open(dsn)
}

// With TranslateError, GORM says gorm.ErrDuplicatedKey.
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
	return transaction{
		read: func(expr string) (value string, err error) {
			err = tx.Raw("SELECT " + expr).Scan(&value).Error
			return value, err
		},
		get: func(name string) (bool, error) {
			err := tx.First(&Name{}, "name = ?", name).Error
			if errors.Is(err, gorm.ErrRecordNotFound) {
				return false, nil
			}
			return err == nil, err
		},
		insert:   func(name string) error { return tx.Create(&Name{Name: name}).Error },
		rollback: func() error { return tx.Rollback().Error },
	}, tx.Error
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
		close:    closeGORM,
	}
	l.race(t)
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
}

// firstOrCreate is get-or-create as GORM has it: again, where somebody was faster.
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
			// Neither there nor to be made.
			if err := play(t, s, plain); !errors.Is(err, gorm.ErrDuplicatedKey) && number(err) != errRecordChanged {
				t.Errorf("the plain driver, which is here to show what goes wrong: %v", err)
			}
			if err := play(t, s, openGORMTranslated); err != nil {
				t.Error(err)
			}
		})
	}
}
