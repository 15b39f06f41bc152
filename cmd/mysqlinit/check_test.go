package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mysqlinit/mysqlinit/inspect"
	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

var update = flag.Bool("update", false, "write the golden files of check anew")

func runCheck(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"check"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// golden compares an output with a file, but for what differs from run to run.
func golden(t *testing.T, name, got string) {
	t.Helper()
	for _, changing := range []struct{ match, instead string }{
		{`[0-9]+\.[0-9]+\.[0-9]+[^, "]*`, "VERSION"},
		{`"comment": "[^"]*"`, `"comment": "COMMENT"`},
	} {
		got = regexp.MustCompile(changing.match).ReplaceAllString(got, changing.instead)
	}
	got = strings.ReplaceAll(got, "@VERSION", "@HOST") // an account's
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name    string
		cfg     testserver.Config
		account string
		code    int
	}{
		{"mariadb-app", testserver.Config{Binlog: "MIXED"}, testserver.App, exitOK},
		{"mariadb-root", testserver.Config{Binlog: "MIXED"}, testserver.Root, exitFindings},
		{"mariadb-statement-app", testserver.Config{Binlog: "STATEMENT"}, testserver.App, exitFindings},
		{"mysql-app", testserver.Config{MySQL: true, Binlog: "ROW"}, testserver.App, exitOK},
		{"mysql-statement-root", testserver.Config{MySQL: true, Binlog: "STATEMENT"}, testserver.Root, exitFindings},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := testserver.New(t, test.cfg)
			dsn := s.DSN(test.account, "")
			code, stdout, stderr := runCheck(t, dsn)
			if code != test.code || stderr != "" {
				t.Errorf("exit code %d, %s", code, stderr)
			}
			golden(t, test.name+".txt", stdout)
			code, stdout, stderr = runCheck(t, dsn, "--json")
			if code != test.code || stderr != "" {
				t.Errorf("exit code %d, %s", code, stderr)
			}
			golden(t, test.name+".json", stdout)
			var c checked
			if err := json.Unmarshal([]byte(stdout), &c); err != nil || c.Version != checkVersion || len(c.Findings) == 0 {
				t.Errorf("%+v, %v", c, err)
			}
		})
	}
}

// A variable under the name that this server does not know.
func TestCheckWherePlainConnectsNot(t *testing.T) {
	s := testserver.New(t, testserver.Config{Binlog: "MIXED"})
	code, stdout, stderr := runCheck(t, "-json", s.DSN(testserver.App, "transaction_isolation='SERIALIZABLE'"))
	var c checked
	if err := json.Unmarshal([]byte(stdout), &c); err != nil {
		t.Fatalf("%v: exit code %d, %s", err, code, stderr)
	}
	if code != exitOK || c.Plain != nil || c.Mysqlinit == nil || c.Mysqlinit.Isolation != "SERIALIZABLE" {
		t.Errorf("exit code %d, %s", code, stdout)
	}
	seen := false
	for _, f := range c.Findings {
		seen = seen || f.ID == "plain-refuses" && f.Severity == inspect.Info && strings.Contains(f.Why, "1193")
	}
	if !seen {
		t.Errorf("%+v", c.Findings)
	}
}

func TestCheckErrors(t *testing.T) {
	s := testserver.New(t, testserver.Config{})
	for _, test := range []struct {
		args []string
		text string
	}{
		{nil, "it takes one DSN"},
		{[]string{"a", "b"}, "it takes one DSN"},
		{[]string{"-nonsense", "a"}, "nonsense"},
		{[]string{"app:hunter2@tcp(" + s.Addr + ")/test"}, "1045"},
		{[]string{"app:hunter2@tcp(" + s.Addr + ")/test?binlog=wrong"}, "binlog"},
		{[]string{"app:hunter2@tcp(127.0.0.1:1)/test"}, "refused"},
		{[]string{"app:hunter2@nonsense"}, "DSN"},
	} {
		code, stdout, stderr := runCheck(t, test.args...)
		if code != exitError || stdout != "" || !strings.Contains(stderr, test.text) || strings.Contains(stderr, "hunter2") {
			t.Errorf("%q: exit code %d, %q, %q", test.args, code, stdout, stderr)
		}
	}
}
