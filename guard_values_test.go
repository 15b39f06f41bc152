package mysqlinit_test

import (
	"testing"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// The SET of the preparation can mean something else when it is sent again. Then
// the guard must not send it to a session.
func TestGuardRestoresNoOtherValue(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, restoresNoOtherValue)
}

func restoresNoOtherValue(t *testing.T, s *testserver.Server) {
	for _, test := range []struct {
		name, params, expression string
		statements               []string
		mariaDB                  bool // knows this, and MySQL does not
	}{
		{"one name", "sql_select_limit=7&initCommand=SET+sql_select_limit=9", "@@sql_select_limit", []string{"SET @a = 1"}, false},
		{"two names", "long_query_time=7&initCommand=SET+log_slow_query_time=9", "@@long_query_time", []string{"SET @a = 1"}, true},
		{"two names, the older later", "default_storage_engine=InnoDB&initCommand=SET+storage_engine=MyISAM", "@@default_storage_engine", []string{"SET @a = 1"}, true},
		{"coupled variables", "max_join_size=9&initCommand=SET+sql_big_selects=1", "@@sql_big_selects", []string{"SET @a = 1"}, false},
		{"a user variable of an init command", "@a='a'&initCommand=SET+@`a`='b'", "@a", []string{"SET @b = 1"}, false},
		{"an init command that calls a function", "sql_select_limit=7&initCommand=SET+@a=(SELECT+1),+sql_select_limit=9", "@@sql_select_limit", []string{"SET @a = 1"}, false},
		{"what utf8 is", "collation_connection=utf8_general_ci", "@@collation_connection", []string{"SET old_mode = ''"}, true},
		{"an empty text", "@a=''", "@a IS NULL", []string{"SET sql_mode = 'EMPTY_STRING_IS_NULL'"}, true},
		{"an empty sql_mode", "sql_mode=''", "@@sql_mode", []string{"SET sql_mode = 'EMPTY_STRING_IS_NULL'"}, true},
		{"a part of a variable", "optimizer_switch='index_merge=off'", "@@optimizer_switch LIKE '%index_merge=off%' AND @@optimizer_switch LIKE '%mrr=off%'",
			[]string{"SET optimizer_switch = 'mrr=on,index_merge=on'"}, true},
		{"a user variable", "@tenant='a'", "@tenant", []string{"SET @tenant = 'b'"}, false},
		{"a user variable of SELECT INTO", "@tenant='a'", "@tenant", []string{"SELECT 'b' INTO @tenant"}, false},
		{"a user variable of :=", "@tenant='a'", "@tenant", []string{"DO @`tenant` := 'b'"}, false},
	} {
		if test.mariaDB && s.MySQL {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			db := onePool(t, s, "guard=true&"+test.params)
			want := readVariable(t, db, test.expression)
			testserver.Exec(t, db, test.statements...)
			if got := readVariable(t, db, test.expression); got != want {
				t.Errorf("%s, then %q: the next user got %s, want %s", test.params, test.statements, got, want)
			}
		})
	}
}

// DEFAULT is the global value, which can change. The session of one connection
// must not change with it.
func TestGuardDoesNotRestoreTheNextDefault(t *testing.T) {
	for _, mysql := range []bool{false, true} {
		s := testserver.New(t, testserver.Config{MySQL: mysql, Binlog: "MIXED"})
		root := open(t, s.DSN(testserver.Root, ""))
		for _, params := range []string{"time_zone=DEFAULT", "transaction_isolation=DEFAULT", "binlog_format=DEFAULT&isolation=serializable"} {
			testserver.Exec(t, root, "SET GLOBAL time_zone = '+01:00'", "SET GLOBAL TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET GLOBAL binlog_format = 'MIXED'")
			db := onePool(t, s, "guard=true&"+params)
			before, id, err := readState(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			testserver.Exec(t, root, "SET GLOBAL time_zone = '+02:00'", "SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET GLOBAL binlog_format = 'ROW'")
			testserver.Exec(t, db, "SET @a = 1")
			after, newID, err := readState(t.Context(), db)
			if err != nil || newID == id && after != before {
				t.Errorf("%s: connection %d was %+v, connection %d is %+v, %v", params, id, before, newID, after, err)
			}
		}
	}
}

// What the guard can restore costs no connection.
func TestGuardStillRestores(t *testing.T) {
	onBoth(t, testserver.Config{Binlog: "MIXED"}, func(t *testing.T, s *testserver.Server) {
		for _, params := range []string{
			"sql_mode=''", "time_zone='%2B03:00'&initCommand=SET+@a=1,@`b`:=2", "initCommand=SET+sql_select_limit=9",
			"autocommit=1", "autocommit=ON", "autocommit=true", "@tenant='a'",
		} {
			db := onePool(t, s, "guard=true&"+params)
			before, id, err := readState(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			testserver.Exec(t, db, "SET SESSION "+isolationVariable(s)+" = 'SERIALIZABLE'")
			if after, newID, err := readState(t.Context(), db); err != nil || after != before || newID != id {
				t.Errorf("%s: connection %d was %+v, connection %d is %+v, %v", params, id, before, newID, after, err)
			}
		}
	})
}
