package inspect

import (
	"fmt"
	"strings"

	"github.com/mysqlinit/mysqlinit/internal/sqltext"
)

// This file has the rules about tables.

func noPrimaryKey(f *facts) *Finding {
	names := f.tablesThat(func(t table) bool { return !t.hasPrimary })
	if len(names) == 0 || !f.refusesStatement() {
		return nil
	}
	cluster := "Group Replication refuses changes of such tables"
	if f.isMariaDB() {
		cluster = "Galera misapplies changes of such tables"
	}
	return &Finding{
		Severity: Warning,
		What:     "tables without a primary key: " + firstNames(names),
		Why:      "with row-based logging a replica searches the whole table for each changed row; " + cluster,
		Cure:     "give each a key of columns that tell its rows apart; a new AUTO_INCREMENT column is not one if there are replicas, which can number the rows in another order",
		Commands: commands("# all of them, with their columns", f.columnsWithoutKey(), "# to adapt", f.alter(names, "ADD PRIMARY KEY (COLUMN, COLUMN)")),
	}
}

// columnsWithoutKey is a query for the columns of all tables without a primary key.
func (f *facts) columnsWithoutKey() string {
	database := sqltext.QuoteText(f.database)
	return commands("SELECT c.TABLE_NAME, c.COLUMN_NAME, c.COLUMN_TYPE, c.IS_NULLABLE",
		"FROM information_schema.TABLES t",
		"  JOIN information_schema.COLUMNS c USING (TABLE_SCHEMA, TABLE_NAME)",
		"WHERE t.TABLE_SCHEMA = "+database,
		"  AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')",
		"  AND t.TABLE_NAME NOT IN (",
		"    SELECT TABLE_NAME FROM information_schema.COLUMNS",
		"    WHERE TABLE_SCHEMA = "+database+" AND COLUMN_KEY = 'PRI')",
		"ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION;")
}

// alter returns the statements that change the tables that a finding names.
func (f *facts) alter(names []string, how string) string {
	var statements []string
	for _, name := range names[:min(len(names), maxNames)] {
		statements = append(statements, "ALTER TABLE "+sqltext.QuoteName(f.database)+"."+sqltext.QuoteName(name), "  "+how+";")
	}
	return commands(statements...)
}

func notInnoDB(f *facts) *Finding {
	names := f.tablesThat(func(t table) bool { return !t.transactional })
	if len(names) == 0 {
		return nil
	}
	return &Finding{
		Severity: Warning,
		What:     "tables whose engine has no transactions: " + firstNames(names),
		Why:      "isolation levels do not apply to them, and a rollback does not undo changes of them",
		Cure:     "change their engine, which copies each table",
		Commands: f.alter(names, "ENGINE=InnoDB"),
	}
}

func (f *facts) tablesThat(match func(table) bool) (names []string) {
	for _, t := range f.tables {
		if match(t) {
			names = append(names, t.name)
		}
	}
	return names
}

// maxNames bounds how many tables a finding names.
const maxNames = 10

func firstNames(names []string) string {
	if len(names) <= maxNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNames], ", "), len(names)-maxNames)
}
