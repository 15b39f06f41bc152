package mysqlinit_test

import (
	"database/sql"
	"log"
)

import _ "github.com/mysqlinit/mysqlinit"

func Example() {
	db, err := sql.Open("mysqlinit", "user:password@tcp(db:3306)/app") // was "mysql"
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}
