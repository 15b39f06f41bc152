// Package sysvar knows the system variables that matter here: how they are
// spelled, which values they take, and what those values mean.
package sysvar

import (
	"database/sql"
	"strings"
)

// The two names of the isolation level's variable. MySQL 5.6 and MariaDB before
// 11.1 know only TxIsolation, MySQL 8.0 and later only TransactionIsolation.
const (
	TransactionIsolation = "transaction_isolation"
	TxIsolation          = "tx_isolation"
)

// OtherIsolationName returns the other of the two names.
func OtherIsolationName(name string) string {
	if name == TransactionIsolation {
		return TxIsolation
	}
	return TransactionIsolation
}

var levelNames = map[sql.IsolationLevel]string{
	sql.LevelReadUncommitted: "READ-UNCOMMITTED",
	sql.LevelReadCommitted:   "READ-COMMITTED",
	sql.LevelRepeatableRead:  "REPEATABLE-READ",
	sql.LevelSerializable:    "SERIALIZABLE",
}

// LevelName returns a level as the variable spells it, such as READ-COMMITTED.
// It is "" for sql.LevelDefault and for a level that MySQL does not have.
func LevelName(level sql.IsolationLevel) string { return levelNames[level] }

// SpacedLevelName returns a level as SET TRANSACTION spells it, such as READ
// COMMITTED.
func SpacedLevelName(level sql.IsolationLevel) string {
	return strings.ReplaceAll(levelNames[level], "-", " ")
}

// ParseLevel returns the level that a text names. READ COMMITTED, read-committed
// and 'READ-COMMITTED' name the same.
func ParseLevel(text string) (level sql.IsolationLevel, ok bool) {
	name := strings.Join(strings.Fields(Word(text)), "-")
	for level, known := range levelNames {
		if name == known {
			return level, true
		}
	}
	return sql.LevelDefault, false
}

// NeedsRowLog reports whether InnoDB refuses to write at this level while the
// server logs in STATEMENT format (error 1665).
func NeedsRowLog(level sql.IsolationLevel) bool {
	return level == sql.LevelReadCommitted || level == sql.LevelReadUncommitted
}
