package mysqlinit_test

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// fragments are the parts of the texts with which the fuzzer looks for a
// statement that changes its session unnoticed.
var fragments = strings.Split("SET|set |SESSION |LOCAL |@@|@@SESSION.|@@LOCAL . |tx_isolation|`tx_isolation`|TX_Isolation|binlog_format|time_zone|sql_mode|autocommit|"+
	"=|:=|'SERIALIZABLE'|\"SERIALIZABLE\"|SERIALIZABLE|2|'STATEMENT'|MIXED|'+09:00'|'ANSI_QUOTES'|'NO_BACKSLASH_ESCAPES'|'ORACLE'|''|DEFAULT|0|1|,|;|; |"+
	"TRANSACTION |ISOLATION |LEVEL |READ |UNCOMMITTED|ONLY|STATEMENT | FOR |SELECT 1|select|DO 1|DO |INSERT INTO keep VALUES ()|UPDATE keep SET id=1 WHERE id=1|"+
	"(|)| |\t|\n|/*|*/|/*!|/*!50000 |/*!50000|/*!99999 |/*M!|/*M!100000 |#|-- |--|--\x7f|'|\"|`|\\|\\'|$$|\xa0|\x81|ö|"+
	"EXECUTE |IMMEDIATE |'SET SESSION tx_isolation=''SERIALIZABLE'''|PREPARE s FROM |EXECUTE s|CALL drift()|BEGIN|NOT ATOMIC |END|IF 1 THEN |END IF|LOOP |LEAVE |x:|WHILE 1 DO |"+
	"START TRANSACTION|COMMIT|ROLLBACK| AND CHAIN|USE mysql|USE |XA START 'a'|XA END 'a'|LOCK TABLES keep READ|UNLOCK TABLES|FLUSH TABLES|NAMES |latin1|gbk|CHARACTER SET |"+
	"SAVEPOINT s|RELEASE SAVEPOINT s|EXPLAIN |ANALYZE |WITH a AS (SELECT 1) SELECT * FROM a|VALUES (1)|TABLE keep|SHOW TABLES|KILL |HANDLER keep OPEN|GET DIAGNOSTICS @x = NUMBER|"+
	"CREATE |TEMPORARY |TABLE t (id INT)|DROP TABLE t|DROP DATABASE other|CREATE DATABASE other|completion_type|DELIMITER |RETURN |DECLARE x INT", "|")

// changers are statements that change a session. Many of the texts are one of
// them in another spelling.
var changers = []string{
	"SET SESSION tx_isolation='SERIALIZABLE'",
	"SET @@tx_isolation='SERIALIZABLE'",
	"SET @@SESSION.time_zone='+09:00'",
	"SET time_zone=SYSTEM",
	"SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
	"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
	"SET binlog_format=MIXED",
	"SET LOCAL binlog_format='STATEMENT'",
	"SET autocommit=0",
	"USE mysql",
	"BEGIN",
	"START TRANSACTION",
	"CALL drift()",
	"EXECUTE IMMEDIATE 'SET SESSION tx_isolation=''SERIALIZABLE'''",
	"BEGIN NOT ATOMIC SET SESSION tx_isolation='SERIALIZABLE'; END",
	"IF 1 THEN SET SESSION tx_isolation='SERIALIZABLE'; END IF",
	"SET STATEMENT sql_mode='' FOR SET SESSION tx_isolation='SERIALIZABLE'",
	"SET STATEMENT sql_mode='' FOR CALL drift()",
	"COMMIT AND CHAIN",
	"XA START 'a'",
	"LOCK TABLES keep READ",
	"SET sql_mode='ORACLE'",
	"SET sql_mode='NO_BACKSLASH_ESCAPES'",
	"SET completion_type=1",
	// With sql_mode ORACLE these three change the session too.
	"time_zone := '+09:00'",
	"BEGIN time_zone := '+09:00'; END",
	"drift()",
	// MySQL ignores accents in the names of variables.
	"SET autocömmit=0",
	"SET @@SESSION.transaction_ísölation='SERIALIZABLE'",
}

// harmless are texts that come before such a statement or around it.
var harmless = []string{"", "", "", ";", "SELECT 1;", "DO 1 ; ", "SELECT '\\';", "SELECT '\\'';';", "/* */", "-- \n", "# ;\n", "/*!99999 SELECT 1 */", "/*!99999 ' */", "SELECT 1 /*!99999 ' */;", "SELECT ';", "SELECT ';';", "(SELECT 1);", "SELECT \"'\";", "SELECT `a", "--\x7f'\n", "SELECT 1 --\xa0'\n;", "\xa0", "/*! ", "/*M!50000 ", "SELECT 1;/*! "}

// dressed returns one of the changers in a spelling that servers might read as
// the same statement. isolation is the server's name of that variable.
func dressed(random *rand.Rand, isolation string) string {
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	var b strings.Builder
	b.WriteString(pick(harmless))
	for _, r := range strings.ReplaceAll(pick(changers), "tx_isolation", isolation) {
		switch {
		case r == ' ' && random.IntN(4) == 0:
			b.WriteString(pick([]string{"\t", "\n", "  ", "/**/", "/* SELECT */", " -- c\n", "#\n", "/*! */", "\v", "\f", " /*!50000*/"}))
		case r == '=' && random.IntN(4) == 0:
			b.WriteString(pick([]string{" := ", " = ", ":=", "/**/="}))
		case random.IntN(3) == 0:
			b.WriteString(strings.ToLower(string(r)))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteString(pick([]string{"", "", ";", " */", "; SELECT 1", "; SELECT '", " -- '", "#", "\n"}))
	return b.String()
}

// guardedPool opens a pool of one connection, on a server that has the table and
// the procedures that the texts name.
func guardedPool(tb testing.TB, mysql bool, params string) *sql.DB {
	cfg := testserver.Config{MySQL: mysql, Binlog: "MIXED"}
	if !mysql {
		cfg.Args = []string{"--max-statement-time=1"} // ends an endless LOOP
	}
	s := testserver.Borrow(tb, cfg)
	setUp, err := sql.Open("mysql", s.DSN(testserver.Root, ""))
	if err != nil {
		tb.Fatal(err)
	}
	defer setUp.Close()
	for _, statement := range []string{
		"CREATE TABLE keep (id INT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB",
		"CREATE PROCEDURE drift() SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
		"DROP PROCEDURE IF EXISTS mysql.drift", // of an earlier borrower: Borrow does not empty the database mysql
		"CREATE PROCEDURE mysql.drift() SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
	} {
		if _, err := setUp.Exec(statement); err != nil {
			tb.Fatal(err)
		}
	}
	return onePool(tb, s, guarded+params)
}

// checkText runs a text on the guarded connection and checks the session that
// the next user gets. It reports whether the text changed the session.
func checkText(tb testing.TB, db *sql.DB, text string) (changed bool) {
	tb.Helper()
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		tb.Fatalf("%q: %v", text, err)
	}
	// The whole text is sent as one. After an error the server skips the rest.
	_, err = conn.ExecContext(ctx, text)
	if _, answered := errors.AsType[*mysql.MySQLError](err); err == nil || answered {
		left, _, err := readState(ctx, conn)
		changed = err == nil && left != promised
	}
	conn.Close()
	got, _, err := readState(ctx, db)
	if err != nil || got != promised {
		tb.Errorf("%q: the next user got %+v, %v", text, got, err)
	}
	if lower := strings.ToLower(text); strings.Contains(lower, "isolation") && !strings.Contains(lower, "session") {
		// It might have set the level of the next transaction only. No variable shows that.
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			tb.Fatalf("%q: %v", text, err)
		}
		defer func() { _ = tx.Rollback() }()
		if err := tx.QueryRow("SELECT COUNT(*) FROM keep").Scan(new(int)); err != nil {
			tb.Errorf("%q: %v", text, err)
		}
		if level := transactionLevel(tb, tx); level != "READ COMMITTED" {
			tb.Errorf("%q: the next transaction is %s", text, level)
		}
	}
	return changed
}

func TestGuardMissesNoSpelling(t *testing.T) {
	texts, fewest := 600, 30 // at least so many of the texts must change their session, else the test shows nothing
	if testing.Short() {
		texts, fewest = 200, 5
	}
	for _, test := range []struct {
		name, isolation, params string
	}{
		{"MariaDB", "tx_isolation", ""}, {"MariaDB, several statements", "tx_isolation", "&multiStatements=true"},
		{"MariaDB in Oracle's mode, several statements", "tx_isolation", "&multiStatements=true&sql_mode=%27ORACLE%27"},
		{"MySQL", "transaction_isolation", ""}, {"MySQL, several statements", "transaction_isolation", "&multiStatements=true"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := guardedPool(t, test.isolation != "tx_isolation", test.params)
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			changed := 0
			for range texts {
				if checkText(t, db, dressed(random, test.isolation)) {
					changed++
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("%d of %d texts changed their session", changed, texts)
			if changed < fewest {
				t.Errorf("only %d texts changed a session, want at least %d: the test shows nothing", changed, fewest)
			}
		})
	}
}

func FuzzGuardMissesNothing(f *testing.F) {
	db := guardedPool(f, false, "&multiStatements=true")
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		f.Add([]byte(dressed(random, "tx_isolation")), false)
		picks := make([]byte, 8)
		for i := range picks {
			picks[i] = byte(random.IntN(len(fragments)))
		}
		f.Add(picks, true)
	}
	f.Fuzz(func(t *testing.T, data []byte, pick bool) {
		text := string(data)
		if pick { // each byte is a fragment
			var b strings.Builder
			for _, n := range data {
				b.WriteString(fragments[int(n)%len(fragments)])
			}
			text = b.String()
		}
		for _, word := range []string{"GLOBAL", "SHUTDOWN", "KILL"} { // such a text could end or change the server
			if strings.Contains(strings.ToUpper(text), word) {
				t.Skip()
			}
		}
		checkText(t, db, text)
	})
}
