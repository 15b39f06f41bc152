package sqltext

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// What each statement does to its session, by what it takes to undo that.
var (
	unchanged = map[string]Effect{
		"":                              0,
		" \t\r\n":                       0,
		"-- nothing\n/* at all */ # .":  0,
		"SELECT 1":                      0,
		"select/* */1":                  0,
		"SELECT'SET autocommit=0'":      0,
		"(SELECT 1) UNION (SELECT 2)":   0,
		"/* SET */ SELECT @@x":          0,
		"WITH a AS (SELECT 1) TABLE a":  0,
		"UPDATE t SET a = 1":            0,
		"INSERT INTO t SET a = 'begin'": 0,
		"INSERT t VALUES ('; use x')":   0,
		"COMMIT":                        0,
		"ROLLBACK TO SAVEPOINT s":       0,
		"SAVEPOINT s":                   0,
		"CREATE TABLE t (a INT)":        0,
		"DROP TABLE t":                  0,
		"CREATE TABLE t (`only` INT, `start` INT, s SET('a')) DEFAULT CHARSET utf8mb4": 0,
		"CREATE PROCEDURE p() BEGIN SET autocommit = 0; END":                           0,
	}
	restorable = map[string]Effect{
		"SET @a = 1":                                   SetsVariable,
		"set\tsession sql_mode=''":                     SetsVariable,
		"-- c\n/* c */#\nSET time_zone = '+01:00'":     SetsVariable,
		"SET@@time_zone='+01:00'":                      SetsVariable,
		"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE": SetsVariable | SetsIsolation,
		"SET @@`tx_isolation` := 'SERIALIZABLE'":       SetsVariable | SetsIsolation,
		"SET a=1, LOCAL/**/Transaction_Isolation=1":    SetsVariable | SetsIsolation,
		"SET GLOBAL binlog_format = 'ROW'":             SetsVariable | SetsBinlog,
		"SET STATEMENT a=1 FOR SELECT 1":               SetsVariable,
		`SET @x = '{"a": [1]}'`:                        SetsVariable,
		"SET STATEMENT a=1 FOR SET tx_isolation = ''":  SetsVariable | SetsIsolation,
		"SET @db = DATABASE()":                         SetsVariable,
	}
	opaque = map[string]Effect{
		"BEGIN":                                 Opaque,
		"begin work":                            Opaque,
		"START TRANSACTION":                     Opaque | SetsIsolation, // a false alarm
		"COMMIT AND CHAIN":                      Opaque,
		"CALL p(?)":                             Opaque,
		"BEGIN NOT ATOMIC SET sql_mode=''; END": Opaque | SetsVariable,
		"SET STATEMENT a=1 FOR CALL p()":        Opaque | SetsVariable,
		"START TRANSACTION WITH CONSISTENT SNAPSHOT":                Opaque | SetsIsolation,
		"CREATE TABLE t (a INT) START TRANSACTION":                  Opaque, // MySQL 8.0.21 and later
		"create table t select 1 /*!80021 Start*/ /* */TRANSACTION": Opaque,
	}
	irreversible = map[string]Effect{
		"USE app":                                            Irreversible,
		"use`app`":                                           Irreversible,
		"XA START 'a'":                                       Irreversible,
		"LOCK TABLES t WRITE":                                Irreversible,
		"SET autocommit = 0":                                 SetsVariable | Irreversible,
		"SET @@SESSION . `AutoCommit`=0":                     SetsVariable | Irreversible,
		"SET a=1,autocömmit=0":                               SetsVariable | Irreversible,
		"SET NAMES latin1":                                   SetsVariable | Irreversible,
		"SET SESSION completion_type=1":                      SetsVariable | Irreversible,
		"SET @@old_mode=''":                                  SetsVariable | Irreversible,
		"SET TRANSACTION READ ONLY":                          SetsVariable | SetsIsolation | Irreversible,
		"DROP DATABASE app":                                  Irreversible,
		"ALTER SCHEMA CHARACTER SET latin1":                  Irreversible,
		"SET STATEMENT a=1 FOR IF 1 THEN p(); END IF":        SetsVariable | Irreversible, // sql_mode ORACLE
		"SET STATEMENT a=1 FOR p()":                          SetsVariable | Irreversible,
		"SET `autoc|mmit`=0":                                 SetsVariable | Irreversible, // in swe7
		"SET SESSION tx_read_only = 1":                       SetsVariable | Irreversible,
		"SET SESSION transaction_read_only = 1":              SetsVariable | Irreversible,
		"SET /*!50000autocommit*/ = 0":                       SetsVariable | Irreversible,
		"SET /*M!100000autocommit*/ = 0":                     SetsVariable | Irreversible,
		"COMMIT AND/*!50000CHAIN*/":                          Opaque,
		"COMMIT AND\xa0CHAIN":                                Opaque, // in latin1
		"DROP /*!50000DATABASE*/ app":                        Irreversible,
		"DROP /**/\xa0DATABASE app":                          Irreversible,
		"SET STATEMENT a=1e3FOR DROP DATABASE app":           SetsVariable | Irreversible,
		"BEGIN NOT ATOMIC DROP DATABASE app; END":            Opaque | Irreversible,
		"SET STATEMENT a=1.5FOR p()":                         SetsVariable | Irreversible,
		"SET character_set_results = NULL":                   SetsVariable | Irreversible,
		"SET character_set_client = latin1":                  SetsVariable | Irreversible,
		"SET character_set_connection = latin1":              SetsVariable | Irreversible,
		"SET collation_connection = latin1_bin":              SetsVariable | Irreversible,
		"SET CHARACTER SET latin1":                           SetsVariable | Irreversible,
		"SET CHARSET latin1":                                 SetsVariable | Irreversible,
		"IF 1 THEN SET autocommit=0; END":                    Irreversible,
		"/*!40101 SET @a=1 */":                               Irreversible,
		"/*!99999 SELECT 1 */ SET @a=1":                      Irreversible,
		"/*M!100000 SET @a=1 */":                             Irreversible,
		"/* */ /*! SET @a=1 */":                              Irreversible,
		"--SET @a=1":                                         Irreversible,
		"SEL/* */ECT 1":                                      Irreversible,
		"\x00SELECT 1":                                       Irreversible,
		"\xa0SELECT 1":                                       Irreversible,
		"FLUSH TABLES WITH READ LOCK":                        Irreversible,
		"a_word_that_is_longer_than_all_that_tell_something": Irreversible,
		"foo: BEGIN NOT ATOMIC END":                          Irreversible,
		"EXECUTE s":                                          Irreversible,
		"EXECUTE IMMEDIATE ?":                                Irreversible,
		"SET STATEMENT a=1 FOR EXECUTE s":                    Irreversible | SetsVariable,
		"BEGIN NOT ATOMIC SET autocommit=0; END":             Opaque | SetsVariable | Irreversible,
		"START TRANSACTION READ ONLY":                        Opaque | SetsIsolation | Irreversible,
	}
)

func TestEffectOfAStatement(t *testing.T) {
	for name, table := range map[string]map[string]Effect{
		"leaves its session unchanged":           unchanged,
		"is undone by the one SET":               restorable,
		"is undone by the end of a transaction":  opaque,
		"is undone by nothing but a new session": irreversible,
	} {
		t.Run(name, func(t *testing.T) {
			for text, want := range table {
				if got := EffectOf(text, false); got != want {
					t.Errorf("%q: got %05b, want %05b", text, got, want)
				}
				if got := EffectOf(text, true); got&want != want {
					t.Errorf("%q as several: got %05b, want at least %05b", text, got, want)
				}
			}
		})
	}
}

func TestEffectOfSeveralStatements(t *testing.T) {
	for text, want := range map[string]Effect{
		"SELECT 1;":                                   0,
		"SELECT 1;\n":                                 0,
		"SELECT 1; SELECT 2":                          0,
		"UPDATE t SET a=1; UPDATE t SET a=2;":         0,
		"UPDATE t SET a='1'; UPDATE t SET a='2'":      0,
		"SELECT ';'":                                  Irreversible, // a false alarm
		"SELECT ';'; time_zone := '+09:00'":           Irreversible, // sql_mode ORACLE
		"SELECT 1; SET @a=1":                          SetsVariable,
		"SELECT 1;SET sql_mode=0;USE app":             SetsVariable | Irreversible,
		";;BEGIN":                                     Opaque,
		`SELECT '\'; SET @a=1 -- '`:                   SetsVariable,
		"SELECT 1 --\x01'\n; SET @a=1 -- '":           SetsVariable,
		"SELECT 1 /*!99999 ' */; SET @a=1 -- '":       SetsVariable,
		"SELECT $$ ' $$; SET tx_isolation='' -- '":    SetsVariable | SetsIsolation,
		"SELECT `\x81`; SET autocommit=0 -- `":        SetsVariable | Irreversible,
		"SELECT 1 # ' \n; CALL p() # '":               Opaque,
		"SELECT 1; /*! SET tx_isolation='' */":        Irreversible,
		"SELECT 1; IF 1 THEN SET tx_isolation=0; END": Irreversible,
	} {
		got := EffectOf(text, true)
		if got&want != want || want == 0 && got != 0 {
			t.Errorf("%q: got %05b, want %05b", text, got, want)
		}
	}
}

// A statement after FOR must not make EffectOf read the rest once for each FOR.
func TestEffectOfManyFORs(t *testing.T) {
	for _, one := range []string{"for set ", "for drop ", "for call "} {
		if got := EffectOf("SET "+strings.Repeat(one, 1000), false); got&SetsVariable == 0 {
			t.Errorf("%s: got %05b", one, got)
		}
	}
	// In quadratic time this would take a minute.
	for _, one := range []string{"for/*", "for #", "for -- "} {
		if got := EffectOf("SET "+strings.Repeat(one, 1<<19), false); got&Irreversible == 0 {
			t.Errorf("%s: got %05b", one, got)
		}
	}
	if got := EffectOf("SET STATEMENT a=1 FOR DROP DATABASE app", false); got&Irreversible == 0 {
		t.Errorf("got %05b", got)
	}
}

func TestEffectOfDoesNotAllocate(t *testing.T) {
	long := "SELECT * FROM t WHERE a = ? AND b IN (" + strings.Repeat("?, ", 1000) + "?)"
	for _, text := range []string{long, "  /* trace */ insert into t values (?)", "SET SESSION time_zone = '+00:00'", "SELECT 1; SELECT 2"} {
		if n := testing.AllocsPerRun(100, func() { EffectOf(text, true) }); n != 0 {
			t.Errorf("%.30s: %v allocations", text, n)
		}
	}
}

// FuzzEffectOf puts white space and comments between a statement's words, which
// must not hide what the statement can do.
func FuzzEffectOf(f *testing.F) {
	for _, seed := range []string{"SET @a=1", "USE app", "select 1", "COMMIT AND CHAIN", "DROP DATABASE app", "SELECT ';'; SET autocommit=0", "/*!50000 SET*/ x=1",
		"SET STATEMENT a=1 FOR SET tx_isolation=''", "SET `autoc|mmit`=0", "SET@@SESSION.binlog_format:='ROW'", "(SELECT 1)", "-- c\nBEGIN", "CREATE TABLE `start` (a INT)"} {
		for noise := range uint8(10) {
			f.Add(seed, noise, uint8(0), noise%2 == 0)
			f.Add(seed, noise, uint8(2), noise%2 == 0)
		}
	}
	noises := []string{" ", "\t", "\n", "\v\f\r", "/**/", "/* SELECT 1 */", "#\n", "# ' SELECT\n", "-- \" SELECT\n", "--\tx\n"}
	f.Fuzz(func(t *testing.T, query string, noise, at uint8, multi bool) {
		want := EffectOf(query, multi)
		offset := 0
		if tokens := tokenize(query); len(tokens) > 0 && at > 0 {
			offset = tokens[int(at)%len(tokens)].start
		}
		inserted := noises[int(noise)%len(noises)]
		if offset > 0 && query[offset-1] == '-' {
			t.Skip() // it could make a comment of --
		}
		if got := EffectOf(query[:offset]+inserted+query[offset:], multi); got&want != want {
			t.Errorf("%q: %06b, with %q at %d %06b", query, want, inserted, offset, got)
		}
		upper := strings.Map(func(r rune) rune {
			if 'a' <= r && r <= 'z' {
				r -= 0x20
			}
			return r
		}, query)
		if got := EffectOf(upper, multi); utf8.ValidString(query) && got != want {
			t.Errorf("%q: %06b, in capitals %06b", query, want, got)
		}
	})
}
