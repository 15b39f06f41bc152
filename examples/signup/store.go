package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"
)

var schema = []string{
	`CREATE TABLE IF NOT EXISTS users (
		id   BIGINT AUTO_INCREMENT PRIMARY KEY,
		name VARCHAR(64) NOT NULL UNIQUE
	) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
	`CREATE TABLE IF NOT EXISTS visits (
		id      BIGINT AUTO_INCREMENT PRIMARY KEY,
		user_id BIGINT NOT NULL,
		at      TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
		FOREIGN KEY (user_id) REFERENCES users (id)
	) ENGINE=InnoDB`,
}

const errDuplicateKey = 1062

// ErrNoUser means that nobody has signed up under that name.
var ErrNoUser = errors.New("no such user")

// User is somebody who has signed up.
type User struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// Store keeps users in MySQL or MariaDB.
type Store struct{ db *sql.DB }

// OpenStore opens a pool with the named driver and creates missing tables.
func OpenStore(ctx context.Context, driver, dsn string) (*Store, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(32)
	db.SetMaxIdleConns(32)
	db.SetConnMaxLifetime(3 * time.Minute)
	for _, create := range schema {
		if _, err := db.ExecContext(ctx, create); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return &Store{db}, nil
}

// Close closes the pool.
func (s *Store) Close() error { return s.db.Close() }

// SignUp returns the user of that name, creating the user if necessary, and records
// the visit. It does both or neither.
func (s *Store) SignUp(ctx context.Context, name string) (user User, created bool, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return User{}, false, err
	}
	defer tx.Rollback() // does nothing after Commit
	user, created, err = getOrCreate(ctx, tx, name)
	if err != nil {
		return User{}, false, fmt.Errorf("signing %q up: %w", name, err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO visits (user_id) VALUES (?)", user.ID); err != nil {
		return User{}, false, fmt.Errorf("recording a visit: %w", err)
	}
	return user, created, tx.Commit()
}

// getOrCreate is what the first draft of such code usually looks like. It is correct at
// READ COMMITTED. At REPEATABLE READ the last get finds nothing, because it reads from
// the snapshot of the first.
func getOrCreate(ctx context.Context, tx *sql.Tx, name string) (user User, created bool, err error) {
	user, err = get(ctx, tx, name)
	if !errors.Is(err, ErrNoUser) {
		return user, false, err
	}
	result, err := tx.ExecContext(ctx, "INSERT INTO users (name) VALUES (?)", name)
	if serverErr, ok := errors.AsType[*mysql.MySQLError](err); ok && serverErr.Number == errDuplicateKey {
		user, err = get(ctx, tx, name) // another request was faster
		return user, false, err
	}
	if err != nil {
		return User{}, false, err
	}
	id, err := result.LastInsertId()
	return User{id, name}, true, err
}

// Get returns the user of that name, or ErrNoUser.
func (s *Store) Get(ctx context.Context, name string) (User, error) { return get(ctx, s.db, name) }

func get(ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, name string) (user User, err error) {
	err = q.QueryRowContext(ctx, "SELECT id, name FROM users WHERE name = ?", name).Scan(&user.ID, &user.Name)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNoUser
	}
	return user, err
}
