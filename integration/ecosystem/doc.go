// Package ecosystem tests the libraries through which Go programs use a database, over real
// servers: they get prepared sessions, their own transactions survive the race of
// get-or-create, and they still recognise the server's errors. Run the tests with make
// ecosystem. docs/recipes.md takes its code from here.
package ecosystem
