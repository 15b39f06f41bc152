package conformance

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// kind is a kind of statement that a program can run in a transaction.
type kind struct {
	text        string // {db} stands for the database
	before      string // another session runs these first, so that each run finds the same
	directly    bool   // it is not prepared: MariaDB 10.5 crashes
	notOnVitess bool   // its tablet ends the transaction, or keeps a new table locked
}

// insideKinds leave the transaction open and whole, whether they succeed or fail. Some are
// unknown to some servers: error 1064 is one of the ways to fail. They work in the tables
// of kindTables.
var insideKinds = append(kindsOf(
	// Statements about rows
	"INSERT INTO mysqlinit_work (n) VALUES (10)",
	"INSERT mysqlinit_work SET n = 10",
	"INSERT INTO mysqlinit_work (n) SELECT n FROM mysqlinit_work AS w",
	"INSERT IGNORE INTO mysqlinit_work (id, n) VALUES (1, 10)",
	"INSERT INTO mysqlinit_work (id, n) VALUES (1, 10) ON DUPLICATE KEY UPDATE n = n + 1",
	"INSERT INTO mysqlinit_work (n) VALUES (10) RETURNING id",
	"INSERT LOW_PRIORITY INTO mysqlinit_work (n) VALUES (10)",
	"INSERT DELAYED INTO mysqlinit_work (n) VALUES (10)",
	"REPLACE INTO mysqlinit_work (id, n) VALUES (1, 10)",
	"REPLACE mysqlinit_work SET id = 1, n = 10",
	"UPDATE mysqlinit_work SET n = n + 1 WHERE id = 1",
	"UPDATE mysqlinit_work SET n = n",
	"UPDATE mysqlinit_work a JOIN mysqlinit_work b ON a.id = b.id SET a.n = b.n + 1",
	"UPDATE mysqlinit_work SET n = n + 1 ORDER BY id LIMIT 1",
	"DELETE FROM mysqlinit_work WHERE id = 1",
	"DELETE a FROM mysqlinit_work a JOIN mysqlinit_work b ON a.id = b.id WHERE a.id = 2",
	"DELETE FROM mysqlinit_work WHERE id = 1 RETURNING n",
	"WITH one AS (SELECT 1 AS id) SELECT * FROM one",
	"WITH one AS (SELECT 1 AS id) UPDATE mysqlinit_work, one SET n = n + 1 WHERE mysqlinit_work.id = one.id",
	"LOAD DATA LOCAL INFILE 'mysqlinit-no-such-file' INTO TABLE mysqlinit_work",
	"LOAD DATA INFILE '/mysqlinit/no/such/file' INTO TABLE mysqlinit_work",
	"LOAD XML INFILE '/mysqlinit/no/such/file' INTO TABLE mysqlinit_work",
	"DO 1",
	"DO SLEEP(0), GET_LOCK('mysqlinit', 0), RELEASE_LOCK('mysqlinit')",

	// Reads
	"SELECT 1",
	"(SELECT 1) UNION (SELECT 2)",
	"SELECT * FROM mysqlinit_work",
	"SELECT * FROM mysqlinit_work WHERE id = 0",
	"SELECT * FROM mysqlinit_work FOR UPDATE",
	"SELECT * FROM mysqlinit_work LOCK IN SHARE MODE",
	"SELECT * FROM mysqlinit_work FOR SHARE",
	"SELECT * FROM mysqlinit_held FOR UPDATE SKIP LOCKED",
	"SELECT n FROM mysqlinit_work WHERE id = 1 INTO @mysqlinit",
	"SELECT n INTO @mysqlinit FROM mysqlinit_work WHERE id = 1",
	"SELECT @mysqlinit := 1",
	"SELECT SQL_CALC_FOUND_ROWS * FROM mysqlinit_work LIMIT 1",
	"SELECT FOUND_ROWS(), LAST_INSERT_ID(), ROW_COUNT(), CONNECTION_ID(), DATABASE(), VERSION(), USER()",
	"SELECT @@autocommit, @@SESSION.sql_mode, @@GLOBAL.max_connections",
	"SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{db}'",
	"SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = '{db}'",
	"SELECT COUNT(*) FROM information_schema.innodb_trx",
	"SELECT COUNT(*) FROM performance_schema.threads",
	"SELECT n FROM mysqlinit_work PROCEDURE ANALYSE()",
	"TABLE mysqlinit_work",
	"VALUES ROW(1, 2), ROW(3, 4)",
	"/* a comment */ SELECT 1",
	"-- a comment\nSELECT 1",
	"# a comment\nINSERT INTO mysqlinit_work (n) VALUES (10)",
	"SELECT /*+ NO_INDEX_MERGE(mysqlinit_work) */ * FROM mysqlinit_work",

	// SHOW and its like
	"SHOW TABLES",
	"SHOW CREATE TABLE mysqlinit_work",
	"SHOW INDEX FROM mysqlinit_work",
	"SHOW COLUMNS FROM mysqlinit_work",
	"SHOW TABLE STATUS LIKE 'mysqlinit_work'",
	"SHOW VARIABLES LIKE 'autocommit'",
	"SHOW STATUS LIKE 'Threads_connected'",
	"SHOW WARNINGS",
	"SHOW ERRORS",
	"SHOW PROCESSLIST",
	"SHOW DATABASES",
	"SHOW GRANTS",
	"SHOW ENGINES",
	"SHOW ENGINE INNODB STATUS",
	"SHOW OPEN TABLES",
	"SHOW TRIGGERS",
	"SHOW CREATE TABLE mysqlinit_missing",
	"EXPLAIN SELECT * FROM mysqlinit_work",
	"EXPLAIN UPDATE mysqlinit_work SET n = 1",
	"EXPLAIN FORMAT=JSON SELECT * FROM mysqlinit_work",
	"EXPLAIN ANALYZE SELECT * FROM mysqlinit_work",
	"EXPLAIN SELECT * FROM (SELECT * FROM mysqlinit_work LIMIT 1) AS derived",
	"DESCRIBE mysqlinit_work",
	"DESC mysqlinit_work",
	"ANALYZE SELECT * FROM mysqlinit_work",
	"ANALYZE UPDATE mysqlinit_work SET n = n + 1",
	"CHECKSUM TABLE mysqlinit_work",
	"USE {db}",

	// The session
	"SET @mysqlinit = 1",
	"SET @mysqlinit = (SELECT MAX(n) FROM mysqlinit_work)",
	"SET SESSION sort_buffer_size = 100000",
	"SET sql_mode = 'ANSI_QUOTES'",
	"SET time_zone = '+03:00'",
	"SET NAMES utf8",
	"SET CHARACTER SET utf8",
	"SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
	"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
	"SET foreign_key_checks = 0, unique_checks = 0",
	"SET SESSION binlog_format = 'ROW'",
	"SET autocommit = 1",
	"SET @@autocommit = 1",
	"SET completion_type = 0",
	"SET STATEMENT max_statement_time = 10 FOR SELECT 1",
	"SET STATEMENT max_statement_time = 10 FOR INSERT INTO mysqlinit_work (n) VALUES (10)",
	"PREPARE mysqlinit FROM 'SELECT 1'",
	"EXECUTE mysqlinit_missing",
	"DEALLOCATE PREPARE mysqlinit_missing",
	"EXECUTE IMMEDIATE 'SELECT 1'",
	"EXECUTE IMMEDIATE 'INSERT INTO mysqlinit_work (n) VALUES (10)'",
	"EXECUTE IMMEDIATE 'INSERT INTO mysqlinit_work (id, n) VALUES (1, 10)'",
	"HANDLER mysqlinit_work OPEN",
	"UNLOCK TABLES",
	"GET DIAGNOSTICS @mysqlinit = NUMBER",
	"XA RECOVER",
	"XA START 'mysqlinit'",
	"SELECT GET_LOCK('mysqlinit', 0)",

	// Savepoints
	"SAVEPOINT mysqlinit",
	"RELEASE SAVEPOINT mysqlinit_missing",
	"ROLLBACK TO mysqlinit_missing",
	"ROLLBACK WORK TO SAVEPOINT mysqlinit_missing",

	// Temporary tables
	"CREATE TEMPORARY TABLE mysqlinit_temporary (id INT PRIMARY KEY)",
	"CREATE TEMPORARY TABLE mysqlinit_temporary (id INT PRIMARY KEY) ENGINE=InnoDB SELECT id FROM mysqlinit_work",
	"CREATE TEMPORARY TABLE mysqlinit_temporary LIKE mysqlinit_work",
	"DROP TEMPORARY TABLE mysqlinit_missing",
	"DROP TEMPORARY TABLE IF EXISTS mysqlinit_missing",

	// Executable comments
	"/*! INSERT INTO mysqlinit_work (n) VALUES (10) */",
	"/*M! INSERT INTO mysqlinit_work (n) VALUES (10) */",
	"/*!40101 SET NAMES utf8 */",
	"INSERT /*!99999 IGNORE */ INTO mysqlinit_work (n) VALUES (10)",

	// Batches: a syntax error if the session takes one statement at a time
	"SELECT 1; SELECT 2",
	"INSERT INTO mysqlinit_work (n) VALUES (10); UPDATE mysqlinit_work SET n = n + 1; SELECT 1",
	"SELECT 1; SELECT * FROM mysqlinit_missing",
	"INSERT INTO mysqlinit_work (n) VALUES (10); INSERT INTO mysqlinit_work (id, n) VALUES (1, 10)",
	"SAVEPOINT a; INSERT INTO mysqlinit_work (n) VALUES (10); ROLLBACK TO a; RELEASE SAVEPOINT a",
	"SET @text = 'INSERT INTO mysqlinit_work (n) VALUES (10)'; PREPARE p FROM @text; EXECUTE p; DEALLOCATE PREPARE p",

	// Errors
	"SELEC 1",                         // 1064
	"",                                // 1065
	"SELECT * FROM mysqlinit_missing", // 1146
	"INSERT INTO mysqlinit_missing VALUES (1)", // 1146
	"UPDATE mysqlinit_missing SET n = 1",
	"DELETE FROM mysqlinit_missing",
	"SELECT missing FROM mysqlinit_work",                                // 1054
	"SELECT mysqlinit_missing()",                                        // 1305
	"USE mysqlinit_missing",                                             // 1049
	"SET mysqlinit_missing = 1",                                         // 1193
	"SET autocommit = 7",                                                // 1231
	"SET hostname = 'x'",                                                // 1238
	"INSERT INTO mysqlinit_work (id, n) VALUES (1, 10)",                 // 1062
	"UPDATE mysqlinit_work SET id = 1 WHERE id = 2",                     // 1062
	"INSERT INTO mysqlinit_work (n) VALUES (11), (12), (NULL)",          // 1048
	"INSERT INTO mysqlinit_work (name) VALUES ('x')",                    // 1364
	"INSERT INTO mysqlinit_work (n) VALUES ('x')",                       // 1366
	"INSERT INTO mysqlinit_work (n) VALUES (1e20)",                      // 1264
	"INSERT INTO mysqlinit_work (n, name) VALUES (1, REPEAT('x', 100))", // 1406
	"INSERT INTO mysqlinit_work VALUES (1)",                             // 1136
	"INSERT INTO mysqlinit_child (parent) VALUES (7)",                   // 1452
	"DELETE FROM mysqlinit_parent",                                      // 1451
	"SELECT (SELECT n FROM mysqlinit_work)",                             // 1242
	"SELECT 9223372036854775807 + 1",                                    // 1690
	"UPDATE mysqlinit_work SET n = 1 / 0 WHERE id = 1",                  // 1365
	"SELECT 'x' REGEXP '('",                                             // 1139
	"SELECT ST_GeomFromText('x')",                                       // 3037
	"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'",                   // 1644
	"RESIGNAL", // 1645
	"SELECT /*+ MAX_EXECUTION_TIME(1) */ id, SLEEP(0.1) FROM mysqlinit_parent",                 // 3024
	"SET STATEMENT max_statement_time = 0.001 FOR SELECT id, SLEEP(0.1) FROM mysqlinit_parent", // 1969
	"SET STATEMENT max_statement_time = 0.01 FOR UPDATE mysqlinit_held SET n = n + 1",          // 1969
	"SELECT LOAD_FILE('/mysqlinit/no/such/file')",
	"SELECT * FROM mysqlinit_work INTO OUTFILE '/mysqlinit/no/such/file'",
),
	kind{text: "VALUES (1, 2), (3, 4)", directly: true},
	kind{text: "INSERT INTO mysqlinit_memory VALUES (1)", before: newMemory},
	kind{text: "INSERT INTO mysqlinit_memory SELECT a.id * 1000 + b.id FROM mysqlinit_many a, mysqlinit_many b", before: newMemory}, // 1114
)

func kindsOf(texts ...string) (kinds []kind) {
	for _, text := range texts {
		kinds = append(kinds, kind{text: text})
	}
	return kinds
}

// otherKinds are statements that commit, or can commit, whether they succeed or fail.
var otherKinds = []kind{
	{text: "CREATE TABLE mysqlinit_new (id INT PRIMARY KEY)", before: dropNew},
	{text: "CREATE TABLE IF NOT EXISTS mysqlinit_work (id INT PRIMARY KEY)"},
	{text: "CREATE TABLE mysqlinit_work (id INT PRIMARY KEY)"}, // 1050
	{text: "CREATE TABLE mysqlinit_new (id INT PRIMARY KEY, id INT)", before: dropNew},
	{text: "CREATE TABLE mysqlinit_new LIKE mysqlinit_work", before: dropNew},
	{text: "CREATE TABLE mysqlinit_new LIKE mysqlinit_missing", before: dropNew},
	{text: "CREATE TABLE mysqlinit_new (id INT PRIMARY KEY) SELECT id FROM mysqlinit_work", before: dropNew},
	{text: "CREATE TABLE mysqlinit_new (id INT PRIMARY KEY) SELECT 1 AS id UNION ALL SELECT 1", before: dropNew}, // 1062
	{text: "CREATE TABLE mysqlinit_new (id INT PRIMARY KEY) START TRANSACTION", before: dropNew, notOnVitess: true},
	{text: "CREATE OR REPLACE TABLE mysqlinit_new (id INT PRIMARY KEY)", before: dropNew},
	{text: "DROP TABLE mysqlinit_new", before: newTable},
	{text: "DROP TABLE mysqlinit_missing"}, // 1051
	{text: "DROP TABLE IF EXISTS mysqlinit_missing"},
	{text: "ALTER TABLE mysqlinit_new ADD n INT", before: newTable},
	{text: "ALTER TABLE mysqlinit_new DROP missing", before: newTable}, // 1091
	{text: "ALTER TABLE mysqlinit_new ADD id INT", before: newTable},   // 1060
	{text: "ALTER TABLE mysqlinit_missing ADD n INT"},                  // 1146
	{text: "ALTER TABLE mysqlinit_twice ADD UNIQUE (n)"},               // 1062
	{text: "ALTER TABLE mysqlinit_new RENAME mysqlinit_newer", before: newTable + "; DROP TABLE IF EXISTS mysqlinit_newer"},
	{text: "CREATE INDEX n ON mysqlinit_new (n)", before: newTable},
	{text: "CREATE INDEX n ON mysqlinit_new (missing)", before: newTable}, // 1072
	{text: "CREATE UNIQUE INDEX n ON mysqlinit_twice (n)"},                // 1062
	{text: "DROP INDEX n ON mysqlinit_new", before: newTable},             // 1091
	{text: "RENAME TABLE mysqlinit_new TO mysqlinit_newer", before: newTable + "; DROP TABLE IF EXISTS mysqlinit_newer"},
	{text: "RENAME TABLE mysqlinit_missing TO mysqlinit_newer"},
	{text: "TRUNCATE mysqlinit_new", before: newTable},
	{text: "TRUNCATE TABLE mysqlinit_missing"},
	{text: "TRUNCATE TABLE mysqlinit_parent"}, // 1701
	{text: "ANALYZE TABLE mysqlinit_new", before: newTable},
	{text: "CHECK TABLE mysqlinit_new", before: newTable},
	{text: "OPTIMIZE TABLE mysqlinit_new", before: newTable},
	{text: "REPAIR TABLE mysqlinit_new", before: newTable},
	{text: "CHECK TABLE mysqlinit_missing"},
	{text: "CREATE TEMPORARY TABLE mysqlinit_temporary (id INT PRIMARY KEY); ALTER TABLE mysqlinit_temporary ADD n INT"},
	{text: "CREATE TEMPORARY TABLE mysqlinit_temporary (id INT PRIMARY KEY); TRUNCATE mysqlinit_temporary"},
	{text: "CREATE TEMPORARY TABLE mysqlinit_temporary (n INT); CREATE INDEX n ON mysqlinit_temporary (n)"},
	{text: "CREATE TEMPORARY TABLE mysqlinit_temporary (id INT PRIMARY KEY); DROP TEMPORARY TABLE mysqlinit_temporary"},
	{text: "CREATE TEMPORARY TABLE mysqlinit_temporary (id INT PRIMARY KEY); DROP TABLE mysqlinit_temporary"},
	{text: "CREATE TABLE mysqlinit_new (id INT PRIMARY KEY); INSERT INTO mysqlinit_work (id, n) VALUES (1, 10)", before: dropNew}, // 1062
	{text: "INSERT INTO mysqlinit_work (n) VALUES (10); COMMIT"},
	{text: "COMMIT; INSERT INTO mysqlinit_work (id, n) VALUES (1, 10)"}, // 1062
	{text: "COMMIT; SELECT * FROM mysqlinit_missing"},                   // 1146
	{text: "COMMIT; SELECT 1; SELECT 2"},
	{text: "CREATE TABLE mysqlinit_new (id INT PRIMARY KEY); SELECT * FROM mysqlinit_missing", before: dropNew},

	{text: "BEGIN"},
	{text: "START TRANSACTION"},
	{text: "START TRANSACTION WITH CONSISTENT SNAPSHOT"},
	{text: "START TRANSACTION READ ONLY"}, // the next INSERT fails
	{text: "COMMIT"},
	{text: "COMMIT WORK"},
	{text: "COMMIT AND CHAIN"},
	{text: "ROLLBACK"},
	{text: "ROLLBACK AND CHAIN"},
	{text: "ROLLBACK; BEGIN"},
	{text: "SET autocommit = 0"},
	{text: "SET autocommit = 0; SET autocommit = 1"},
	{text: "SET completion_type = 1"},
	{text: "SET completion_type = 1; COMMIT"},
	{text: "LOCK TABLES mysqlinit_work WRITE"}, // the next INSERT fails
	{text: "LOCK TABLES mysqlinit_work WRITE; UNLOCK TABLES"},
	{text: "LOCK TABLES mysqlinit_inside WRITE"},
	{text: "LOCK TABLES mysqlinit_missing WRITE"},
	{text: "FLUSH TABLES mysqlinit_new", before: newTable},
	{text: "FLUSH TABLES mysqlinit_work WITH READ LOCK"}, // the next INSERT fails
	{text: "FLUSH STATUS"},
	{text: "FLUSH LOCAL TABLES mysqlinit_work"},
	{text: "CACHE INDEX mysqlinit_work IN mysqlinit_missing"},
	{text: "LOAD INDEX INTO CACHE mysqlinit_work"},
	{text: "PREPARE p FROM 'INSERT INTO mysqlinit_work (n) VALUES (10)'; EXECUTE p"},
	{text: "PREPARE p FROM 'COMMIT'; EXECUTE p"},
	{text: "PREPARE p FROM 'TRUNCATE mysqlinit_new'; EXECUTE p", before: newTable},
	{text: "EXECUTE IMMEDIATE 'COMMIT'"},
	{text: "EXECUTE IMMEDIATE 'TRUNCATE mysqlinit_missing'"},
	{text: "BEGIN NOT ATOMIC INSERT INTO mysqlinit_work (n) VALUES (10); END"},
	{text: "BEGIN NOT ATOMIC COMMIT; INSERT INTO mysqlinit_work (id, n) VALUES (1, 10); END"}, // 1062
	{text: "SET STATEMENT max_statement_time = 10 FOR TRUNCATE mysqlinit_new", before: newTable},
	{text: "/*! COMMIT */"},
	{text: "/*!40101 TRUNCATE mysqlinit_new */", before: newTable},
	{text: "/*M! COMMIT */"},
	{text: "SELECT 1 /*! ; COMMIT */"},
	{text: "XA BEGIN 'mysqlinit'"},
	{text: "HANDLER mysqlinit_missing OPEN"},
}

// privateKinds need more of the server than tables whose names begin with mysqlinit_.
var privateKinds = []kind{
	{text: "CALL mysqlinit_insert()"},
	{text: "CALL mysqlinit_results()"},
	{text: "CALL mysqlinit_handles()"},
	{text: "CALL mysqlinit_savepoint()"},
	{text: "CALL mysqlinit_fails()"},
	{text: "CALL mysqlinit_commits()", notOnVitess: true}, // 1317
	{text: "CALL mysqlinit_commits_and_fails()"},          // 1062
	{text: "CALL mysqlinit_begins()"},
	{text: "CALL mysqlinit_rolls_back()", notOnVitess: true},
	{text: "CALL mysqlinit_truncates()", before: newTable, notOnVitess: true},
	{text: "CALL mysqlinit_missing()"},
	{text: "SELECT mysqlinit_writes(1)"},
	{text: "SELECT mysqlinit_writes(-1)"},                     // 1644
	{text: "INSERT INTO mysqlinit_triggered (n) VALUES (-1)"}, // 1644
	{text: "INSERT INTO mysqlinit_triggered (n) VALUES (1)"},
	{text: "CREATE PROCEDURE mysqlinit_new() SELECT 1", before: "DROP PROCEDURE IF EXISTS mysqlinit_new"},
	{text: "CREATE PROCEDURE mysqlinit_fails() SELECT 1"},
	{text: "ALTER PROCEDURE mysqlinit_fails COMMENT 'fails'"},
	{text: "DROP PROCEDURE mysqlinit_missing"},
	{text: "DROP PROCEDURE IF EXISTS mysqlinit_missing"},
	{text: "DROP FUNCTION mysqlinit_missing"},
	{text: "CREATE FUNCTION mysqlinit_commits() RETURNS INT DETERMINISTIC BEGIN COMMIT; RETURN 1; END"}, // 1422
	{text: "CREATE OR REPLACE VIEW mysqlinit_view AS SELECT 1 AS one"},
	{text: "CREATE VIEW mysqlinit_work AS SELECT 1 AS one"},
	{text: "DROP VIEW mysqlinit_missing"},
	{text: "DROP VIEW IF EXISTS mysqlinit_view"},
	{text: "CREATE TRIGGER mysqlinit_trigger BEFORE INSERT ON mysqlinit_missing FOR EACH ROW SET @x = 1"},
	{text: "DROP TRIGGER mysqlinit_missing"},
	{text: "CREATE EVENT mysqlinit_event ON SCHEDULE AT CURRENT_TIMESTAMP + INTERVAL 1 YEAR DO SELECT 1", before: "DROP EVENT IF EXISTS mysqlinit_event"},
	{text: "DROP EVENT IF EXISTS mysqlinit_event"},
	{text: "CREATE SEQUENCE mysqlinit_missing.s"},
	{text: "CREATE DATABASE mysqlinit_kinds", before: "DROP DATABASE IF EXISTS mysqlinit_kinds"},
	{text: "CREATE DATABASE IF NOT EXISTS {db}"},
	{text: "CREATE DATABASE {db}"}, // 1007
	{text: "ALTER DATABASE mysqlinit_kinds CHARACTER SET utf8", before: "CREATE DATABASE IF NOT EXISTS mysqlinit_kinds"},
	{text: "DROP DATABASE mysqlinit_missing"}, // 1008
	{text: "DROP DATABASE IF EXISTS mysqlinit_kinds"},
	{text: "CREATE USER mysqlinit_user; DROP USER mysqlinit_user"},
	{text: "CREATE USER root@127.0.0.1"},
	{text: "ALTER USER mysqlinit_missing ACCOUNT LOCK"},
	{text: "RENAME USER mysqlinit_missing TO mysqlinit_user"},
	{text: "DROP USER mysqlinit_missing"},
	{text: "DROP USER IF EXISTS mysqlinit_user"},
	{text: "GRANT SELECT ON {db}.* TO app"},
	{text: "GRANT SELECT ON {db}.* TO mysqlinit_missing"},
	{text: "REVOKE INSERT ON {db}.* FROM mysqlinit_missing"},
	{text: "SET PASSWORD FOR mysqlinit_missing = ''"},
	{text: "DROP ROLE mysqlinit_missing"},
	{text: "SET ROLE mysqlinit_missing"},
	{text: "SET ROLE NONE"},
	{text: "SET DEFAULT ROLE NONE TO mysqlinit_missing"},
	{text: "FLUSH PRIVILEGES"},
	{text: "FLUSH TABLES"},
	{text: "FLUSH LOGS"},
	{text: "FLUSH BINARY LOGS"},
	{text: "KILL 4294967290"},
	{text: "KILL QUERY 4294967290"},
	{text: "SET GLOBAL max_connections = 500"},
	{text: "SET PERSIST max_connections = 500"},
	{text: "RESET PERSIST IF EXISTS max_connections"},
	{text: "RESET QUERY CACHE"},
	{text: "SHOW MASTER STATUS"},
	{text: "SHOW BINARY LOGS"},
	{text: "SHOW BINARY LOG STATUS"},
	{text: "SHOW REPLICA STATUS"},
	{text: "PURGE BINARY LOGS TO 'mysqlinit-missing'"},
	{text: "BINLOG 'mysqlinit'"},
	{text: "INSTALL PLUGIN mysqlinit SONAME 'mysqlinit_missing.so'"},
	{text: "UNINSTALL PLUGIN mysqlinit"},
	{text: "CREATE SERVER mysqlinit_missing FOREIGN DATA WRAPPER missing OPTIONS (USER 'x')", before: "DROP SERVER IF EXISTS mysqlinit_missing"},
	{text: "DROP SERVER IF EXISTS mysqlinit_missing"},
	{text: "ALTER INSTANCE ROTATE INNODB MASTER KEY"},
	{text: "LOCK INSTANCE FOR BACKUP"},
	{text: "BACKUP LOCK mysqlinit_work"},
	{text: "SET RESOURCE GROUP mysqlinit_missing"},
	{text: "START TRANSACTION READ WRITE"},
}

const (
	dropNew   = "DROP TABLE IF EXISTS mysqlinit_new"
	newMemory = "DROP TABLE IF EXISTS mysqlinit_memory; SET max_heap_table_size = 16384; CREATE TABLE mysqlinit_memory (id INT PRIMARY KEY) ENGINE=MEMORY"
	newTable  = dropNew + "; CREATE TABLE mysqlinit_new (id INT PRIMARY KEY, n INT) ENGINE=InnoDB"
)

// restoreRows makes the rows what each kind expects.
var restoreRows = []string{
	"BEGIN", "DELETE FROM mysqlinit_inside",
	"REPLACE INTO mysqlinit_work (id, n) VALUES (1, 1), (2, 2), (3, 3)", "DELETE FROM mysqlinit_work WHERE id > 3", "COMMIT",
}

// kindTables are the tables that the kinds work in.
var kindTables = []struct{ name, columns string }{
	{"inside", logColumns},
	{"work", "id INT AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL, name VARCHAR(10)"},
	{"held", "id INT PRIMARY KEY, n INT NOT NULL"},
	{"many", "id INT PRIMARY KEY"},
	{"twice", "id INT PRIMARY KEY, n INT NOT NULL"},
	{"parent", "id INT PRIMARY KEY"},
	{"child", "id INT AUTO_INCREMENT PRIMARY KEY, parent INT NOT NULL, FOREIGN KEY (parent) REFERENCES mysqlinit_parent (id)"},
	{"triggered", "id INT AUTO_INCREMENT PRIMARY KEY, n INT NOT NULL"},
}

// kindRoutines are what privateKinds call.
var kindRoutines = []string{
	"CREATE PROCEDURE mysqlinit_insert() INSERT INTO mysqlinit_work (n) VALUES (10)",
	"CREATE PROCEDURE mysqlinit_results() BEGIN SELECT 1; SELECT * FROM mysqlinit_work; END",
	"CREATE PROCEDURE mysqlinit_handles() BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION SET @mysqlinit = 1; INSERT INTO mysqlinit_work (id, n) VALUES (1, 10); SELECT * FROM mysqlinit_missing; INSERT INTO mysqlinit_work (n) VALUES (10); END",
	"CREATE PROCEDURE mysqlinit_savepoint() BEGIN SAVEPOINT a; INSERT INTO mysqlinit_work (n) VALUES (10); ROLLBACK TO a; END",
	"CREATE PROCEDURE mysqlinit_fails() BEGIN INSERT INTO mysqlinit_work (n) VALUES (10); SIGNAL SQLSTATE '45000'; END",
	"CREATE PROCEDURE mysqlinit_commits() BEGIN INSERT INTO mysqlinit_work (n) VALUES (10); COMMIT; END",
	"CREATE PROCEDURE mysqlinit_commits_and_fails() BEGIN COMMIT; INSERT INTO mysqlinit_work (id, n) VALUES (1, 10); END",
	"CREATE PROCEDURE mysqlinit_begins() BEGIN START TRANSACTION; INSERT INTO mysqlinit_work (n) VALUES (10); END",
	"CREATE PROCEDURE mysqlinit_rolls_back() BEGIN START TRANSACTION; INSERT INTO mysqlinit_work (n) VALUES (10); ROLLBACK; END",
	"CREATE PROCEDURE mysqlinit_truncates() TRUNCATE mysqlinit_new",
	"CREATE FUNCTION mysqlinit_writes(x INT) RETURNS INT DETERMINISTIC BEGIN INSERT INTO mysqlinit_work (n) VALUES (x); IF x < 0 THEN SIGNAL SQLSTATE '45000'; END IF; RETURN x; END",
	"CREATE TRIGGER mysqlinit_trigger BEFORE INSERT ON mysqlinit_triggered FOR EACH ROW IF NEW.n < 0 THEN SIGNAL SQLSTATE '45000'; END IF",
}

// kindWays are ways to run a statement in a transaction.
var kindWays = []struct {
	name string
	run  func(ctx context.Context, tx *sql.Tx, text string) error
}{
	{"Exec", func(ctx context.Context, tx *sql.Tx, text string) error {
		_, err := tx.ExecContext(ctx, text)
		return err
	}},
	{"Query", func(ctx context.Context, tx *sql.Tx, text string) error {
		return readAll(tx.QueryContext(ctx, text))
	}},
	{"prepared Exec", func(ctx context.Context, tx *sql.Tx, text string) error {
		stmt, err := tx.PrepareContext(ctx, text)
		if err != nil {
			return err
		}
		_, err = stmt.ExecContext(ctx)
		return errors.Join(err, stmt.Close())
	}},
	{"prepared Query", func(ctx context.Context, tx *sql.Tx, text string) error {
		stmt, err := tx.PrepareContext(ctx, text)
		if err != nil {
			return err
		}
		return errors.Join(readAll(stmt.QueryContext(ctx)), stmt.Close())
	}},
}

// returnsRows matches statements that can return rows. The MySQL driver (1.10.1) cannot Exec
// them as prepared statements on MariaDB: it waits for descriptions of the columns, which
// the server sends only once, or takes the rows for them.
var returnsRows = regexp.MustCompile(`(?i)^[^a-z]*(analyze|backup|cache|call|check|desc|execute|explain|handler|load index|optimize|repair|select|show|table|values|with|xa)|(execute|for) .?(select|analyze)|a comment|returning`)

// readAll reads all results of a query.
func readAll(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	for more := true; more; more = rows.NextResultSet() {
		for rows.Next() {
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// kindOutcome is how a transaction with a statement of some kind went.
type kindOutcome struct {
	statement, insert, commit string // the errors: of the statement, the INSERT after it, and COMMIT
	rows                      string // which of the transaction's two rows are there
}

// guardRefusesNone runs each kind of statement in a transaction that then goes on and
// commits. Nothing of it is allowed to go otherwise because of the guard.
func (s *suite) guardRefusesNone(t *testing.T) string {
	dsn, direct := s.anyTable()
	if dsn == "" {
		return notHere
	}
	plain := openPlain(t, direct)
	for _, of := range kindTables {
		table(t, plain, of.name, of.columns)
	}
	other, err := plain.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	testserver.Exec(t, other, "INSERT INTO mysqlinit_held VALUES (1, 1)", "INSERT INTO mysqlinit_twice VALUES (1, 1), (2, 1)",
		"INSERT INTO mysqlinit_parent VALUES (1)", "INSERT INTO mysqlinit_child VALUES (1, 1)",
		"INSERT INTO mysqlinit_many VALUES (1)"+numbers(2, 300))
	kinds := slices.Concat(insideKinds, otherKinds)
	t.Cleanup(func() { execAfter(t, plain, "DROP TABLE IF EXISTS mysqlinit_memory, mysqlinit_new, mysqlinit_newer") })
	if s.Private {
		kinds = append(kinds, privateKinds...)
		drop := []string{"DROP DATABASE IF EXISTS mysqlinit_kinds", "DROP VIEW IF EXISTS mysqlinit_view", "DROP EVENT IF EXISTS mysqlinit_event", "DROP PROCEDURE IF EXISTS mysqlinit_new"}
		for _, create := range kindRoutines {
			words := strings.FieldsFunc(create, func(r rune) bool { return r == ' ' || r == '(' })
			drop = append(drop, "DROP "+words[1]+" IF EXISTS "+words[2])
		}
		testserver.Exec(t, other, drop...)
		testserver.Exec(t, other, kindRoutines...)
		t.Cleanup(func() { execAfter(t, plain, drop...) })
	}
	holder, err := plain.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback() }()
	testserver.Exec(t, holder, "UPDATE mysqlinit_held SET n = 2")

	if s.Unsharded != nil {
		kinds = slices.DeleteFunc(kinds, func(k kind) bool { return k.notOnVitess })
	}
	var runs, refused int
	for _, batches := range []string{"true", "false"} {
		params := "maxAllowedPacket=1048576&multiStatements=" + batches
		guarded, bare := open(t, dsn, "guard=true&"+params), open(t, dsn, params)
		for _, db := range []*sql.DB{guarded, bare} {
			db.SetMaxIdleConns(-1) // nothing that a kind leaves in its session reaches the next one
		}
		database, err := read(t.Context(), bare, "DATABASE()")
		if err != nil {
			t.Fatal(err)
		}
		for i, k := range kinds {
			text := strings.ReplaceAll(k.text, "{db}", database)
			for w, way := range kindWays {
				if testing.Short() && (w != i%len(kindWays) || batches != fmt.Sprint(i/len(kindWays)%2 == 0)) {
					continue
				}
				if !testing.Short() && w > 0 && batches == "false" {
					continue // the text matters there, and not how it is run
				}
				if way.name == "prepared Exec" && returnsRows.MatchString(text) || k.directly && strings.HasPrefix(way.name, "prepared") {
					continue
				}
				run := func(db *sql.DB) kindOutcome {
					testserver.Exec(t, other, restoreRows...)
					if k.before != "" {
						testserver.Exec(t, other, strings.Split(k.before, "; ")...)
					}
					return runKind(t, db, other, func(ctx context.Context, tx *sql.Tx) error { return way.run(ctx, tx, text) })
				}
				want, got := run(bare), run(guarded)
				// The Router closes the connection if a prepared query fails after its first row.
				if i < len(insideKinds) && want.commit == "" {
					want = kindOutcome{statement: want.statement, rows: "both"}
				}
				runs++
				if timedOut(want.statement) || timedOut(got.statement) {
					want.statement, got.statement = "", "" // whether the clock was first is chance
				}
				if got != want {
					refused++
					t.Errorf("%s, multiStatements=%s: %s\n got %+v\nwant %+v", way.name, batches, text, got, want)
				}
			}
		}
	}
	return fmt.Sprintf("%d of %d", refused, runs)
}

// timedOut reports whether a statement has taken too long: error 3024 on MySQL, 1969 on
// MariaDB.
func timedOut(outcome string) bool { return outcome == "3024" || outcome == "1969" }

// numbers returns more values for an INSERT.
func numbers(from, to int) string {
	var b strings.Builder
	for n := from; n <= to; n++ {
		fmt.Fprintf(&b, ", (%d)", n)
	}
	return b.String()
}

// runKind runs a statement between two INSERTs in a transaction.
func runKind(t *testing.T, db *sql.DB, other *sql.Conn, statement func(context.Context, *sql.Tx) error) (o kindOutcome) {
	t.Helper()
	// The statement could wait for a lock that another kind has left behind.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	insert := func(entry string) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO mysqlinit_inside (entry) VALUES ('"+entry+"')")
		return err
	}
	if err := insert("before"); err != nil {
		t.Fatal(err)
	}
	o.statement = brief(statement(ctx, tx))
	o.insert = brief(insert("after"))
	o.commit = brief(tx.Commit())
	rows, err := read(t.Context(), other, "GROUP_CONCAT(entry ORDER BY entry DESC) FROM mysqlinit_inside")
	if err != nil {
		t.Fatal(err)
	}
	if o.rows = rows; rows == "before,after" {
		o.rows = "both"
	}
	return o
}

// brief returns an error's number, or its text if it isn't the server's.
func brief(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, mysqlinit.ErrTransactionLost) || number(err) == 0:
		return err.Error()
	}
	return fmt.Sprint(number(err))
}
