// Package sqlc is the code that sqlc generates from queries.sql.
package sqlc

//go:generate go run github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1 generate
