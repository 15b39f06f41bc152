-- name: GetName :one
SELECT name FROM names WHERE name = ?;

-- name: CreateName :exec
INSERT INTO names (name) VALUES (?);

-- name: MySQLSession :one
SELECT CONCAT_WS(' ', @@SESSION.transaction_isolation, @@SESSION.binlog_format);

-- name: MariaDBSession :one
SELECT CONCAT(@@SESSION.tx_isolation, ' ', @@SESSION.binlog_format);

-- name: GetUser :one
SELECT * FROM users WHERE email = ? AND deleted_at IS NULL;

-- name: GetUserShared :one
SELECT * FROM users WHERE email = ? AND deleted_at IS NULL LOCK IN SHARE MODE;

-- name: CreateUser :exec
INSERT INTO users (email, name, created_at, updated_at) VALUES (?, ?, NOW(3), NOW(3));

-- name: RenameUser :exec
UPDATE users SET name = ?, updated_at = NOW(3) WHERE id = ?;
