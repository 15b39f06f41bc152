package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/mysqlinit/mysqlinit/mysqltx"
)

// method is one way to get or create the row of a name. It returns the row's id.
type method struct {
	name string
	do   func(ctx context.Context, db *sql.DB, name string) (id int64, err error)
}

var methods = []method{
	{"`GetOrCreate(db)`", onPool},
	{"`GetOrCreate(tx)` in `Run`", inRun},
	{"the same, `WithSentinel(false)`", inRunUnwatched},
	{"by hand: get, insert, get", byHand},
	{"`INSERT … ON DUPLICATE KEY UPDATE`", upsert},
	{"`INSERT IGNORE`, `SELECT`", ignore},
}

func get(name string) func(context.Context, mysqltx.Querier, string) (int64, error) {
	return func(ctx context.Context, q mysqltx.Querier, lock string) (id int64, err error) {
		err = q.QueryRowContext(ctx, "SELECT id FROM bench WHERE name = ?"+lock, name).Scan(&id)
		return id, err
	}
}

func create(name string) func(context.Context, mysqltx.Querier) (int64, error) {
	return func(ctx context.Context, q mysqltx.Querier) (int64, error) {
		return insert(ctx, q, "INSERT INTO bench (name) VALUES (?)", name)
	}
}

func insert(ctx context.Context, q mysqltx.Querier, statement, name string) (int64, error) {
	result, err := q.ExecContext(ctx, statement, name)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

func onPool(ctx context.Context, db *sql.DB, name string) (int64, error) {
	id, _, err := mysqltx.GetOrCreate(ctx, db, get(name), create(name))
	return id, err
}

func inRun(ctx context.Context, db *sql.DB, name string) (int64, error) {
	return run(ctx, db, name)
}

func inRunUnwatched(ctx context.Context, db *sql.DB, name string) (int64, error) {
	return run(ctx, db, name, mysqltx.WithSentinel(false))
}

func run(ctx context.Context, db *sql.DB, name string, opts ...mysqltx.Option) (id int64, err error) {
	err = mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) (err error) {
		id, _, err = mysqltx.GetOrCreate(ctx, tx, get(name), create(name))
		return err
	}, opts...)
	return id, err
}

func byHand(ctx context.Context, db *sql.DB, name string) (int64, error) {
	id, err := get(name)(ctx, db, "")
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	if id, err = create(name)(ctx, db); mysqltx.IsDuplicateKey(err) {
		return get(name)(ctx, db, "")
	}
	return id, err
}

func upsert(ctx context.Context, db *sql.DB, name string) (int64, error) {
	return insert(ctx, db, "INSERT INTO bench (name) VALUES (?) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)", name)
}

func ignore(ctx context.Context, db *sql.DB, name string) (int64, error) {
	if _, err := insert(ctx, db, "INSERT IGNORE INTO bench (name) VALUES (?)", name); err != nil {
		return 0, err
	}
	return get(name)(ctx, db, "")
}
