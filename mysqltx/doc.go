// Package mysqltx has transactions that survive deadlocks, and a get-or-create that is
// right at every isolation level, for any [database/sql.DB] on
// github.com/go-sql-driver/mysql, of MySQL or MariaDB.
//
//	err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
//		user, created, err := mysqltx.GetOrCreate(ctx, tx, getUser, createUser)
//		…
//	})
//
// # Transactions
//
// A deadlock (error 1213) is no fault of a program: the server rolls one transaction back so that another can
// go on, and the one rolled back is to run again. [Run] does that, with jittered waits, for
// this and the other errors of the kind ([IsRetryable]).
//
// What the usual loop gets wrong: where a function does not return the 1213 it
// got, and goes on, its next statements are in no transaction or in a new one, and COMMIT answers OK. Half of the work is
// then committed. Run notices and commits nothing. A connection that is lost
// during COMMIT it reports as an [AmbiguousCommitError] instead of running the function twice.
//
// # Get or create
//
// Code that gets a row, creates it where there is none, and after a duplicate
// key (error 1062) gets it again finds nothing the second time under REPEATABLE READ, MySQL's default, for its snapshot is older
// than the row. [GetOrCreate] reads again with a lock, which sees the row; keeps what the transaction
// did before; and says whose row it is.
//
// # Errors
//
// What the function, the server or the driver said comes back as it was. Three are this
// package's own: [AmbiguousCommitError], [ConflictError] and [ErrTransactionLost].
// [IsDuplicateKey] and [IsRetryable] are for code that runs its transactions itself.
//
// # With the driver mysqlinit, and without
//
// READ COMMITTED sessions, which the driver of [github.com/mysqlinit/mysqlinit] makes, cure that for
// all code at once. What they do not cure is deadlocks, rows deleted in between
// and a collision with another unique key; those are handled here.
package mysqltx
