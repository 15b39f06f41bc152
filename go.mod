module github.com/mysqlinit/mysqlinit

go 1.26

require github.com/go-sql-driver/mysql v1.10.1

require github.com/cenkalti/backoff/v5 v5.0.3

require (
	filippo.io/edwards25519 v1.2.0 // indirect
	github.com/ngrok/sqlmw v0.0.0-20220520173518-97c9c04efc79
)
