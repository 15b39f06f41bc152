package mysqltx_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// The code of docs/get-or-create.md. TestDocsCodeCompiles compares the two.

var (
	ctx = context.Background()
	db  *sql.DB
)

// A User is a row of the table users, whose email is unique.
type User struct {
	ID    int64
	Email string
}

func getOrCreateUser(ctx context.Context, q mysqltx.Querier, email string) (User, bool, error) {
	get := func(ctx context.Context, q mysqltx.Querier, lock string) (u User, err error) {
		err = q.QueryRowContext(ctx, "SELECT id, email FROM users WHERE email = ?"+lock, email).Scan(&u.ID, &u.Email)
		return u, err
	}
	create := func(ctx context.Context, q mysqltx.Querier) (User, error) {
		result, err := q.ExecContext(ctx, "INSERT INTO users (email) VALUES (?)", email)
		if err != nil {
			return User{}, err
		}
		id, err := result.LastInsertId()
		return User{id, email}, err
	}
	return mysqltx.GetOrCreate(ctx, q, get, create)
}

func inTx(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := once(ctx, db, fn)
		if attempt == 8 || !mysqltx.IsRetryable(err) {
			return err
		}
		select {
		case <-time.After(rand.N(10 * time.Millisecond << attempt)):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

func once(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func userID(ctx context.Context, q mysqltx.Querier, email string) (id int64, err error) {
	get := func(lock string) error {
		return q.QueryRowContext(ctx, "SELECT id FROM users WHERE email = ?"+lock, email).Scan(&id)
	}
	if err := get(""); !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	_, err = q.ExecContext(ctx, "INSERT INTO users (email) VALUES (?)", email)
	if err != nil && !mysqltx.IsDuplicateKey(err) {
		return 0, err
	}
	err = get(" LOCK IN SHARE MODE")
	return id, err
}

func Example() {
	var get func(context.Context, mysqltx.Querier, string) (User, error)
	var create func(context.Context, mysqltx.Querier) (User, error)
	err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error { // again after a deadlock, never half
		user, created, err := mysqltx.GetOrCreate(ctx, tx, get, create) // right at every isolation level
		if err == nil && created {
			_, err = tx.ExecContext(ctx, "INSERT INTO welcomes (user_id) VALUES (?)", user.ID)
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleGetOrCreate() {
	user, created, err := getOrCreateUser(ctx, db, "ann@example.com")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(user.ID, created)
}

func ExampleRun() {
	err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		user, _, err := getOrCreateUser(ctx, tx, "ann@example.com")
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO orders (user_id) VALUES (?)", user.ID)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}

func move(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = balance - 10 WHERE id = 1")
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE accounts SET balance = balance + 10 WHERE id = 2")
	return err
}

func ExampleWithOnRetry() {
	err := mysqltx.Run(ctx, db, move,
		mysqltx.WithAttempts(5),
		mysqltx.WithIsolation(sql.LevelRepeatableRead),
		mysqltx.WithOnRetry(func(ctx context.Context, r mysqltx.Retry) {
			slog.WarnContext(ctx, "transaction runs again", "attempt", r.Attempt, "err", r.Err, "wait", r.Wait)
		}))
	if ambiguous, ok := errors.AsType[*mysqltx.AmbiguousCommitError](err); ok {
		log.Fatal("look whether the money moved: ", ambiguous)
	}
}

func ExampleWithAttempts() {
	err := mysqltx.Run(ctx, db, move, mysqltx.WithAttempts(3)) // then the last error, unchanged
	if mysqltx.IsRetryable(err) {
		slog.WarnContext(ctx, "the accounts are busy", "err", err)
	}
}

// All queries of a report read the same snapshot.
func ExampleWithIsolation() {
	var users, orders int
	err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM users").Scan(&users); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM orders").Scan(&orders)
	}, mysqltx.WithIsolation(sql.LevelRepeatableRead))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d users, %d orders\n", users, orders)
}

// The server refuses what a report should not do.
func ExampleWithReadOnly() {
	err := mysqltx.Run(ctx, db, move, mysqltx.WithReadOnly(true))
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok {
		fmt.Println(serverErr.Number) // 1792
	}
}

// Setting a value twice does no harm, so Run can go on if the connection is lost during
// COMMIT.
func ExampleWithIdempotent() {
	err := mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE users SET email = 'ann@example.com' WHERE id = 1")
		return err
	}, mysqltx.WithIdempotent(true))
	if err != nil {
		log.Fatal(err)
	}
}

// TiDB has its own error number for a write conflict.
func ExampleWithRetryIf() {
	writeConflict := func(err error) bool {
		serverErr, ok := errors.AsType[*mysql.MySQLError](err)
		return ok && serverErr.Number == 9007
	}
	if err := mysqltx.Run(ctx, db, move, mysqltx.WithRetryIf(writeConflict)); err != nil {
		log.Fatal(err)
	}
}

// The function returns every error that it gets, and the server isn't part of a cluster.
// There is no guard, and so this saves four round trips.
func ExampleWithSentinel() {
	if err := mysqltx.Run(ctx, db, move, mysqltx.WithSentinel(false)); err != nil {
		log.Fatal(err)
	}
}

// A repository has its own errors, as GORM has gorm.ErrRecordNotFound, and with
// TranslateError gorm.ErrDuplicatedKey.
func ExampleWithNotFoundIf() {
	var get func(context.Context, mysqltx.Querier, string) (User, error)
	var create func(context.Context, mysqltx.Querier) (User, error)
	user, created, err := mysqltx.GetOrCreate(ctx, db, get, create,
		mysqltx.WithNotFoundIf(func(err error) bool { return errors.Is(err, errNoUser) }),
		mysqltx.WithDuplicateIf(func(err error) bool { return errors.Is(err, errEmailTaken) }))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(user.ID, created)
}

var (
	errNoUser     = errors.New("no such user")
	errEmailTaken = errors.New("this email is taken")
)

// The server's error is not in the repository's. It is enough that create says so.
func ExampleWithDuplicateIf() {
	var get func(context.Context, mysqltx.Querier, string) (User, error)
	var create func(context.Context, mysqltx.Querier) (User, error)
	taken := func(err error) bool { return errors.Is(err, errEmailTaken) }
	user, created, err := mysqltx.GetOrCreate(ctx, db, get, create, mysqltx.WithDuplicateIf(taken))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(user.ID, created)
}

// Each new row costs two statements.
func ExampleWithLastRead() {
	var get func(context.Context, mysqltx.Querier, string) (User, error)
	var create func(context.Context, mysqltx.Querier) (User, error)
	user, created, err := mysqltx.GetOrCreate(ctx, db, get, create, mysqltx.WithLastRead(false))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(user.ID, created)
}

func ExampleIsDuplicateKey() {
	err := fmt.Errorf("sign-up: %w", &mysql.MySQLError{Number: 1062, Message: "Duplicate entry 'ann' for key 'name'"})
	fmt.Println(mysqltx.IsDuplicateKey(err))
	// Output: true
}

func ExampleIsRetryable() {
	for _, err := range []error{
		&mysql.MySQLError{Number: 1213, Message: "Deadlock found"},
		&mysql.MySQLError{Number: 1062, Message: "Duplicate entry"},
		mysql.ErrInvalidConn, // lost, perhaps during COMMIT
		driver.ErrBadConn,    // lost before COMMIT was sent
	} {
		fmt.Println(mysqltx.IsRetryable(err))
	}
	// Output:
	// true
	// false
	// false
	// true
}

// create collides with a key that get doesn't look at.
func ExampleConflictError() {
	_, _, err := getOrCreateUser(ctx, db, "ann@example.com")
	if conflict, ok := errors.AsType[*mysqltx.ConflictError](err); ok {
		log.Fatal("another user has the same ", conflict.Key)
	}
}
