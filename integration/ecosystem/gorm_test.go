//go:build ecosystem

package ecosystem

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
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
	t.Run("FirstOrCreate", testFirstOrCreate)
	t.Run("FirstOrCreate with an empty key", testEmptyKey)
	t.Run("SoftDelete", testSoftDelete)
	for name, prepare := range map[string]bool{"mysqltx": false, "mysqltx with PrepareStmt": true} {
		t.Run(name, func(t *testing.T) {
			testGetOrCreate(t, func(t *testing.T, pool *sql.DB) recipe {
				db := openGORMPool(t, pool, &gorm.Config{TranslateError: true, PrepareStmt: prepare})
				return recipe{
					getOrCreate: func(ctx context.Context, q mysqltx.Querier, email, name string) (row, error) {
						db := db.WithContext(ctx)
						if q != pool {
							db = onGORM(ctx, db, q)
						}
						user, _, err := gormGetOrCreate(db, email, name)
						return user.row(), err
					},
					rename: func(ctx context.Context, tx *sql.Tx, id uint64, name string) error {
						return onGORM(ctx, db, tx).Model(&User{}).Where("id", id).Update("name", name).Error
					},
					transact: func(ctx context.Context, fn func(mysqltx.Querier) error) error {
						return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return fn(tx.Statement.ConnPool) })
					},
				}
			})
		})
	}
	t.Run("Run", testGORMInRun)
}

// User is a row of the table users.
type User struct {
	gorm.Model        // ID, CreatedAt, UpdatedAt, DeletedAt
	Email      string `gorm:"unique"`
	Name       string
}

func (u User) row() row { return newRow(uint64(u.ID), u.Email, u.Name, u.CreatedAt) }

func firstOrCreate(tx *gorm.DB, email, name string) (user User, err error) {
	for range 2 {
		user = User{} // not what a failed INSERT has filled in
		err = tx.Where("email", email).Attrs(User{Name: name}).FirstOrCreate(&user).Error
		if !errors.Is(err, gorm.ErrDuplicatedKey) {
			break
		}
	}
	return user, err
}

// naiveFirstOrCreate searches for all that the failed INSERT has filled in.
func naiveFirstOrCreate(tx *gorm.DB, email, name string) (User, error) {
	user := User{Email: email, Name: name}
	err := tx.FirstOrCreate(&user, &user).Error
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		err = tx.FirstOrCreate(&user, &user).Error
	}
	return user, err
}

// restoreOrCreate also finds a deleted row, and restores it.
func restoreOrCreate(tx *gorm.DB, email, name string) (User, error) {
	tx = tx.Unscoped().Session(&gorm.Session{})
	user, err := firstOrCreate(tx, email, name)
	if err == nil && user.DeletedAt.Valid {
		err = tx.Model(&user).Updates(map[string]any{"deleted_at": nil, "name": name}).Error
	}
	return user, err
}

// firstOrCreateTest has many callers run a form of FirstOrCreate.
type firstOrCreateTest struct {
	name, params  string // params are more of the DSN's
	inTransaction bool
	makesKeys     bool // the program makes the primary keys, not the server
	form          func(tx *gorm.DB, email, name string) (User, error)
}

func (test firstOrCreateTest) contend(t *testing.T, s *server, database string) []error {
	t.Helper()
	return s.contend(t, database, test.params, func(t *testing.T, pool *sql.DB) getOrCreate {
		db := openGORMPool(t, pool, &gorm.Config{TranslateError: true})
		if test.makesKeys {
			err := db.Callback().Create().Before("gorm:create").Register("key", func(db *gorm.DB) {
				db.Statement.SetColumn("ID", uint(rand.Uint32()))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return func(ctx context.Context, email, name string) (found row, err error) {
			call := func(tx *gorm.DB) error {
				user, err := test.form(tx, email, name)
				found = user.row()
				return err
			}
			if test.inTransaction {
				err = db.WithContext(ctx).Transaction(call)
			} else {
				err = call(db.WithContext(ctx))
			}
			return found, err
		}
	})
}

func testFirstOrCreate(t *testing.T) {
	for _, s := range servers {
		for _, test := range []firstOrCreateTest{
			{name: "pool", form: firstOrCreate},
			{name: "Transaction", inTransaction: true, form: firstOrCreate},
			{name: "Transaction, made keys", inTransaction: true, makesKeys: true, form: firstOrCreate},
		} {
			t.Run("holds/"+s.name+"/"+test.name, func(t *testing.T) {
				wantNoFailure(t, test.contend(t, s, s.database(t)))
			})
		}
		for _, test := range []firstOrCreateTest{
			{name: "naive, pool", form: naiveFirstOrCreate},
			{name: "naive, Transaction", inTransaction: true, form: naiveFirstOrCreate},
			{name: "at REPEATABLE READ", params: "&isolation=repeatable-read", inTransaction: true, form: firstOrCreate},
		} {
			t.Run("fails/"+s.name+"/"+test.name, func(t *testing.T) {
				failures := test.contend(t, s, s.database(t))
				t.Logf("%d of %d calls failed", len(failures), callers*keys)
				if !slices.ContainsFunc(failures, func(err error) bool {
					return errors.Is(err, gorm.ErrDuplicatedKey) || number(err) == errRecordChanged
				}) {
					t.Errorf("want gorm.ErrDuplicatedKey, got %v: the recipe can be shorter", failures)
				}
			})
		}
	}
}

// The key's value can be empty.
func testEmptyKey(t *testing.T) {
	s := servers[0]
	pool, err := sql.Open("mysqlinit", s.dsn(s.database(t))+"?parseTime=true")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db := openGORMPool(t, pool, &gorm.Config{TranslateError: true})
	for i, email := range []string{"ann@example.com", "", ""} {
		user, err := firstOrCreate(db, email, "name")
		if user.Email != email || int(user.ID) != min(i+1, 2) || err != nil {
			t.Errorf("%q: got %+v, %v", email, user, err)
		}
	}
	var found User
	if err := db.Where(User{Email: ""}).FirstOrCreate(&found).Error; err != nil || found.Email == "" {
		t.Errorf("a struct's empty field is a condition: got %+v, %v", found, err)
	}
}

// liveKey is a statement of the recipe. It goes into a test's database.
const liveKey = "ALTER TABLE users ADD live BOOLEAN AS (IF(deleted_at IS NULL, TRUE, NULL)), DROP KEY email, ADD UNIQUE KEY (email, live)"

func (s *server) addLiveKey(t *testing.T, database string) {
	t.Helper()
	s.exec(t, strings.Replace(liveKey, "users", database+".users", 1))
}

// A deleted row keeps its unique key.
func testSoftDelete(t *testing.T) {
	if doc, err := os.ReadFile("../../docs/recipes.md"); err != nil || !strings.Contains(string(doc), "\n"+liveKey+"\n") {
		t.Errorf("the recipe has another statement than this test; %v", err)
	}
	for _, s := range servers {
		for _, test := range []firstOrCreateTest{
			{name: "restored, pool", form: restoreOrCreate},
			{name: "restored, Transaction", inTransaction: true, form: restoreOrCreate},
			{name: "live key, pool", form: firstOrCreate},
			{name: "live key, Transaction", inTransaction: true, form: firstOrCreate},
		} {
			t.Run(s.name+"/"+test.name, func(t *testing.T) {
				database := s.database(t)
				if strings.HasPrefix(test.name, "live key") {
					s.addLiveKey(t, database)
				}
				for key := range keys / 2 {
					s.exec(t, fmt.Sprintf("INSERT INTO %s.users (email, name, created_at, updated_at, deleted_at) VALUES ('user%d@example.com', 'old', NOW(), NOW(), NOW())", database, key))
				}
				wantNoFailure(t, test.contend(t, s, database))
			})
		}
		t.Run(s.name+"/without a cure", func(t *testing.T) {
			database := s.database(t)
			pool, err := sql.Open("mysqlinit", s.dsn(database)+"?parseTime=true")
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			db := openGORMPool(t, pool, &gorm.Config{TranslateError: true})
			ann := User{Email: "ann@example.com", Name: "ann"}
			if err := errors.Join(db.Create(&ann).Error, db.Delete(&ann).Error); err != nil {
				t.Fatal(err)
			}
			if _, err := firstOrCreate(db, ann.Email, ann.Name); !errors.Is(err, gorm.ErrDuplicatedKey) {
				t.Errorf("got %v, want gorm.ErrDuplicatedKey", err)
			}
			if _, _, err := gormGetOrCreate(db, ann.Email, ann.Name); !errors.As(err, new(*mysqltx.ConflictError)) {
				t.Errorf("got %v, want a ConflictError", err)
			}
			s.addLiveKey(t, database)
			if user, created, err := gormGetOrCreate(db, ann.Email, ann.Name); user.ID <= ann.ID || !created || err != nil {
				t.Errorf("with a live key: %+v, created %t, %v", user, created, err)
			}
			// NULLs are not equal, so this key admits any number of rows that are not deleted.
			s.exec(t, "ALTER TABLE "+database+".users DROP KEY email, ADD UNIQUE KEY (email, deleted_at)")
			for range 2 {
				if err := db.Create(&User{Email: ann.Email, Name: ann.Name}).Error; err != nil {
					t.Errorf("a key over deleted_at as well holds: %v", err)
				}
			}
		})
	}
}

// openGORMPool opens GORM over a pool, with TranslateError.
func openGORMPool(t *testing.T, pool *sql.DB, config *gorm.Config) *gorm.DB {
	t.Helper()
	config.Logger = logger.Discard // errors are expected
	db, err := gorm.Open(mysql.New(mysql.Config{Conn: pool}), config)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// onGORM has GORM work on what mysqltx passes.
func onGORM(ctx context.Context, db *gorm.DB, q mysqltx.Querier) *gorm.DB {
	db = db.Session(&gorm.Session{Context: ctx, SkipDefaultTransaction: true})
	db.Statement.ConnPool = q
	return db
}

func runGORM(db *gorm.DB, fn func(tx *gorm.DB) error) error {
	pool, err := db.DB()
	if err != nil {
		return err
	}
	return mysqltx.Run(db.Statement.Context, pool, func(ctx context.Context, tx *sql.Tx) error {
		return fn(onGORM(ctx, db, tx))
	})
}

func gormGetOrCreate(db *gorm.DB, email, name string) (User, bool, error) {
	get := func(ctx context.Context, q mysqltx.Querier, lock string) (user User, err error) {
		tx := onGORM(ctx, db, q).Where("email", email)
		if lock != "" {
			tx = tx.Clauses(clause.Locking{Strength: "SHARE"})
		}
		err = tx.Take(&user).Error
		return user, err
	}
	create := func(ctx context.Context, q mysqltx.Querier) (User, error) {
		user := User{Email: email, Name: name}
		err := onGORM(ctx, db, q).Create(&user).Error
		return user, err
	}
	return mysqltx.GetOrCreate(db.Statement.Context, db.Statement.ConnPool, get, create,
		mysqltx.WithNotFoundIf(func(err error) bool { return errors.Is(err, gorm.ErrRecordNotFound) }),
		mysqltx.WithDuplicateIf(func(err error) bool { return errors.Is(err, gorm.ErrDuplicatedKey) }))
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
					err := runGORM(db.WithContext(t.Context()), func(db *gorm.DB) error {
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
