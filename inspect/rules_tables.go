package inspect

import (
	"fmt"
	"slices"
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
		Commands: commands(slices.Concat([]string{"# their columns", columnsOf(names)}, []string{"# to adapt"}, addKeys(names))...),
	}
}

// columnsOf is a query for the columns of tables, one column a row.
func columnsOf(names []string) string {
	var quoted []string
	for _, name := range names[:min(len(names), maxNames)] {
		quoted = append(quoted, "  "+sqltext.QuoteText(name))
	}
	return commands("SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE",
		"FROM information_schema.COLUMNS",
		"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (",
		strings.Join(quoted, ",\n"),
		") ORDER BY TABLE_NAME, ORDINAL_POSITION;")
}

// addKeys returns the statements that add a primary key to tables.
func addKeys(names []string) (statements []string) {
	for _, name := range names[:min(len(names), maxNames)] {
		statements = append(statements, "ALTER TABLE "+sqltext.QuoteName(name)+" ADD PRIMARY KEY (COLUMN, COLUMN);")
	}
	return statements
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
		Commands: commands(alters(names)...),
	}
}

// alters returns the statements that change the engine of tables.
func alters(names []string) (statements []string) {
	for _, name := range names[:min(len(names), maxNames)] {
		statements = append(statements, "ALTER TABLE "+sqltext.QuoteName(name)+" ENGINE=InnoDB;")
	}
	return statements
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
