-- name: GetName :one
SELECT name FROM names WHERE name = ?;

-- name: CreateName :exec
INSERT INTO names (name) VALUES (?);

-- name: MySQLSession :one
SELECT CONCAT_WS(' ', @@SESSION.transaction_isolation, @@SESSION.binlog_format);

-- name: MariaDBSession :one
SELECT CONCAT(@@SESSION.tx_isolation, ' ', @@SESSION.binlog_format);
