package mysqltx_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"log/slog"

	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// The code of docs/get-or-create.md. TestDocsCodeCompiles compares.

var (
	ctx = context.Background()
	db  *sql.DB
)

// A User is a row of users, in which email is unique.
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

func ExampleWithOnRetry() {
	move := func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = balance - 10 WHERE id = 1")
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE accounts SET balance = balance + 10 WHERE id = 2")
		return err
	}
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
