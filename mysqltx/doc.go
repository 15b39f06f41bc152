// Package mysqltx provides transactions that survive deadlocks, and a
// get-or-create that is right at every isolation level. It works with any
// [database/sql.DB] that uses github.com/go-sql-driver/mysql, on MySQL and
// MariaDB.
//
//	err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
//		user, created, err := mysqltx.GetOrCreate(ctx, tx, getUser, createUser)
//		…
//	})
//
// # Transactions
//
// A deadlock (error 1213) isn't a bug in a program. The server rolls one
// transaction back so that another can go on, and expects the first to run
// again. After a random wait, [Run] does that for this error and others like it
// ([IsRetryable]).
//
// The usual hand-written loop gets one thing wrong. If its function gets a 1213,
// doesn't return it and goes on, the next statements run in no transaction or in
// a new one, and COMMIT answers OK. Half of the work is then committed. Run
// notices this and commits nothing. If the connection is lost during COMMIT, Run
// returns an [AmbiguousCommitError] instead of running the function twice.
//
// # Get or create
//
// The usual code gets a row, creates it if there is none, and gets it again after
// a duplicate key (error 1062). Under REPEATABLE READ, MySQL's default, the second
// get finds nothing, because its snapshot is older than the row. [GetOrCreate]
// reads again with a lock, which sees the row. It keeps what the transaction did
// before, and reports who created the row.
//
// # Errors
//
// Errors from the function, the server and the driver are returned unchanged.
// This package adds three: [AmbiguousCommitError], [ConflictError] and
// [ErrTransactionLost]. [IsDuplicateKey] and [IsRetryable] are for code that runs
// its transactions itself.
//
// # With and without the driver mysqlinit
//
// READ COMMITTED sessions, which the driver of
// [github.com/mysqlinit/mysqlinit] makes, fix the lost row for all code at once.
// They don't fix deadlocks, rows deleted between two statements, or a collision
// with another unique key. This package handles those.
package mysqltx
