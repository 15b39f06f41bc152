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
	do   func(ctx context.Context, p pools, name string) (id int64, err error)
}

// The methods that have targets, and those that they are compared with.
const (
	onDB            = "`GetOrCreate(db)`"
	withoutLastRead = "the same, `WithLastRead(false)`"
	getInsertGet    = "by hand: get, insert, get"
	guardedRun      = "`Run`, `guard=true`"
	guardedByHand   = "by hand, `guard=true`"
)

// pools are the pools that methods choose from, without and with the guard.
type pools struct{ plain, guarded *sql.DB }

var getOrCreate = []method{
	{onDB, func(ctx context.Context, p pools, name string) (int64, error) { return onPool(ctx, p.plain, name) }},
	{withoutLastRead, func(ctx context.Context, p pools, name string) (int64, error) {
		return onPool(ctx, p.plain, name, mysqltx.WithLastRead(false))
	}},
	{"`GetOrCreate(tx)` in `Run`, `guard=true`", func(ctx context.Context, p pools, name string) (int64, error) {
		return inRun(ctx, p.guarded, name)
	}},
	{"the same, without the guard", func(ctx context.Context, p pools, name string) (int64, error) { return inRun(ctx, p.plain, name) }},
	{"the same, `WithSentinel(false)`", func(ctx context.Context, p pools, name string) (int64, error) {
		return inRun(ctx, p.plain, name, mysqltx.WithSentinel(false))
	}},
	{getInsertGet, func(ctx context.Context, p pools, name string) (int64, error) { return byHand(ctx, p.plain, name) }},
	{"`INSERT … ON DUPLICATE KEY UPDATE`", func(ctx context.Context, p pools, name string) (int64, error) { return upsert(ctx, p.plain, name) }},
	{"`INSERT IGNORE`, `SELECT`", func(ctx context.Context, p pools, name string) (int64, error) { return ignore(ctx, p.plain, name) }},
}

// transactions are ways to run a transaction of one INSERT.
var transactions = []method{
	{guardedRun, func(ctx context.Context, p pools, name string) (int64, error) {
		return insertInRun(ctx, p.guarded, name)
	}},
	{"`Run` without the guard", func(ctx context.Context, p pools, name string) (int64, error) { return insertInRun(ctx, p.plain, name) }},
	{"the same, `WithSentinel(false)`", func(ctx context.Context, p pools, name string) (int64, error) {
		return insertInRun(ctx, p.plain, name, mysqltx.WithSentinel(false))
	}},
	{guardedByHand, func(ctx context.Context, p pools, name string) (int64, error) {
		return insertInTx(ctx, p.guarded, name)
	}},
	{"by hand", func(ctx context.Context, p pools, name string) (int64, error) { return insertInTx(ctx, p.plain, name) }},
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

func onPool(ctx context.Context, db *sql.DB, name string, opts ...mysqltx.Option) (int64, error) {
	id, _, err := mysqltx.GetOrCreate(ctx, db, get(name), create(name), opts...)
	return id, err
}

func inRun(ctx context.Context, db *sql.DB, name string, opts ...mysqltx.Option) (id int64, err error) {
	err = mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) (err error) {
		id, _, err = mysqltx.GetOrCreate(ctx, tx, get(name), create(name))
		return err
	}, opts...)
	return id, err
}

func insertInRun(ctx context.Context, db *sql.DB, name string, opts ...mysqltx.Option) (id int64, err error) {
	err = mysqltx.Run(ctx, db, func(ctx context.Context, tx *sql.Tx) (err error) {
		id, err = create(name)(ctx, tx)
		return err
	}, opts...)
	return id, err
}

func insertInTx(ctx context.Context, db *sql.DB, name string) (int64, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	id, err := create(name)(ctx, tx)
	if err != nil {
		return 0, err
	}
	return id, tx.Commit()
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
