package mysqlinit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit"
)

const dsn = "user:password@tcp(db:3306)/app"

func ExampleOpen() {
	db, err := mysqlinit.Open(dsn, mysqlinit.WithInitCommand("SET SESSION lock_wait_timeout = 60"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// A Config has what a DSN cannot say.
func ExampleNewConnector() {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		log.Fatal(err)
	}
	err = cfg.Apply(mysql.BeforeConnect(func(_ context.Context, cfg *mysql.Config) error {
		cfg.Passwd = "the token of this hour"
		return nil
	}))
	if err != nil {
		log.Fatal(err)
	}
	connector, err := mysqlinit.NewConnector(cfg) // a *mysql.Config: BeforeConnect, DialFunc and TLS stay
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

func ExampleRegister() {
	mysqlinit.Register("mysql-serializable", mysqlinit.WithIsolation(sql.LevelSerializable))
	db, err := sql.Open("mysql-serializable", dsn)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// A driver's presets hold for each DSN that does not say otherwise.
func ExampleNewDriver() {
	d, err := mysqlinit.NewDriver(mysqlinit.WithGuard(true), mysqlinit.WithConnectTimeout(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	connector, err := d.OpenConnector(dsn + "?guard=false")
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// A wrong key or value is an error before anything connects.
func ExampleDriver_OpenConnector() {
	_, err := (&mysqlinit.Driver{}).OpenConnector(dsn + "?isolation=commited")
	fmt.Println(err)
	_, err = (&mysqlinit.Driver{}).OpenConnector(dsn + "?isolationLevel=serializable")
	fmt.Println(err)
	// Output:
	// mysqlinit: DSN key "isolation": want read-committed, repeatable-read, read-uncommitted, serializable or server
	// mysqlinit: unknown DSN key "isolationLevel": write isolation
}

// A second pool for reports, each of which reads one snapshot.
func ExampleWithIsolation() {
	reports, err := mysqlinit.Open(dsn, mysqlinit.WithIsolation(sql.LevelRepeatableRead))
	if err != nil {
		log.Fatal(err)
	}
	defer reports.Close()

	_, err = mysqlinit.Open(dsn+"?isolation=serializable", mysqlinit.WithIsolation(sql.LevelRepeatableRead))
	fmt.Println(err)
	// Output: mysqlinit: WithIsolation contradicts isolation of the DSN: give one of them
}

// An account that may not set binlog_format need not try.
func ExampleWithBinlog() {
	db, err := mysqlinit.Open(dsn, mysqlinit.WithBinlog(mysqlinit.BinlogAssert))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	_, err = mysqlinit.Open(dsn + "?binlog_format=STATEMENT")
	fmt.Println(err)
	// Output: mysqlinit: binlog_format=STATEMENT contradicts isolation=read-committed: InnoDB refuses every write with error 1665; leave binlog_format out, or choose isolation=repeatable-read or isolation=server
}

func ExampleWithInitCommand() {
	db, err := mysqlinit.Open(dsn,
		mysqlinit.WithInitCommand("SET SESSION lock_wait_timeout = 60"),
		mysqlinit.WithInitCommand("SET ROLE app")) // each costs a round trip a connection
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	_, err = mysqlinit.Open(dsn, mysqlinit.WithInitCommand("SET TRANSACTION READ ONLY"))
	fmt.Println(err)
	// Output: mysqlinit: the init command SET TRANSACTION holds for the next transaction only: write SET SESSION TRANSACTION, or use isolation (WithIsolation)
}

// Behind a proxy that may keep a SET to itself.
func ExampleWithVerify() {
	db, err := mysqlinit.Open(dsn, mysqlinit.WithVerify(true))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if initErr, ok := errors.AsType[*mysqlinit.InitError](db.Ping()); ok {
		log.Fatal(initErr.Reason) // "verify found isolation level … instead of …"
	}
}

// What one user of a connection sets, the next does not see.
func ExampleWithGuard() {
	db, err := mysqlinit.Open(dsn, mysqlinit.WithGuard(true))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"); err != nil {
		log.Fatal(err)
	}
	var isolation string
	if err := db.QueryRow("SELECT @@SESSION.transaction_isolation").Scan(&isolation); err != nil {
		log.Fatal(err)
	}
	fmt.Println(isolation) // READ-COMMITTED again
}

// With the guard, code that retries by the server's error number needs no change:
// the error of Commit has the deadlock in it, whoever swallowed it before.
func ExampleErrTransactionLost() {
	db, err := mysqlinit.Open(dsn, mysqlinit.WithGuard(true))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	errAgain := errors.New("run the whole transaction again")
	transfer := func(tx *sql.Tx) error {
		_, _ = tx.Exec("UPDATE accounts SET balance = balance - 10 WHERE id = 1") // swallows a deadlock
		_, _ = tx.Exec("UPDATE accounts SET balance = balance + 10 WHERE id = 2")
		err := tx.Commit()
		if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok && serverErr.Number == 1213 {
			return errAgain // run the whole transaction again
		}
		return err // ErrTransactionLost if another error ended it
	}
	for {
		tx, err := db.Begin()
		if err != nil {
			log.Fatal(err)
		}
		if err := transfer(tx); err != errAgain {
			fmt.Println(err)
			return
		}
	}
}

// The server of this example accepts connections and never says a word.
func ExampleWithConnectTimeout() {
	mysql.RegisterDialContext("silent", func(context.Context, string) (net.Conn, error) {
		client, _ := net.Pipe()
		return client, nil
	})
	db, err := mysqlinit.Open("user:password@silent(db)/app", mysqlinit.WithConnectTimeout(50*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	err = db.Ping()
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	fmt.Println(ok && timeout.Timeout())
	fmt.Println(err)
	// Output:
	// true
	// mysqlinit: connectTimeout of 50ms ended while connecting (dial and handshake); if the server is only slow, raise connectTimeout (WithConnectTimeout)
}

// What is learned about a server, such as that this account may not set
// binlog_format, is logged once, not with each connection.
func ExampleWithLogger() {
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("pool", "orders")
	db, err := mysqlinit.Open(dsn, mysqlinit.WithLogger(logger))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// The server's own number stays within reach.
func ExampleInitError() {
	db, err := sql.Open("mysqlinit", dsn)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	err = db.Ping()
	if initErr, ok := errors.AsType[*mysqlinit.InitError](err); ok {
		slog.Error(initErr.Reason, "statement", initErr.Statement, "cure", initErr.Cure)
	}
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		slog.Error(serverErr.Message, "number", serverErr.Number)
	}
}
