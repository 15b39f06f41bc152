// Benchmarks, in a module of their own so that a program which imports
// mysqlinit does not inherit what they need.
module github.com/mysqlinit/mysqlinit/bench

go 1.26

require github.com/mysqlinit/mysqlinit v0.0.0

require (
	filippo.io/edwards25519 v1.2.0 // indirect
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/go-sql-driver/mysql v1.10.1 // indirect
	github.com/ngrok/sqlmw v0.0.0-20220520173518-97c9c04efc79 // indirect
)

replace github.com/mysqlinit/mysqlinit => ..
