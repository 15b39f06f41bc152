package mysqlinit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
)

func Example() {
	db, err := sql.Open("mysqlinit", "user:password@tcp(db:3306)/app") // was "mysql"
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

func ExampleOpen() {
	db, err := mysqlinit.Open("user:password@tcp(db:3306)/app",
		mysqlinit.WithInitCommand("SET SESSION max_execution_time = 5000"),
		mysqlinit.WithConnectTimeout(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

func ExampleNewConnector() {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.DBName = "tcp", "db:3306", "app", "app"
	err := cfg.Apply(mysql.BeforeConnect(func(_ context.Context, cfg *mysql.Config) error {
		cfg.Passwd = "the token of this hour"
		return nil
	}))
	if err != nil {
		log.Fatal(err)
	}
	connector, err := mysqlinit.NewConnector(cfg, mysqlinit.WithBinlog(mysqlinit.BinlogAssert))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

func ExampleRegister() {
	mysqlinit.Register("mysql-serializable", mysqlinit.WithIsolation(sql.LevelSerializable))
	db, err := sql.Open("mysql-serializable", "user:password@tcp(db:3306)/app")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

func ExampleInitError() {
	db, err := sql.Open("mysqlinit", "user:password@tcp(db:3306)/app")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if initErr, ok := errors.AsType[*mysqlinit.InitError](db.Ping()); ok {
		log.Fatal(initErr.Reason, ": ", initErr.Cure)
	}
}

func ExampleDriver_OpenConnector() {
	_, err := (&mysqlinit.Driver{}).OpenConnector("user:password@tcp(db:3306)/app?isolation=commited")
	fmt.Println(err)
	_, err = (&mysqlinit.Driver{}).OpenConnector("user:password@tcp(db:3306)/app?isolationLevel=serializable")
	fmt.Println(err)
	// Output:
	// mysqlinit: DSN key "isolation": it takes read-committed, repeatable-read, read-uncommitted, serializable or server
	// mysqlinit: unknown DSN key "isolationLevel": write isolation
}
