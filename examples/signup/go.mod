// An example, in a module of its own so that a program which imports mysqlinit
// does not inherit what it needs.
module github.com/mysqlinit/mysqlinit/examples/signup

go 1.26

replace github.com/mysqlinit/mysqlinit => ../..

require (
	github.com/go-sql-driver/mysql v1.10.1
	github.com/mysqlinit/mysqlinit v0.0.0
)

require (
	filippo.io/edwards25519 v1.2.0 // indirect
	github.com/ngrok/sqlmw v0.0.0-20220520173518-97c9c04efc79 // indirect
)
