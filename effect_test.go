package mysqlinit

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEffectOfAStatement(t *testing.T) {
	for text, want := range map[string]effect{
		// Nothing happens to the session.
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

		// The SET restores it.
		"SET @a = 1":                                   setsVariable,
		"set\tsession sql_mode=''":                     setsVariable,
		"-- c\n/* c */#\nSET time_zone = '+01:00'":     setsVariable,
		"SET@@time_zone='+01:00'":                      setsVariable,
		"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE": setsVariable | setsIsolation,
		"SET @@`tx_isolation` := 'SERIALIZABLE'":       setsVariable | setsIsolation,
		"SET a=1, LOCAL/**/Transaction_Isolation=1":    setsVariable | setsIsolation,
		"SET GLOBAL binlog_format = 'ROW'":             setsVariable | setsBinlog,
		"SET STATEMENT a=1 FOR SELECT 1":               setsVariable,
		`SET @x = '{"a": [1]}'`:                        setsVariable,
		"SET STATEMENT a=1 FOR SET tx_isolation = ''":  setsVariable | setsIsolation,
		"SET @db = DATABASE()":                         setsVariable,

		// Only the end of a transaction does.
		"BEGIN":                                      opensOrHides,
		"begin work":                                 opensOrHides,
		"START TRANSACTION":                          opensOrHides | setsIsolation, // a false alarm
		"COMMIT AND CHAIN":                           opensOrHides,
		"CALL p(?)":                                  opensOrHides,
		"EXECUTE s":                                  sticks,
		"EXECUTE IMMEDIATE ?":                        sticks,
		"BEGIN NOT ATOMIC SET sql_mode=''; END":      opensOrHides | setsVariable,
		"SET STATEMENT a=1 FOR EXECUTE s":            sticks | setsVariable,
		"SET STATEMENT a=1 FOR CALL p()":             opensOrHides | setsVariable,
		"BEGIN NOT ATOMIC SET autocommit=0; END":     opensOrHides | setsVariable | sticks,
		"START TRANSACTION READ ONLY":                opensOrHides | setsIsolation | sticks,
		"START TRANSACTION WITH CONSISTENT SNAPSHOT": opensOrHides | setsIsolation,

		// Nothing does.
		"USE app":                                            sticks,
		"use`app`":                                           sticks,
		"XA START 'a'":                                       sticks,
		"LOCK TABLES t WRITE":                                sticks,
		"SET autocommit = 0":                                 setsVariable | sticks,
		"SET @@SESSION . `AutoCommit`=0":                     setsVariable | sticks,
		"SET a=1,autocömmit=0":                               setsVariable | sticks,
		"SET NAMES latin1":                                   setsVariable | sticks,
		"SET SESSION completion_type=1":                      setsVariable | sticks,
		"SET TRANSACTION READ ONLY":                          setsVariable | setsIsolation | sticks,
		"DROP DATABASE app":                                  sticks,
		"ALTER SCHEMA CHARACTER SET latin1":                  sticks,
		"SET STATEMENT a=1 FOR IF 1 THEN p(); END IF":        setsVariable | sticks, // sql_mode ORACLE
		"SET STATEMENT a=1 FOR p()":                          setsVariable | sticks,
		"SET `autoc|mmit`=0":                                 setsVariable | sticks, // in swe7
		"SET SESSION tx_read_only = 1":                       setsVariable | sticks,
		"SET SESSION transaction_read_only = 1":              setsVariable | sticks,
		"SET /*!50000autocommit*/ = 0":                       setsVariable | sticks,
		"SET /*M!100000autocommit*/ = 0":                     setsVariable | sticks,
		"COMMIT AND/*!50000CHAIN*/":                          opensOrHides,
		"COMMIT AND\xa0CHAIN":                                opensOrHides, // in latin1
		"DROP /*!50000DATABASE*/ app":                        sticks,
		"DROP /**/\xa0DATABASE app":                          sticks,
		"SET STATEMENT a=1e3FOR DROP DATABASE app":           setsVariable | sticks,
		"BEGIN NOT ATOMIC DROP DATABASE app; END":            opensOrHides | sticks,
		"SET STATEMENT a=1.5FOR p()":                         setsVariable | sticks,
		"SET character_set_results = NULL":                   setsVariable | sticks,
		"SET character_set_client = latin1":                  setsVariable | sticks,
		"SET character_set_connection = latin1":              setsVariable | sticks,
		"SET collation_connection = latin1_bin":              setsVariable | sticks,
		"SET CHARACTER SET latin1":                           setsVariable | sticks,
		"SET CHARSET latin1":                                 setsVariable | sticks,
		"IF 1 THEN SET autocommit=0; END":                    sticks,
		"/*!40101 SET @a=1 */":                               sticks,
		"/*!99999 SELECT 1 */ SET @a=1":                      sticks,
		"/*M!100000 SET @a=1 */":                             sticks,
		"/* */ /*! SET @a=1 */":                              sticks,
		"--SET @a=1":                                         sticks,
		"SEL/* */ECT 1":                                      sticks,
		"\x00SELECT 1":                                       sticks,
		"\xa0SELECT 1":                                       sticks,
		"FLUSH TABLES WITH READ LOCK":                        sticks,
		"a_word_that_is_longer_than_all_that_tell_something": sticks,
		"foo: BEGIN NOT ATOMIC END":                          sticks,
	} {
		if got := effectOf(text, false); got != want {
			t.Errorf("%q: got %05b, want %05b", text, got, want)
		}
		if got := effectOf(text, true); got&want != want {
			t.Errorf("%q as several: got %05b, want at least %05b", text, got, want)
		}
	}
}

func TestEffectOfSeveralStatements(t *testing.T) {
	for text, want := range map[string]effect{
		"SELECT 1;":                                   0,
		"SELECT 1;\n":                                 0,
		"SELECT 1; SELECT 2":                          0,
		"UPDATE t SET a=1; UPDATE t SET a=2;":         0,
		"UPDATE t SET a='1'; UPDATE t SET a='2'":      0,
		"SELECT ';'":                                  sticks, // a false alarm
		"SELECT ';'; time_zone := '+09:00'":           sticks, // sql_mode ORACLE
		"SELECT 1; SET @a=1":                          setsVariable,
		"SELECT 1;SET sql_mode=0;USE app":             setsVariable | sticks,
		";;BEGIN":                                     opensOrHides,
		`SELECT '\'; SET @a=1 -- '`:                   setsVariable,
		"SELECT 1 --\x01'\n; SET @a=1 -- '":           setsVariable,
		"SELECT 1 /*!99999 ' */; SET @a=1 -- '":       setsVariable,
		"SELECT $$ ' $$; SET tx_isolation='' -- '":    setsVariable | setsIsolation,
		"SELECT `\x81`; SET autocommit=0 -- `":        setsVariable | sticks,
		"SELECT 1 # ' \n; CALL p() # '":               opensOrHides,
		"SELECT 1; /*! SET tx_isolation='' */":        sticks,
		"SELECT 1; IF 1 THEN SET tx_isolation=0; END": sticks,
	} {
		got := effectOf(text, true)
		if got&want != want || want == 0 && got != 0 {
			t.Errorf("%q: got %05b, want %05b", text, got, want)
		}
	}
}

// A statement behind FOR is no reason to read the rest once for each FOR in it.
func TestEffectOfManyFORs(t *testing.T) {
	for _, one := range []string{"for set ", "for drop ", "for call "} {
		if got := effectOf("SET "+strings.Repeat(one, 1000), false); got&setsVariable == 0 {
			t.Errorf("%s: got %05b", one, got)
		}
	}
	// In quadratic time this would take a minute.
	for _, one := range []string{"for/*", "for #", "for -- "} {
		if got := effectOf("SET "+strings.Repeat(one, 1<<19), false); got&sticks == 0 {
			t.Errorf("%s: got %05b", one, got)
		}
	}
	if got := effectOf("SET STATEMENT a=1 FOR DROP DATABASE app", false); got&sticks == 0 {
		t.Errorf("got %05b", got)
	}
}

func TestEffectOfDoesNotAllocate(t *testing.T) {
	long := "SELECT * FROM t WHERE a = ? AND b IN (" + strings.Repeat("?, ", 1000) + "?)"
	for _, text := range []string{long, "  /* trace */ insert into t values (?)", "SET SESSION time_zone = '+00:00'", "SELECT 1; SELECT 2"} {
		if n := testing.AllocsPerRun(100, func() { effectOf(text, true) }); n != 0 {
			t.Errorf("%.30s: %v allocations", text, n)
		}
	}
}

func TestSETIsRepeatable(t *testing.T) {
	for query, want := range map[string]bool{
		"":                                    true,
		"time_zone='UTC'":                     true,
		"tx_isolation=DEFAULT":                true,
		"sql_mode=CONCAT(@@sql_mode,',ANSI')": false,
		"sql_mode=@@sql_mode":                 false,
		"autocommit=1":                        false,
		"wait_timeout=60":                     true,
		"@x='a'||'b'":                         false,
		"@x='a\\b'":                           false,
		`@x="a"`:                              false,
		"@x=CURRENT_TIMESTAMP":                false,
		"@x=utc_date":                         false,
		"tx_isolation=@@GLOBAL.tx_isolation":  false,
		"initCommand=DO+1":                    true,
		"initCommand=SET+@x=1":                true,
		"initCommand=SET+SESSION+TRANSACTION+ISOLATION+LEVEL+SERIALIZABLE": false,
		"initCommand=SET+binlog_format='MIXED'":                            false,
		"initCommand=SET+TIME_ZONE='SYSTEM'":                               true,
		"initCommand=SET+TIME_ZONE='SYSTEM'&time_zone='UTC'":               false,
		"initCommand=CALL+prepare_session()":                               false,
	} {
		if got := testSession(t, "/?"+query).repeatable; got != want {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
}

// FuzzEffectOf puts what means nothing between a statement's words: what it may
// do to the session stays.
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
		want := effectOf(query, multi)
		offset := 0
		if tokens := tokenize(query); len(tokens) > 0 && at > 0 {
			offset = tokens[int(at)%len(tokens)].start
		}
		inserted := noises[int(noise)%len(noises)]
		if offset > 0 && query[offset-1] == '-' {
			t.Skip() // it may make a comment of --
		}
		if got := effectOf(query[:offset]+inserted+query[offset:], multi); got&want != want {
			t.Errorf("%q: %06b, with %q at %d %06b", query, want, inserted, offset, got)
		}
		upper := strings.Map(func(r rune) rune {
			if 'a' <= r && r <= 'z' {
				r -= 0x20
			}
			return r
		}, query)
		if got := effectOf(upper, multi); utf8.ValidString(query) && got != want {
			t.Errorf("%q: %06b, in capitals %06b", query, want, got)
		}
	})
}
