// Package ecosystem runs the libraries that Go programs reach a database
// through, each over real servers: they get prepared sessions, the race of
// get-or-create is won in their own transactions, and they still know the
// server's errors. It runs with make ecosystem. docs/recipes.md takes its code
// from here.
package ecosystem
