package main

import (
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/mysqlinit/mysqlinit/inspect"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// TestCuresCure produces findings, runs the statements that they give, and sees
// them gone. Then it starts the server again with their lines for my.cnf, and sees
// that they stay away.
func TestCuresCure(t *testing.T) {
	t.Run("MariaDB", func(t *testing.T) { curesCure(t, false) })
	if !testing.Short() { // it takes three seconds to start again
		t.Run("MySQL", func(t *testing.T) { curesCure(t, true) })
	}
}

func curesCure(t *testing.T, isMySQL bool) {
	mode := ""
	if isMySQL {
		mode = "NO_ENGINE_SUBSTITUTION"
	}
	s := testserver.New(t, testserver.Config{MySQL: isMySQL, Binlog: "STATEMENT", Args: []string{
		"--innodb-rollback-on-timeout=ON", "--innodb-deadlock-detect=OFF", "--max-binlog-cache-size=4194304",
		"--init-connect=SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "--sql-mode=" + mode, "--autocommit=OFF"}})
	root, err := sql.Open("mysql", "root@tcp("+s.Addr+")/") // a shell in which no database is chosen
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	testserver.Exec(t, root, "CREATE TABLE test.`key``less` (n INT NOT NULL) ENGINE=InnoDB", "CREATE TABLE test.old (id INT PRIMARY KEY) ENGINE=MyISAM")

	if isMySQL { // a question, so it stays
		statements, _ := parts(findingOf(t, s.DSN(testserver.App, ""), "replicas-unknown").Commands)
		testserver.Exec(t, root, statements...)
	}
	adapt := strings.NewReplacer("(COLUMN, COLUMN)", "(n)") // as the comment of that finding asks for
	dsn := s.DSN(testserver.App, "")
	var options []string
	for _, id := range []string{
		"binlog-statement",
		"account-privileges", // the last of the statements before has granted one
		"server-repeatable-read",
		"sql-mode-not-strict", "autocommit-off", "init-connect", "binlog-cache-small", "deadlock-detect-off", "no-primary-key", "not-innodb",
		"rollback-on-timeout", // my.cnf alone can cure it
	} {
		finding := findingOf(t, dsn, id)
		if finding == nil {
			t.Fatalf("no %s is produced", id)
		}
		statements, lines := parts(adapt.Replace(finding.Commands))
		options = append(options, lines...)
		testserver.Exec(t, root, statements...)
		if again := findingOf(t, dsn, id); again != nil && len(statements) > 0 || len(statements)+len(lines) == 0 {
			t.Errorf("%s: after %q there is still %+v", id, statements, again)
		}
	}
	if err := s.Restart(t.Context(), options...); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := runCheck(t, dsn)
	if code != exitOK {
		t.Errorf("after a start with %q: exit code %d, %s%s", options, code, stdout, stderr)
	}
	for _, id := range []string{"server-repeatable-read", "sql-mode-not-strict", "init-connect"} { // these are information
		if strings.Contains(stdout, "["+id+"]") {
			t.Errorf("after a start with %q: %s", options, stdout)
		}
	}
}

// parts returns the statements and, as arguments of the server, the lines for
// my.cnf of a finding's commands.
func parts(commands string) (statements, options []string) {
	sql, cnf, _ := strings.Cut(commands, "[mysqld]\n")
	cnf, rest, _ := strings.Cut(cnf, "\n# ") // a comment ends it
	comment := func(line string) bool { return strings.HasPrefix(line, "#") }
	lines := slices.DeleteFunc(strings.Split(sql+"\n# "+rest, "\n"), comment)
	for statement := range strings.SplitSeq(strings.Join(lines, "\n"), ";") {
		if statement = strings.TrimSpace(statement); statement != "" {
			statements = append(statements, statement)
		}
	}
	for line := range strings.SplitSeq(cnf, "\n") {
		if name, value, ok := strings.Cut(line, "="); ok {
			options = append(options, "--"+strings.TrimSpace(name)+"="+strings.TrimSpace(value))
		}
	}
	return statements, options
}

// findingOf returns a check's finding with this ID, or nil.
func findingOf(t *testing.T, dsn, id string) *inspect.Finding {
	t.Helper()
	_, stdout, stderr := runCheck(t, "-json", dsn)
	var c checked
	if err := json.Unmarshal([]byte(stdout), &c); err != nil {
		t.Fatal(err, stderr)
	}
	i := slices.IndexFunc(c.Findings, func(f inspect.Finding) bool { return f.ID == id })
	if i < 0 {
		return nil
	}
	return &c.Findings[i]
}

// Keys that the cures name make their findings information, or end them. So does
// the last resort, a GRANT, without the server's settings.
func TestKeysOfTheDSNCure(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "STATEMENT", Args: []string{"--wait-timeout=20", "--read-only=ON"}})
	root, err := sql.Open("mysql", s.DSN(testserver.Root, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	params := "isolation=server"
	for _, cure := range []struct {
		id, key string
		was, is inspect.Severity // 0: gone
	}{
		{"wait-timeout", "wait_timeout=600", inspect.Warning, inspect.Info},
		{"read-only", "rejectReadOnly=true", inspect.Warning, inspect.Info},
		{"read-timeout-unset", "readTimeout=1m", inspect.Info, 0},
		{"sql-mode-not-strict", "sql_mode=%27STRICT_TRANS_TABLES%27", inspect.Info, 0},
		{"autocommit-off", "autocommit=1", inspect.Warning, 0},
	} {
		switch cure.id {
		case "sql-mode-not-strict":
			testserver.Exec(t, root, "SET GLOBAL sql_mode = ''")
		case "autocommit-off":
			testserver.Exec(t, root, "SET GLOBAL autocommit = OFF")
		}
		before := findingOf(t, s.DSN(testserver.App, params), cure.id)
		if before == nil || before.Severity != cure.was || !strings.Contains(before.Cure, strings.SplitN(cure.key, "=", 2)[0]) {
			t.Errorf("%s: %+v", cure.id, before)
		}
		params += "&" + cure.key
		after := findingOf(t, s.DSN(testserver.App, params), cure.id)
		if (after == nil) != (cure.is == 0) || after != nil && after.Severity != cure.is {
			t.Errorf("%s: after %s: %+v", cure.id, cure.key, after)
		}
	}
	if code, stdout, stderr := runCheck(t, s.DSN(testserver.App, params)); code != exitOK {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	params = strings.TrimPrefix(params, "isolation=server&")
	statements, _ := parts(findingOf(t, s.DSN(testserver.App, params), "binlog-statement").Commands)
	testserver.Exec(t, root, statements[len(statements)-1])
	if code, stdout, stderr := runCheck(t, s.DSN(testserver.App, params)); code != exitOK {
		t.Errorf("after %s: exit code %d, %s%s", statements[len(statements)-1], code, stdout, stderr)
	}
}
