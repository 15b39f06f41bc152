package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

func writeFile(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// readFrom makes a file the standard input of the test.
func readFrom(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = file
	t.Cleanup(func() { os.Stdin = before; file.Close() })
}

func TestDSNSources(t *testing.T) {
	s := testserver.Borrow(t, testserver.Config{Binlog: "MIXED"})
	dsn := s.DSN(testserver.App, "")
	file := writeFile(t, dsn+"\n")
	host, port, _ := strings.Cut(s.Addr, ":")
	check := func(name string, wantCode int, want string, args ...string) {
		t.Helper()
		code, stdout, stderr := runCheck(t, args...)
		if code != wantCode || !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: exit code %d, %s%s", name, code, stdout, stderr)
		}
	}
	check("no DSN", exitError, "want one DSN")
	check("a file", exitOK, "as app@%", "-dsn-file", file)
	check("an option file, TCP", exitOK, "as app@%", "-defaults-file", writeFile(t, "[client]\nuser=app\ndatabase=test\nhost="+host+"\nport="+port+"\n"))
	check("an option file, socket", exitOK, "as app@%", "-defaults-file", writeFile(t, "[client]\nuser=app\ndatabase=test\nsocket="+s.Socket+"\n"))
	check("two", exitError, "want one DSN", "-dsn-file", file, dsn)
	check("no such file", exitError, "no such file", "-dsn-file", file+"x")
	check("no line", exitError, "no DSN", "-dsn-file", writeFile(t, "\n"))
	readFrom(t, file)
	check("standard input", exitOK, "as app@%", "-")
	t.Setenv(envDSN, dsn)
	check("the environment", exitOK, "as app@%")
	check("an argument goes before the environment", exitError, "1045", "app:hunter2@tcp("+s.Addr+")/test")
}

func TestOptionFile(t *testing.T) {
	t.Setenv("USER", "me")
	for _, test := range []struct {
		name, text, want string // a DSN
	}{
		{"all defaults", "[client]", "me@tcp(127.0.0.1:3306)/?tls=preferred"},
		{"other groups", "[mysqld]\nuser=mysql\n[client]\nuser = a\nskip-ssl\n[mysql]\nuser=b", "a@tcp(127.0.0.1:3306)/?tls=false"},
		{"quotes and comments", "# x\n; y\n[client] # z\nuser=a # b\npassword=\"p#:/@) 'q\\s\\d\\\"\"\nssl_mode = disabled", "a:p#:/@) 'q \\d\"@tcp(127.0.0.1:3306)/?tls=false"},
		{"a socket", "[client]\nuser=a\nhost=localhost\nsocket=/run/mysqld.sock\ndatabase=a/b", "a@unix(/run/mysqld.sock)/a%2Fb"},
		{"a socket that is not used", "[client]\nuser=a\nhost=db\nport=3307\nsocket=/run/mysqld.sock\nssl=0", "a@tcp(db:3307)/?tls=false"},
		{"TCP to this machine", "[client]\nuser=a\nsocket=/run/mysqld.sock\nprotocol=TCP\nskip_ssl", "a@tcp(127.0.0.1:3306)/?tls=false"},
		{"IPv6", "[client]\nuser=a\nhost=::1\nskip-ssl", "a@tcp([::1]:3306)/?tls=false"},
		{"required", "[client]\nuser=a\nssl-mode=REQUIRED", "a@tcp(127.0.0.1:3306)/?tls=" + registeredTLS},
	} {
		if got, err := clientDSN(test.text); err != nil || got != test.want {
			t.Errorf("%s: got %s, %v, want %s", test.name, got, err, test.want)
		}
	}
	for text, want := range map[string]string{
		"user=a":                       "no group",
		"[client":                      "line 1",
		"[client]\n!includedir /etc":   "line 2",
		"[client]\npassword":           "does not ask",
		"[client]\nuser=a:b":           "cannot express",
		"[client]\nssl-mode=SOMETIMES": "VERIFY_IDENTITY",
		"[client]\nssl-ca=/nowhere":    "no such file",
	} {
		if got, err := clientDSN(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}

func TestOptionFileWithTLS(t *testing.T) {
	s := testserver.New(t, testserver.Config{TLS: true, Args: []string{"--require-secure-transport=ON"}})
	_, port, _ := strings.Cut(s.Addr, ":")
	ca, _ := s.Certificate()
	for options, want := range map[string]int{
		"host=127.0.0.1":                                         exitOK, // TLS if the server offers it
		"ssl-mode=REQUIRED":                                      exitOK,
		"ssl-mode=VERIFY_CA":                                     exitError, // this machine does not know the authority
		"ssl-mode=VERIFY_IDENTITY":                               exitError,
		"ssl-verify-server-cert":                                 exitError,
		"ssl-ca=" + ca:                                           exitOK,
		"ssl-mode=VERIFY_IDENTITY\nssl-ca=" + ca:                 exitOK,
		"host=localhost\nssl-ca=" + ca:                           exitOK, // VERIFY_CA ignores the name
		"host=localhost\nssl-mode=VERIFY_IDENTITY\nssl-ca=" + ca: exitError,
		"skip-ssl":                                               exitError,
	} {
		code, stdout, stderr := runCheck(t, "-defaults-file", writeFile(t, "[client]\nuser=app\nport="+port+"\n"+options))
		if code != want {
			t.Errorf("%s: exit code %d, %s%s", options, code, stdout, stderr)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string // on standard output for exitOK, else on standard error
	}{
		{[]string{"-h"}, exitOK, "'user:password@tcp(127.0.0.1:3306)/app?isolation=server'"},
		{[]string{"check", "-h"}, exitOK, "-fail-on severity"},
		{[]string{"race", "--help"}, exitOK, "-workers number"},
		{[]string{"version"}, exitOK, "mysqlinit "},
		{[]string{"--version"}, exitOK, "mysqlinit "},
		{[]string{"rice"}, exitError, `unknown command "rice": want check, race, version or help`},
		{[]string{"check", "-jsn", "/a"}, exitError, "-jsn; see mysqlinit check -h"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), test.args, &stdout, &stderr)
		text, other := &stdout, &stderr
		if test.code != exitOK {
			text, other = other, text
		}
		if code != test.code || !strings.Contains(text.String(), test.want) || other.Len() > 0 {
			t.Errorf("%q: exit code %d, %s%s", test.args, code, &stdout, &stderr)
		}
		checkWidth(t, text.String(), 80)
	}
}

// checkWidth fails the test if a line of text is wider than that.
func checkWidth(t *testing.T, text string, columns int) {
	t.Helper()
	for line := range strings.Lines(text) {
		if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > columns {
			t.Errorf("wider than %d columns: %s", columns, line)
		}
	}
}
