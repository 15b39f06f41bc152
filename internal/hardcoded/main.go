// Command hardcoded opens the driver "mysql" by that name, as libraries do that cannot be
// given another. A test of docs/before.md builds it with the flag that gives the name to
// this driver.
package main

import (
	"database/sql"
	"fmt"
	"log"
	"os"

	"github.com/mysqlinit/mysqlinit"
)

func init() { mysqlinit.Register("mysql") }

// It prints the level and the binlog format of a session. Its arguments are a driver's
// name, a DSN, and the name of the isolation level's variable.
func main() {
	name, dsn, variable := os.Args[1], os.Args[2], os.Args[3]
	db, err := sql.Open(name, dsn)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	var isolation, format string
	if err := db.QueryRow("SELECT @@SESSION."+variable+", @@SESSION.binlog_format").Scan(&isolation, &format); err != nil {
		log.Fatal(err)
	}
	fmt.Println(isolation, format)
}
