//go:build ecosystem

// Command hardcoded opens databases through libraries that open the driver "mysql" by that
// name. The test of the flag that gives the name to this driver builds and runs it.
package main

import (
	"database/sql"
	"fmt"
	"log"
	"os"
	"testing/fstest"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/database/mysql"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	"gorm.io/driver/mysql"
	"gorm.io/gorm"
	"xorm.io/xorm"

	"github.com/mysqlinit/mysqlinit"
)

func init() { mysqlinit.Register("mysql") }

// It prints the session that each library gets, a line each. Its arguments are a DSN and an
// SQL expression that describes a session.
func main() {
	dsn, session := os.Args[1], os.Args[2]
	libraries := []struct {
		name string
		open func() (*sql.DB, error)
	}{
		{"ent", func() (*sql.DB, error) {
			d, err := entsql.Open(dialect.MySQL, dsn)
			if err != nil {
				return nil, err
			}
			return d.DB(), nil
		}},
		{"goose", func() (*sql.DB, error) { return goose.OpenDBWithDriver("mysql", dsn) }},
		{"GORM", func() (*sql.DB, error) {
			db, err := gorm.Open(mysql.Open(dsn))
			if err != nil {
				return nil, err
			}
			return db.DB()
		}},
		{"sqlx", func() (*sql.DB, error) {
			db, err := sqlx.Connect("mysql", dsn)
			if err != nil {
				return nil, err
			}
			return db.DB, nil
		}},
		{"xorm", func() (*sql.DB, error) {
			engine, err := xorm.NewEngine("mysql", dsn)
			if err != nil {
				return nil, err
			}
			return engine.DB().DB, nil
		}},
	}
	for _, library := range libraries {
		db, err := library.open()
		if err != nil {
			log.Fatal(library.name, ": ", err)
		}
		report(library.name, db, "SELECT "+session)
	}
	if err := migrateURL(dsn, "CREATE TABLE seen AS SELECT "+session+" AS session"); err != nil {
		log.Fatal("golang-migrate: ", err)
	}
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		log.Fatal(err)
	}
	report("golang-migrate", db, "SELECT session FROM seen")
}

func report(name string, db *sql.DB, query string) {
	defer db.Close()
	var session string
	if err := db.QueryRow(query).Scan(&session); err != nil {
		log.Fatal(name, ": ", err)
	}
	fmt.Printf("%s: %s\n", name, session)
}

func migrateURL(dsn, statement string) error {
	source, err := iofs.New(fstest.MapFS{"1_session.up.sql": {Data: []byte(statement)}}, ".")
	if err != nil {
		return err
	}
	m, err := migrate.NewWithSourceInstance("iofs", source, "mysql://"+dsn)
	if err != nil {
		return err
	}
	defer m.Close()
	return m.Up()
}
